"""Giants that hear and are presets: of KerasHub, or folders of Hugging Face."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from etils import epy

from components.files import read_json
from components.modalities import hub
from components.modalities.giants import Giant
from models.audio_encoders import FAMILIES, Preset, family_of
from models.taps import Pooled

with epy.lazy_imports():
    import keras

    from models import audio_encoders

# Where nothing else is asked for: what is said in one breath.
USUAL_SECONDS = 10.0
_CONFIG, _PROCESSOR = "config.json", "preprocessor_config.json"


def find(backbone: str, *, others: tuple[str, ...], download: bool) -> Giant:
    """The preset that is asked for; `others` are names that it might have meant."""
    return hub.find(backbone, FAMILIES, family_of, others=others, download=download)


def family(folder: Path) -> str:
    """Of the preset in `folder`."""
    return family_of(hub.description(folder))


def keep(folder: Path, directory: Path) -> None:
    """Leave in `directory` what the preset's network can be built from again."""
    directory.mkdir()
    for name in (_CONFIG, _PROCESSOR):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, directory / name)


def build(folder: Path, samples: Any, pooling: Any, *, weights: bool) -> keras.Model:
    """The network that hears `samples`, with the weights in `folder` or random ones."""
    processor = folder / _PROCESSOR
    said = read_json(processor) if processor.is_file() else {}
    preset = Preset(folder, hub.description(folder), said)
    return audio_encoders.build_encoder(
        family(folder), preset, samples, weights=weights, pooling=pooling
    )


def pooled(network: keras.Model) -> Pooled:
    """The mean of a block's output over what is heard."""
    return audio_encoders.tapped(network)
