"""A step of training or of validation, as the backend is fastest with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from models import distribution, hardware


class Steps:
    """The steps of a compiled model, each of which gives the figures of its own batch alone.

    Keras forgets the figures of the batch before from outside of the compiled step: of a head on
    stored features that takes longer than to train it.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        plain = keras.backend.backend() == "tensorflow" and distribution.replicas() == 1
        self._train = self._inside("train_step") if plain else self._of("train_on_batch")
        self._test = self._inside("test_step") if plain else self._of("test_on_batch")

    def train(self, inputs: Any, targets: Any, weights: Any) -> dict[str, Any]:
        """The loss and what is watched, before what a step of training changed."""
        return self._train(inputs, targets, weights)

    def test(self, inputs: Any, targets: Any, weights: Any) -> dict[str, Any]:
        """The loss and what is watched; nothing changes."""
        return self._test(inputs, targets, weights)

    def _of(self, name: str) -> Callable[[Any, Any, Any], dict[str, Any]]:
        def step(inputs: Any, targets: Any, weights: Any) -> dict[str, Any]:
            ask = getattr(self.model, name)
            found: dict[str, Any] = ask(inputs, targets, sample_weight=weights, return_dict=True)
            return found

        return step

    def _inside(self, name: str) -> Callable[[Any, Any, Any], dict[str, Any]]:
        def whole(data: Any) -> dict[str, Any]:
            found: dict[str, Any] = getattr(self.model, name)(data)
            self.model.reset_metrics()  # There are none yet before the first step.
            return found

        compiled = hardware.as_graph(whole)

        def step(inputs: Any, targets: Any, weights: Any) -> dict[str, Any]:
            found = compiled((inputs, targets, weights))
            return {figure: value.numpy() for figure, value in found.items()}

        return step
