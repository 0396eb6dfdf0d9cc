"""Augmented views of photographs.

A policy is a row of `POLICIES`: a name and the Keras layers it stands for. A view's randomness
is drawn from (seed, example id, view) alone, so that a view can be computed again tomorrow, on
another machine and in another order, and be the same.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

from etils import epy

with epy.lazy_imports():
    import keras
    import keras_cv
    import tensorflow as tf

    from components.modalities.photos import mirror_mix


# Every layer reads and gives float32 pixels in 0 … 255.
_RANGE = (0, 255)
POLICIES: dict[str, Callable[[], Any]] = {
    "flip": lambda: keras.layers.RandomFlip("horizontal"),
    "rotation": lambda: keras.layers.RandomRotation(0.05, fill_mode="reflect"),
    "crop": lambda: keras.layers.RandomZoom((-0.25, 0.0), fill_mode="reflect"),
    "shift": lambda: keras.layers.RandomTranslation(0.1, 0.1, fill_mode="reflect"),
    "colour": lambda: keras.layers.RandomColorJitter(
        _RANGE,
        brightness_factor=0.2,
        contrast_factor=0.2,
        saturation_factor=(0.4, 0.6),  # 0.5 leaves it as it is, 0 is grey.
        hue_factor=0.03,
    ),
    "randaugment": lambda: keras.layers.RandAugment(_RANGE, num_ops=2, factor=0.3),
    "augmix": lambda: keras.layers.AugMix(_RANGE),
    "erasing": lambda: keras.layers.RandomErasing(scale=(0.02, 0.15), value_range=_RANGE),
    "gridmask": lambda: keras_cv.layers.GridMask(
        # Its own uniform sampler draws from the process, not from the layer.
        ratio_factor=keras_cv.core.ConstantFactorSampler(0.3)
    ),
    "fouriermix": lambda: mirror_mix.MirrorMix(),
}


def augmenter(policies: tuple[str, ...], seed: int) -> Callable[[Any, Any, Any], Any]:
    """A function for a `tf.data` graph: (pixels, id, view) → the pixels of that view.

    Pixels are float32 (height, width, 3) in 0 … 255, id a string and view an integer tensor;
    view 0 is the example itself.
    """
    layers = [POLICIES[name]() for name in policies]
    generators = [generator for layer in layers for generator in _generators(layer)]

    def augmented(pixels: Any, identity: Any, view: Any) -> Any:
        name = tf.strings.join([str(seed), identity, tf.strings.as_string(view)], "/")
        example_seed = tf.stack([tf.strings.to_hash_bucket_fast(name, 2**31 - 1), 0])
        _draw_from(generators, example_seed)
        batch = pixels[tf.newaxis]
        state = random.getstate()
        random.seed(seed)  # AugMix draws what its chains do when it is compiled, from Python.
        for layer in layers:
            batch = layer(batch, training=True)
        random.setstate(state)
        return tf.ensure_shape(tf.clip_by_value(batch[0], *_RANGE), pixels.shape)

    def apply(pixels: Any, identity: Any, view: Any) -> Any:
        return tf.cond(view > 0, lambda: augmented(pixels, identity, view), lambda: pixels)

    return apply


def _draw_from(generators: list[Any], seed: Any) -> None:
    """Let Keras's random generators draw from one tensor instead of their own state.

    Their state would make a view depend on what was drawn before it, and on the number of
    threads. Draws are counted while the graph is traced, so that each has a seed of its own.
    """
    draws = itertools.count()

    def following(ordered: bool = True) -> Any:
        return tf.random.experimental.stateless_fold_in(seed, next(draws))

    def uniform(shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = tf.float32) -> Any:
        return tf.random.stateless_uniform(shape, following(), minval, maxval, dtype)

    def normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = tf.float32) -> Any:
        return tf.random.stateless_normal(shape, following(), mean, stddev, dtype)

    for generator in generators:
        if isinstance(generator, tf.random.Generator):  # KerasCV's layers have TensorFlow's.
            generator.uniform, generator.normal = uniform, normal
        else:
            generator.next = following


def _generators(value: Any, seen: set[int] | None = None) -> Iterator[Any]:
    """Every random generator in a layer and the layers within it, each the layer's own."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, keras.random.SeedGenerator):
        yield value
    elif isinstance(value, keras.layers.Layer | mirror_mix.MirrorMix):
        if hasattr(value, "_get_seed_generator"):  # Else it makes others on JAX and PyTorch.
            value._get_seed_generator = lambda backend=None: value.generator
        for name, part in list(vars(value).items()):
            if isinstance(part, tf.random.Generator):  # It may be the process's global one.
                part = tf.random.Generator.from_seed(0)
                setattr(value, name, part)
                yield part
            yield from _generators(part, seen)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _generators(part, seen)
