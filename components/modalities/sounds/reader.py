"""Sounds by the batch: decoded and changed on all cores, and in the graph that is served."""

from __future__ import annotations

from components.artifacts import AssembledModel
from components.modalities.mapped import Mapped
from components.modalities.sounds import raw as sounds
from components.modalities.sounds import views as sound_views
from components.section import Views


def open_reader(model: AssembledModel, views: Views, seed: int) -> Mapped:
    """The network has one input, float32 (batch, samples)."""
    form = sounds.Sound(**model.form)
    return Mapped(
        "samples",
        (form.samples,),
        lambda raw: sounds.decode(form, raw),
        lambda: sound_views.augmenter(form, views.policies, seed),
    )
