"""Kinds of input. A modality is a row here and a package beside it; no stage knows one by name."""

from __future__ import annotations

from etils import epy

from components.artifacts import AssembledModel
from components.modalities.photos import giants as applications
from components.modalities.photos import raw as photos
from components.modalities.protocols import Modality, Reader
from components.modalities.sentences import giants as presets
from components.modalities.sentences import raw as sentences
from components.section import Views

with epy.lazy_imports():
    from components.modalities.photos import reader as photo_reader
    from components.modalities.sentences import reader as sentence_reader

MODALITIES: dict[str, Modality] = {
    "image": Modality(
        plural="pictures",
        column="path",
        is_path=True,
        section="photos",
        config=photos.PhotosConfig,
        view_options=(),
        poolings=("avg", "max"),
        policies=photos.POLICIES,
        usual=photos.USUAL,
        model_dependent=frozenset(),
        feature=photos.feature,
        check=photos.check,
        canonical=lambda raw: raw,
        may_repeat=False,
        find=applications.find,
        find_weights=applications.find_weights,
        begin=applications.begin,
        build=applications.build,
        blocks=applications.blocks,
        reader=lambda *given: photo_reader.PhotoReader(*given),
        contract=photos.contract,
        summary=photos.summary,
        warnings=photos.warnings,
        sample=photos.sample,
        load_ops=lambda: None,
        show=photos.show,
    ),
    "text": Modality(
        plural="texts",
        column="text",
        is_path=False,
        section="sentences",
        config=sentences.SentencesConfig,
        view_options=("rate", "translator"),
        poolings=("mean", "cls", "last"),
        policies=sentences.POLICIES,
        usual=sentences.USUAL,
        model_dependent=frozenset({"insertion", "synonym"}),
        feature=sentences.feature,
        check=sentences.check,
        canonical=sentences.canonical,
        may_repeat=True,
        find=presets.find,
        find_weights=presets.find_weights,
        begin=presets.begin,
        build=presets.build,
        blocks=presets.blocks,
        reader=lambda *given: sentence_reader.SentenceReader(*given),
        contract=presets.contract,
        summary=sentences.summary,
        warnings=lambda facts: [],
        sample=sentences.sample,
        load_ops=sentences.load_ops,
        show=sentences.show,
        legend=sentences.LEGEND,
    ),
}


def open_reader(model: AssembledModel, views: Views = Views(), seed: int = 0) -> Reader:
    """The reader of `model`'s raw examples; `views` and `seed` are those of its views."""
    return MODALITIES[model.modality].reader(model, views, seed)
