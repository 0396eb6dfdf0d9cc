"""The pooled outputs of every block of a network: what its lower layers know goes to the head, too.

A linear head on all of them does what fine-tuning does where the features that a task wants are in
the network, but not in its last layer: Head2Toe, Evci et al. 2022 (arXiv:2201.03529).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from etils import epy

from models.splitting import crossing, one_or_all, steps

with epy.lazy_imports():
    import keras

    from models import windows

# Of more features than this, every second tap is left out until there are no more.
MOST_FEATURES = 20_000
# A map of a picture has so many places at most.
FINEST = 64 * 64

# A block's output, and what to call it → vectors made of it, (batch, features) each, by their kind.
# The kind that every block has is called "".
Pooled = Callable[[Any, str], Mapping[str, Any]]


def mean_of_map(output: Any, name: str) -> dict[str, Any]:
    """A `Pooled`: (batch, height, width, channels) → the mean over all places.

    Down the columns first, which vectorizes.
    """
    del name
    return {"": keras.ops.mean(keras.ops.mean(output, axis=1), axis=1)}


def of_windows(network: keras.Model, pooled: Pooled) -> Pooled:
    """The means over windows of what `pooled` gives, where `network` hears an example in some."""
    layer = windows.find(network.layers)
    if layer is None:
        return pooled

    def means(output: Any, name: str) -> dict[str, Any]:
        found = {}
        for kind, vector in pooled(output, name).items():
            mean = windows.MeanOfWindows(layer.count, name=f"{name}_{kind}_windows")
            found[kind] = mean(vector, layer.output[1])
        return found

    return means


@dataclass(frozen=True)
class Tap:
    """A vector made of a block's output.

    Attributes:
        block: whose output it is made of.
        kind: which of the vectors that are made of it.
        vector: symbolic, (batch, features).
    """

    block: str
    kind: str
    vector: Any

    @property
    def name(self) -> str:
        return f"{self.block}/{self.kind}" if self.kind else self.block

    @property
    def width(self) -> int:
        return int(self.vector.shape[-1])


def find(network: keras.Model, starts: Mapping[str, int], pooled: Pooled) -> list[Tap]:
    """Every tap of `network`, from the bottom up; the last is the network's own output.

    A block whose output is concatenated with something to make the next block's is left out: the
    next one's says all that it does. So are those whose maps are finer than `FINEST`: they are
    the most to pool, and without the two of MobileNetV2 three sets of photographs lost no accuracy.

    Args:
        network: a functional model whose output is a vector.
        starts: what `splitting.block_starts` says of it.
    """
    names, every = list(starts), steps(network)
    if len(names) == 1:
        return [Tap(names[0], "", network.outputs[0])]
    ends = [*list(starts.values())[1:], len(every)]
    outputs = [_output(network, *span) for span in zip(starts.values(), ends, strict=True)]
    outputs[-1] = _last_map(every)
    found: list[Tap] = []
    for block, output, later in zip(names, outputs, [*outputs[1:], None], strict=True):
        if output is None or _is_fine(output):
            continue
        if not _is_part(every, output, later):
            vectors = pooled(output, f"tap_{block}")
            found += [Tap(block, kind, vector) for kind, vector in vectors.items()]
    top = [tap for tap in found if tap.block == names[-1] and tap.kind]
    below = [tap for tap in found if tap.block != names[-1]]
    return [*_thinned(below), *top, Tap(names[-1], "", network.outputs[0])]


def tapped(network: keras.Model, taps: Sequence[Tap]) -> keras.Model:
    """From the network's inputs to what `taps` give, side by side; no more of it than they need."""
    return keras.Model(
        one_or_all(network.inputs), beside([tap.vector for tap in taps]), name="body"
    )


def beside(vectors: Sequence[Any]) -> Any:
    """Symbolic vectors as one."""
    if len(vectors) == 1:
        return vectors[0]
    return keras.layers.Concatenate(name="taps")(list(vectors))


def _maps(tensors: Sequence[Any]) -> list[Any]:
    """Those with a place for each pixel or token."""
    return [t for t in tensors if len(t.shape) > 2 and keras.backend.is_float_dtype(t.dtype)]


def _output(network: keras.Model, start: int, end: int) -> Any:
    """The last map that is made between two steps and is used after them, if any."""
    made = {id(t) for step in steps(network)[start:end] for t in step.output_tensors}
    maps = [t for t in _maps(crossing(network, end)) if id(t) in made]
    return maps[-1] if maps else None


def _last_map(every: list[Any]) -> Any:
    """What a layer makes that the network's own vector is made of."""
    layers = [step for step in every if isinstance(step.operation, keras.layers.Layer)]
    return next((t for step in reversed(layers) for t in _maps(step.output_tensors)), None)


def _is_fine(output: Any) -> bool:
    """Whether it is a map of a picture with more places than `FINEST`."""
    _, *places, _ = output.shape
    return len(places) == 2 and None not in places and math.prod(places) > FINEST


def _is_part(every: list[Any], output: Any, later: Any) -> bool:
    """Whether `later` is `output` and something beside it."""
    makers = [step for step in every if any(t is later for t in step.output_tensors)]
    return any(
        isinstance(step.operation, keras.layers.Concatenate)
        and any(t is output for t in step.input_tensors)
        for step in makers
    )


def _thinned(taps: list[Tap]) -> list[Tap]:
    """So many of `taps` that their features are not too many, those nearest to the top kept."""
    blocks = list(dict.fromkeys(tap.block for tap in taps))
    while sum(tap.width for tap in taps if tap.block in blocks) > MOST_FEATURES:
        blocks = blocks[::-2][::-1]
    return [tap for tap in taps if tap.block in blocks]
