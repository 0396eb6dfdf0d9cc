"""Audio encoders: a table of families, and a flat network from samples to one vector.

A new family is a new row. Nothing else in the program knows one by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from etils import epy

from models import presets
from models.mistakes import Mistake
from models.taps import Pooled

with epy.lazy_imports():
    import keras

    from models import log_mel, moonshine, unrolled, wav2vec2, waveforms

Pooling = Literal["avg", "max"]

RATE = 16_000
POOLINGS: tuple[Pooling, ...] = ("avg", "max")


@dataclass(frozen=True)
class Preset:
    """A folder with an audio encoder.

    Attributes:
        config: what its `config.json` says.
        processor: what Hugging Face's `preprocessor_config.json` says; empty where there is none.
    """

    folder: Path
    config: Mapping[str, Any]
    processor: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Family:
    """One row of the table.

    Attributes:
        encode: (preset, weights, samples) → symbolic (batch, places, features), and (batch,
            places) with 1 where there is some of the sound; with the preset's weights, if these
            can be had while it is built, or random ones.
        load: (network, preset) reads the weights, where they can be had only then.
        block: a regular expression whose match in a layer's name says which block it belongs to.
        backbone: a class of `keras_hub.models`, whose preset it is; empty where it is our own.
        model_type: what Hugging Face's `config.json` calls it, where that is read.
        most_seconds: of a sound that it can hear.
    """

    encode: Callable[[Preset, bool, Any], tuple[Any, Any]]
    load: Callable[[Any, Preset], None] = lambda network, preset: None
    block: str
    backbone: str = ""
    model_type: str = ""
    most_seconds: float


def _whisper(preset: Preset, weights: bool, samples: Any) -> tuple[Any, Any]:
    """Radford et al. 2022 (arXiv:2212.04356), without its decoder.

    It was trained on 30 seconds, silence after the sound; heard is as much as `samples` has.
    """
    sizes = {} if weights else {"vocabulary_size": 1, "max_decoder_sequence_length": 1}
    backbone = presets.open_backbone("WhisperBackbone", preset.folder, weights=weights, **sizes)
    # A frame for every 160 samples; two convolutions with padding, the second of stride 2.
    samples, seen = waveforms.Heard([(160, 160), (1, 2)], name="heard")(samples)
    features = log_mel.WhisperMel(mels=backbone.num_mels, name="log_mel")(samples)
    encoder = keras.Model(
        backbone.input["encoder_features"], backbone.output["encoder_sequence_output"]
    )
    return unrolled.through(encoder, features), seen


def _of_wav2vec2(model_type: str) -> Family:
    return Family(
        encode=lambda preset, weights, samples: wav2vec2.encode(
            preset.config, preset.processor, samples
        ),
        load=lambda network, preset: wav2vec2.load(network, preset.config, preset.folder),
        block=r"layers_\d+",
        model_type=model_type,
        most_seconds=60.0,
    )


FAMILIES: dict[str, Family] = {
    "Whisper": Family(
        encode=_whisper,
        block=r"transformer_encoder_layer_\d+",
        backbone="WhisperBackbone",
        most_seconds=30.0,
    ),
    "Moonshine": Family(
        encode=lambda preset, weights, samples: moonshine.encode(preset.folder, weights, samples),
        block=r"encoder_block_\d+",
        backbone="MoonshineBackbone",
        most_seconds=60.0,
    ),
    "wav2vec 2.0": _of_wav2vec2("wav2vec2"),
    "HuBERT": _of_wav2vec2("hubert"),
}


def family_of(config: Mapping[str, Any]) -> str:
    """Which family a `config.json`, of KerasHub or Hugging Face, is of; KeyError for none."""
    return presets.family_of(config, FAMILIES)


def build_encoder(
    family: str, preset: Preset, samples: Any, *, weights: bool, pooling: Pooling
) -> keras.Model:
    """A flat functional model around the layers of an audio encoder, all of them frozen.

    Args:
        samples: a Keras tensor to be heard, (batch, samples) at 16 kHz.
        weights: those of the preset, or random ones.
        pooling: how its output becomes one vector; of places after the sound nothing is counted.

    Returns:
        A model from what `samples` are made of, in -1 … 1 and 0 after the sound, to (batch,
        features).
    """
    row, seconds = FAMILIES[family], samples.shape[-1] / RATE
    if seconds > row.most_seconds:
        raise Mistake(
            f"sounds.seconds must be at most {row.most_seconds:g} for {family}, got {seconds:g}"
        )
    hidden, seen = row.encode(preset, weights, samples)
    [source] = keras.utils.get_source_inputs(samples)
    network = keras.Model(source, _POOLS[pooling](hidden, seen), name="audio_encoder")
    if weights:
        row.load(network, preset)
    network.trainable = False
    return network


def _most(hidden: Any, seen: Any) -> Any:
    """The maximum over what is heard."""
    there = keras.ops.cast(seen, hidden.dtype)[:, :, None]
    return keras.ops.max(hidden * there - 1e9 * (1.0 - there), axis=1)


_POOLS: dict[Pooling, Callable[[Any, Any], Any]] = {
    "avg": lambda hidden, seen: keras.layers.GlobalAveragePooling1D(name="pooling")(
        hidden, mask=seen
    ),
    "max": _most,
}


def tapped(network: keras.Model) -> Pooled:
    """The mean of a block's output, (batch, places, features), over what is heard."""
    seen = network.get_layer("heard").output[1]

    def pooled(hidden: Any, name: str) -> dict[str, Any]:
        return {"": keras.layers.GlobalAveragePooling1D(name=name)(hidden, mask=seen)}

    return pooled
