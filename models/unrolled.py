"""Backbones layer by layer: so that they are cut where their own layers hide others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras


def through(
    backbone: Any, inputs: Any, calls: Mapping[str, Callable[..., Any]] | None = None
) -> Any:
    """What `backbone`, a functional model, makes of `inputs`, layer by layer: the graph stays flat.

    Args:
        inputs: symbolic; of the structure that it has been built with.
        calls: the name of a layer → what is called in its place.
    """
    instead = calls or {}
    return backbone._run_through_graph(
        inputs, lambda operation: instead.get(operation.name, operation)
    )


def one_by_one(layer: Any, names: tuple[str, ...]) -> Callable[..., Any]:
    """Calls the layers that `layer` hides, one after another.

    Args:
        names: the attributes of `layer` that hold them, one or a list, in the order of their use.
    """
    hidden_ones = keras.tree.flatten([getattr(layer, name) for name in names])
    # What it knows besides is read by nobody.
    others = len(layer._inbound_nodes[0].outputs) - 1

    def call(hidden: Any) -> Any:
        for one in hidden_ones:
            hidden = (Traced(one) if _gives_several(one, hidden) else one)(hidden)
        return [hidden] * (1 + others) if others else hidden

    return call


def _gives_several(layer: Any, hidden: Any) -> bool:
    return isinstance(layer.compute_output_spec(hidden), (tuple, list))


class Traced(keras.layers.Layer):
    """What another layer gives first, by its name, of the shape that this is found to have.

    KerasHub's image encoder of SigLIP says that it has one patch more than it gives.
    """

    def __init__(self, layer: keras.layers.Layer) -> None:
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        self._layer = layer

    def call(self, hidden: Any, training: bool | None = None) -> Any:
        del training  # Keras hands it on.
        found = self._layer(hidden)
        return found[0] if isinstance(found, (tuple, list)) else found
