"""Sounds by the batch: decoded and changed on all cores, and in the graph that is served."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from components.artifacts import AssembledModel
from components.modalities.mapped import Mapped
from components.modalities.protocols import Survey
from components.modalities.sounds import raw as sounds
from components.modalities.sounds import views as sound_views
from components.modalities.sounds.form import Sound
from components.section import Views


def open_reader(model: AssembledModel, views: Views, seed: int) -> Mapped:
    """The network has one input, float32 (batch, samples)."""
    form = Sound(**model.form)
    return Mapped(
        "samples",
        (form.samples,),
        lambda raw: sounds.decode(form, raw),
        lambda: sound_views.augmenter(form, views.policies, seed),
        lambda raws: _survey(form, raws),
    )


def _survey(form: Sound, raws: Iterable[bytes]) -> Survey:
    """How long the sounds are beside what is heard of them, and what cannot be in them."""
    heard = [sounds.heard(raw) for raw in raws]
    lengths = np.array([len(signal) / rate for signal, rate in heard])
    cut, usual = float(np.mean(lengths > form.seconds)), float(np.median(lengths))
    notes = []
    if cut:
        notes.append(
            f"{100 * cut:.1f} % of the training sounds are longer than the {form.seconds:g} s that "
            f"are heard, from the beginning: --sounds.seconds, or --sounds.hop and --sounds.longest"
        )
    elif usual < form.seconds / 2:
        notes.append(
            f"Half of the training sounds are shorter than {usual:.2g} s, none is longer than "
            f"{lengths.max():.2g} s, and {form.seconds:g} s are heard: --sounds.seconds"
        )
    low = float(np.mean([rate < form.rate for _, rate in heard]))
    if low:
        least = min(rate for _, rate in heard)
        notes.append(
            f"{100 * low:.1f} % of the training sounds have fewer samples a second than the "
            f"{form.rate:,} that the giant hears: nothing above {least // 2:,} Hz is in some"
        )
    return Survey(cut_short=cut, note=". ".join(notes))
