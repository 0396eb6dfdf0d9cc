"""Sounds by the batch: decoded and changed on all cores, and in the graph that is served."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from components.artifacts import AssembledModel
from components.modalities.mapped import Mapped
from components.modalities.protocols import Survey
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
        lambda raws: _survey(form, raws),
    )


def _survey(form: sounds.Sound, raws: Iterable[bytes]) -> Survey:
    """How many sounds are longer than what is heard of them, or whether all are much shorter."""
    heard = [sounds.heard(raw) for raw in raws]
    lengths = np.array([len(signal) / rate for signal, rate in heard])
    cut, longest = float(np.mean(lengths > form.seconds)), float(lengths.max())
    note = ""
    if cut:
        note = (
            f"{100 * cut:.1f} % of the training sounds are longer than the {form.seconds:g} s that "
            f"are heard, from the beginning: --sounds.seconds"
        )
    elif longest < form.seconds / 2:
        note = (
            f"The longest of the training sounds lasts {longest:.2g} s, and {form.seconds:g} s are "
            f"heard: --sounds.seconds {math.ceil(10 * longest) / 10:g} takes less time"
        )
    return Survey(cut_short=cut, note=note)
