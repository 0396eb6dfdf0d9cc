"""Photographs by the batch: decoded and augmented on all cores, and in the graph that is served."""

from __future__ import annotations

from components.artifacts import AssembledModel
from components.modalities.mapped import Mapped
from components.modalities.photos import raw as photos
from components.modalities.photos import views as photo_views
from components.section import Views


def open_reader(model: AssembledModel, views: Views, seed: int) -> Mapped:
    """The network has one input, float32 (batch, size, size, 3)."""
    form = photos.Picture(**model.form)
    return Mapped(
        "decoded",
        (form.input_size, form.input_size, 3),
        lambda raw: photos.decode(form, raw),
        lambda: photo_views.augmenter(views.policies, seed),
    )
