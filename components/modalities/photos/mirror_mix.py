"""FourierMix that keeps the label: a picture mixed with its own mirror image."""

from __future__ import annotations

from typing import Any

import keras
import keras_cv
import tensorflow as tf


class MirrorMix:
    """FMix (Harris et al. 2020, arXiv:2002.12047) of each picture with itself, mirrored.

    KerasCV's FourierMix mixes two examples and their labels; here its masks, made of low
    frequencies, say which parts of a picture are taken from its mirror image.

    Args:
        least: the least share of the picture that stays as it is.
    """

    def __init__(self, least: float = 0.5) -> None:
        self.least = least
        self.masks = keras_cv.layers.FourierMix()
        self.generator = keras.random.SeedGenerator(0)

    def __call__(self, images: Any, *, training: bool) -> Any:
        """Float images, (1, height, width, channels) → the same."""
        del training
        shape = tf.shape(images)[1:3]
        kept = tf.random.stateless_uniform((), self.generator.next(), self.least, 1.0)
        smooth = self.masks._sample_mask_from_transform(self.masks.decay_power, shape)
        mask = self.masks._binarise_mask(smooth, kept, shape)[tf.newaxis, ..., tf.newaxis]
        return mask * images + (1 - mask) * tf.reverse(images, [2])
