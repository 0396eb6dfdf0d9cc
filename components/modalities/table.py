"""Kinds of input. A modality is a row here and a package beside it; no stage knows one by name."""

from __future__ import annotations

from etils import epy

from components.artifacts import AssembledModel
from components.modalities.photos import giants as applications
from components.modalities.photos import raw as photos
from components.modalities.protocols import Modality, Reader
from components.modalities.sentences import giants as presets
from components.modalities.sentences import raw as sentences
from components.section import AugmentConfig

with epy.lazy_imports():
    from components.modalities.photos import reader as photo_reader
    from components.modalities.sentences import reader as sentence_reader

MODALITIES: dict[str, Modality] = {
    "image": Modality(
        column="path",
        is_path=True,
        options=frozenset({"model.input_size", "model.resize"}),
        poolings=("avg", "max"),
        policies=photos.POLICIES,
        usual=photos.USUAL,
        learned=frozenset(),
        feature=photos.feature,
        check=photos.check,
        sameness=lambda raw: raw,
        recurs=False,
        find=applications.find,
        find_weights=applications.find_weights,
        begin=applications.begin,
        build=applications.build,
        blocks=applications.blocks,
        reader=lambda *given: photo_reader.PhotoReader(*given),
        contract=photos.contract,
        summary=photos.summary,
        sample=photos.sample,
        load_ops=lambda: None,
        show=photos.show,
    ),
    "text": Modality(
        column="text",
        is_path=False,
        options=frozenset({"model.sequence_length", "augment.rate", "augment.translator"}),
        poolings=("mean", "cls", "last"),
        policies=sentences.POLICIES,
        usual=sentences.USUAL,
        learned=frozenset({"insertion", "synonym"}),
        feature=sentences.feature,
        check=sentences.check,
        sameness=sentences.sameness,
        recurs=True,
        find=presets.find,
        find_weights=presets.find_weights,
        begin=presets.begin,
        build=presets.build,
        blocks=presets.blocks,
        reader=lambda *given: sentence_reader.SentenceReader(*given),
        contract=presets.contract,
        summary=sentences.summary,
        sample=sentences.sample,
        load_ops=sentences.load_ops,
        show=sentences.show,
        legend=sentences.LEGEND,
    ),
}


def open_reader(
    model: AssembledModel, augment: AugmentConfig = AugmentConfig(), seed: int = 0
) -> Reader:
    """The reader of `model`'s raw examples; `augment` and `seed` are those of its views."""
    return MODALITIES[model.modality].reader(model, augment, seed)


def policies_of(modality: str, augment: AugmentConfig) -> tuple[str, ...]:
    """The policies that are asked for, or the usual ones."""
    return augment.policies or MODALITIES[modality].usual
