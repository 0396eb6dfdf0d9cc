"""Giants that hear: YAMNet, and networks for pictures that see the spectrogram of a sound."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from etils import epy

from components.artifacts import OWN_HEAD, AssembledModel
from components.files import sha256, sha256_of_json
from components.modalities import hub, published
from components.modalities.giants import Giant, ModelConfig, Pretrained
from components.modalities.published import home, of_applications
from components.modalities.sounds import presets
from components.modalities.sounds.form import Sound, SoundsConfig
from components.modalities.sounds.published import yamnet_file, yamnet_here
from models import backbones, splitting
from models.audio_encoders import FAMILIES, POOLINGS, family_of
from models.mistakes import Mistake
from models.taps import Pooled, mean_of_map, of_windows

with epy.lazy_imports():
    import keras

    from models import log_mel, windows, yamnet

poolings: tuple[str, ...] = POOLINGS

YAMNET = "YAMNet"
# Of networks for pictures: 16 kHz have all of speech; windows and hop in samples.
_RATE, _SECONDS, _WINDOWS, _HOP = 16_000, 1.0, (256, 512, 1024), 125
_LOW, _HIGH = 20.0, 8000.0
# A picture is about as wide as it is high, until a frame takes this long, in samples.
_LONGEST_HOP = 320

others = (
    "What is said in sounds is what the encoders of Whisper and Moonshine, wav2vec 2.0 and HuBERT "
    "know, such as of the recipe speech; YAMNet knows kinds of sounds."
)


def find(config: ModelConfig, own: SoundsConfig, *, download: bool) -> Giant:
    """YAMNet, the row of the table of networks for pictures, or the preset that is asked for."""
    name = _name(config)
    if _is_yamnet(config):
        return Giant(YAMNET, sha256_of_json(["sounds", YAMNET]))
    if name not in backbones.BACKBONES:
        known = (YAMNET, *backbones.BACKBONES)
        return presets.find(config.backbone, others=known, download=download)
    least = backbones.find_backbone(name).smallest
    frames = round((own.seconds or _SECONDS) * _RATE) // _HOP
    for key, value, found in (("mels", own.mels, own.mels), ("seconds", own.seconds, frames)):
        if found < least:
            raise Mistake(
                f"sounds.{key} must give {name} a picture of at least {least} pixels, got {value}, "
                f"which gives {found}"
            )
    return Giant(name, _digest(name))


def _name(config: ModelConfig) -> str:
    return backbones.backbone_name(config.backbone)


def _is_preset(name: str) -> bool:
    return name != YAMNET and name not in backbones.BACKBONES


def _is_yamnet(config: ModelConfig) -> bool:
    return config.backbone.lower() == YAMNET.lower()


def _digest(name: str) -> str:
    """Of a network for pictures, and of the picture that is made of a sound."""
    picture = [_RATE, _WINDOWS, _HOP, _LOW, _HIGH, _LONGEST_HOP]
    return sha256_of_json(["sounds", picture, "keras.applications", name])


def find_weights(
    config: ModelConfig, own: SoundsConfig, giant: Giant, *, download: bool
) -> Pretrained:
    """A file of YAMNet's beside those of Keras, Keras's own, or the preset's."""
    del own
    if _is_preset(giant.name):
        return hub.find_weights(config, giant)
    if giant.name != YAMNET:
        return of_applications(giant.name, config.weights, None, download=download)
    if config.weights == "imagenet":
        raise Mistake(
            f"model.weights must be pretrained, none or a file for {YAMNET}, which was trained on "
            f"AudioSet, got 'imagenet'"
        )
    file = yamnet_file() if download else yamnet_here()
    digest = sha256_of_json(["yamnet", sha256(file) if file else "to be downloaded"])
    return Pretrained(digest, "YAMNet's weights, trained on AudioSet", published=True)


def at_hand() -> list[str]:
    """YAMNet, networks for pictures, and presets that were downloaded."""
    ours = [YAMNET] if yamnet_here() else []
    return [*ours, *published.at_hand(), *hub.at_hand(FAMILIES, family_of)]


def small(giant: Giant) -> Giant:
    """Five blocks, 100,000 weights, that see the spectrogram."""
    del giant
    name = "SmallConvNet"
    return Giant(name, _digest(name), small=True)


def begin(
    config: ModelConfig, own: SoundsConfig, giant: Giant, directory: Path, *, published: bool
) -> tuple[keras.Model, Sound, str]:
    """The network, its form and its pooling, with published weights or random ones."""
    pooling = "avg" if config.pooling == "auto" else config.pooling
    form = _form(config, own, giant)
    if giant.path:
        presets.keep(giant.path, directory / "preset")
    network = _built(giant.name, form, pooling, giant.path, published=published)
    if published and giant.name == YAMNET:
        file = yamnet_file()
        yamnet.load(network, file)
        if pooling == "avg":
            kernel, bias = yamnet.head(file)
            np.savez(directory / OWN_HEAD, kernel=kernel, bias=bias)
    return network, form, pooling


def load(giant: Giant, network: keras.Model, path: Path) -> None:
    """Read a file of weights: ours, Keras's, or in the forms that YAMNet's are published in."""
    if giant.name == YAMNET and not path.name.endswith(".weights.h5"):
        yamnet.load(network, path)
    else:
        backbones.load_weights(network, path)


def _form(config: ModelConfig, own: SoundsConfig, giant: Giant) -> Sound:
    """What becomes of a sound; the small network hears as much as what it is compared with."""
    seconds, family, mels = own.seconds or _usual_seconds(config), "", 0
    if giant.path:
        family = presets.family(giant.path)
    elif giant.name != YAMNET:
        mels = min(own.mels, 64) if giant.small else own.mels
    form = Sound(rate=_RATE, seconds=seconds, mels=mels, family=family)
    if not own.hop or own.longest <= seconds:
        return form
    if own.hop > seconds:
        raise Mistake(
            f"sounds.hop must be at most the {seconds:g} s of sounds.seconds, or some would not be "
            f"heard, got {own.hop:g}"
        )
    windows = 1 + math.ceil((own.longest - seconds) / own.hop)
    whole = {"window": seconds, "hop": own.hop, "seconds": seconds + (windows - 1) * own.hop}
    return form.model_copy(update=whole)


def _usual_seconds(config: ModelConfig) -> float:
    """What the giant that is asked for hears where nothing is said."""
    if _is_yamnet(config):
        return yamnet.SECONDS
    return presets.USUAL_SECONDS if _is_preset(_name(config)) else _SECONDS


def _weights(name: str) -> str:
    """For any size of a picture those of the usual one, where there are some for several."""
    several = backbones.find_backbone(name).weights_sizes
    return str(home() / backbones.weights_file(name)) if several else "imagenet"


def _built(
    name: str, form: Sound, pooling: Any, folder: Path | None, *, published: bool = False
) -> keras.Model:
    """The network by its name, or of the preset in `folder`; its weights, where Keras reads them.

    Args:
        published: the weights of Keras or of the preset.
    """
    samples: Any = keras.Input((form.samples,), name="samples")
    if form.window:
        samples, _ = windows.Windows(size=form.at_once, hop=form.step, count=form.windows)(samples)
    if folder:
        network = presets.build(folder, samples, pooling, weights=published)
    elif name == YAMNET:
        network = yamnet.yamnet(samples, pooling=pooling)
        network.trainable = False
    else:
        weights = _weights(name) if published else None
        picture = _picture(form)(samples)
        network = backbones.build_backbone(name, pooling=pooling, weights=weights, picture=picture)
    return windows.mean(network) if form.window else network


def _picture(form: Sound) -> log_mel.MelPicture:
    return log_mel.MelPicture(
        rate=form.rate,
        windows=_WINDOWS,
        hop=max(_HOP, min(form.at_once // form.mels, _LONGEST_HOP)),
        mels=form.mels,
        low=_LOW,
        high=_HIGH,
        name="spectrogram",
    )


def build(model: AssembledModel) -> keras.Model:
    """The network of `model`, its weights still random."""
    form = Sound(**model.form)
    folder = model.directory / "preset" if form.family else None
    return _built(model.backbone, form, model.pooling, folder)


def block_names(config: ModelConfig, own: SoundsConfig, giant: Giant) -> list[str]:
    """The blocks, by the names of layers; none where a preset is not there yet."""
    if _is_preset(giant.name) and giant.path is None:
        return []
    form = _form(config, own, giant)
    pattern, ends = _pattern(giant.name, form)
    pooling = "avg" if config.pooling == "auto" else config.pooling
    network = _built(giant.name, form, pooling, giant.path)
    return list(splitting.block_starts(network, pattern, ends=ends))


def _pattern(name: str, form: Sound) -> tuple[str, bool]:
    if form.family:
        return FAMILIES[form.family].block, False
    if name == YAMNET:
        return yamnet.BLOCK, False
    row = backbones.find_backbone(name)
    return row.block, row.block_ends


def blocks(model: AssembledModel) -> tuple[str, bool]:
    """What `splitting.block_starts` needs to know of its layers' names."""
    return _pattern(model.backbone, Sound(**model.form))


def pooled(model: AssembledModel, network: keras.Model) -> Pooled:
    """The mean of a block's output over time, and pitch."""
    family = Sound(**model.form).family
    return of_windows(network, presets.pooled(network) if family else mean_of_map)


def contract(model: AssembledModel) -> dict[str, Any]:
    """What a client may send, and what becomes of it."""
    form = Sound(**model.form)
    return {
        "modality": "sound",
        "formats": ["WAV: integers of 8, 16, 24 and 32 bits, floats of 32 and 64, EXTENSIBLE"],
        "channels": "their mean",
        "rate": form.rate,
        "resampling": "a windowed sinc, in the model's graph",
        "seconds": form.seconds,
        "windows": {"count": form.windows, "seconds": form.window, "hop": form.hop},
        "longer": "the rest is not heard",
        "shorter": "followed by silence",
        "spectrogram": "inside the model",
    }


def load_ops() -> None:
    """TensorFlow has them all."""
