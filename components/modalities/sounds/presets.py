"""Giants that hear and are presets: of KerasHub, or folders of Hugging Face."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from etils import epy

from components.artifacts import AssembledModel
from components.files import read_json
from components.modalities import hub
from components.modalities.giants import Giant, ModelConfig
from components.modalities.sounds.raw import Sound, SoundsConfig
from models.audio_encoders import FAMILIES, RATE, Preset, family_of
from models.taps import Pooled

with epy.lazy_imports():
    import keras

    from models import audio_encoders, splitting

# Where nothing else is asked for: what is said in one breath.
USUAL_SECONDS = 10.0
_CONFIG, _PROCESSOR = "config.json", "preprocessor_config.json"


def find(backbone: str, *, others: tuple[str, ...], download: bool) -> Giant:
    """The preset that is asked for; `others` are names that it might have meant."""
    return hub.find(backbone, FAMILIES, family_of, others=others, download=download)


def begin(
    config: ModelConfig, own: SoundsConfig, giant: Giant, directory: Path, *, published: bool
) -> tuple[keras.Model, Sound, str]:
    """The network, its form and its pooling; what it was built from goes to `preset/`."""
    if giant.path is None:
        raise ValueError(f"the preset must have been downloaded, got {giant}")
    preset = _preset(giant.path)
    form = _form(preset, own)
    pooling: Any = "avg" if config.pooling == "auto" else config.pooling
    network = _built(preset, form, pooling, weights=published)
    (directory / "preset").mkdir()
    for name in (_CONFIG, _PROCESSOR):
        if (giant.path / name).is_file():
            shutil.copyfile(giant.path / name, directory / "preset" / name)
    return network, form, pooling


def build(model: AssembledModel) -> keras.Model:
    """The network of `model`, its weights still random."""
    preset = _preset(model.directory / "preset")
    return _built(preset, Sound(**model.form), model.pooling, weights=False)


def block_names(own: SoundsConfig, giant: Giant) -> list[str]:
    """The preset's blocks; none where it is not there yet."""
    if giant.path is None:
        return []
    preset = _preset(giant.path)
    form = _form(preset, own)
    network = _built(preset, form, "avg", weights=False)
    return list(splitting.block_starts(network, FAMILIES[form.family].block))


def pooled(network: keras.Model) -> Pooled:
    """The mean of a block's output over what is heard."""
    return audio_encoders.tapped(network)


def _preset(folder: Path) -> Preset:
    processor = folder / _PROCESSOR
    return Preset(
        folder, hub.description(folder), read_json(processor) if processor.is_file() else {}
    )


def _form(preset: Preset, own: SoundsConfig) -> Sound:
    family = family_of(preset.config)
    return Sound(rate=RATE, seconds=own.seconds or USUAL_SECONDS, family=family)


def _built(preset: Preset, form: Sound, pooling: Any, *, weights: bool) -> keras.Model:
    return audio_encoders.build_encoder(
        form.family, preset, weights=weights, seconds=form.seconds, pooling=pooling
    )
