"""Kinds of input. A modality is a row here and a package beside it; no stage knows one by name."""

from __future__ import annotations

from etils import epy

from components.artifacts import AssembledModel
from components.modalities.photos import giants as photo_giants
from components.modalities.photos import raw as photo_raw
from components.modalities.photos import shown as photo_shown
from components.modalities.protocols import Modality, Reader
from components.modalities.sentences import giants as sentence_giants
from components.modalities.sentences import raw as sentence_raw
from components.modalities.sentences import shown as sentence_shown
from components.modalities.sounds import giants as sound_giants
from components.modalities.sounds import pieces as sound_pieces
from components.modalities.sounds import raw as sound_raw
from components.modalities.sounds import shown as sound_shown
from components.modalities.sounds.form import SoundsConfig
from components.section import Views

with epy.lazy_imports():
    from components.modalities.photos import reader as photo_reader
    from components.modalities.sentences import reader as sentence_reader
    from components.modalities.sounds import reader as sound_reader

MODALITIES: dict[str, Modality] = {
    "image": Modality(
        section="photos",
        config=photo_raw.PhotosConfig,
        view_options=(),
        policies=photo_raw.POLICIES,
        usual=photo_raw.USUAL,
        model_dependent=frozenset(),
        scratch_views=4,
        raw=photo_raw,
        giants=photo_giants,
        reader=lambda *given: photo_reader.open_reader(*given),
        shown=photo_shown,
    ),
    "text": Modality(
        section="sentences",
        config=sentence_raw.SentencesConfig,
        view_options=("rate", "translator"),
        policies=sentence_raw.POLICIES,
        usual=sentence_raw.USUAL,
        model_dependent=frozenset({"insertion", "synonym"}),
        scratch_views=1,
        raw=sentence_raw,
        giants=sentence_giants,
        reader=lambda *given: sentence_reader.SentenceReader(*given),
        shown=sentence_shown,
    ),
    "sound": Modality(
        section="sounds",
        config=SoundsConfig,
        view_options=(),
        policies=sound_raw.POLICIES,
        usual=sound_raw.USUAL,
        model_dependent=frozenset(),
        scratch_views=4,
        raw=sound_raw,
        giants=sound_giants,
        reader=lambda *given: sound_reader.open_reader(*given),
        shown=sound_shown,
        pieces=sound_pieces.pieces,
    ),
}


def open_reader(model: AssembledModel, views: Views = Views(), seed: int = 0) -> Reader:
    """The reader of `model`'s raw examples; `views` and `seed` are those of its views."""
    return MODALITIES[model.modality].reader(model, views, seed)
