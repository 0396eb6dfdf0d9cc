"""Cut a functional network in two at any block boundary: a frozen prefix and a suffix to train.

`suffix(prefix(x))` is the network: both are built on the network's own graph and share its
layers, so that weights set in one are seen by all. Where a block's first layer reads more than
its predecessor's output, several tensors cross.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from etils import epy

from models.mistakes import Mistake, nearest

with epy.lazy_imports():
    import keras

    from models import windows

STEM = "stem"


@dataclass(frozen=True)
class Split:
    """A network cut in two.

    Attributes:
        block: the first block of the suffix; empty where the suffix is.
        prefix: inputs → the list of tensors that cross, in graph order.
        suffix: that list → the network's output.
        crossing: the tensors of the network's own graph that cross.
        windows: of an example, where they are an axis of what crosses; see `models.windows`.
    """

    block: str
    prefix: keras.Model
    suffix: keras.Model
    crossing: list[Any]
    windows: int = 0

    def onwards(
        self, outputs: Any, *, others: Sequence[Any] = (), folded: bool = False, name: str = ""
    ) -> keras.Model:
        """From what crosses to other tensors of the network's graph.

        Args:
            outputs: one, a list, or by name; ValueError where they need more than what crosses.
            others: further inputs, which are no windows.
            folded: with the windows as an axis of each output, too, as of what crosses.
        """
        named = {"name": name} if name else {}
        given = {id(tensor) for tensor in self.crossing}
        # Keras does not find an output again that is an input in the middle of a graph.
        apart = keras.tree.map_structure(
            lambda tensor: keras.layers.Identity()(tensor) if id(tensor) in given else tensor,
            _one(outputs),
        )
        plain = keras.Model(one_or_all([*self.crossing, *others]), apart, **named)
        if not self.windows:
            return plain
        inputs = [
            keras.Input((self.windows, *tensor.shape[1:]), dtype=tensor.dtype, name=f"folded_{n}")
            for n, tensor in enumerate(self.crossing)
        ]
        unfolded = [windows.Unfold()(tensor) for tensor in inputs]
        found = plain._run_through_graph(
            one_or_all([*unfolded, *others]), lambda operation: operation
        )
        if folded:
            found = keras.tree.map_structure(windows.Fold(self.windows), found)
        return keras.Model(one_or_all([*inputs, *others]), found, **named)


def _one(outputs: Any) -> Any:
    return one_or_all(outputs) if isinstance(outputs, list) else outputs


def block_starts(network: keras.Model, pattern: str, *, ends: bool = False) -> dict[str, int]:
    """Each block's name, in graph order, and the position of its first step (see `steps`).

    What comes before the first named block is the block `stem`. A boundary is put where the
    fewest tensors cross between a block's last and the next one's first named layer, because
    layers with automatic names in between may belong to either.

    Args:
        network: a functional model.
        pattern: `Backbone.block`.
        ends: `Backbone.block_ends`.
    """
    expression = re.compile(pattern)
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for position, step in enumerate(steps(network)):
        if match := expression.match(step.operation.name):
            name = match[match.lastindex or 0]
            first.setdefault(name, position)
            last[name] = position
    starts = {STEM: 0}
    end = -1
    for name in first:
        if ends:
            if end >= 0:
                starts[name] = end + 1
            elif last[name] > 0:
                starts[name] = _narrowest(network, 1, last[name])
        else:
            starts[name] = _narrowest(network, end + 1, first[name])
        end = max(end, last[name])
    return starts


def layers_of_blocks(
    network: keras.Model, starts: dict[str, int]
) -> dict[str, list[keras.layers.Layer]]:
    """Each block's layers, in graph order; `starts` is what `block_starts` says of `network`.

    A layer that is called in several blocks belongs to the first of them.
    """
    positions = [*starts.values(), len(steps(network))]
    blocks: dict[str, list[keras.layers.Layer]] = {}
    seen: set[int] = set()
    for name, first, end in zip(starts, positions, positions[1:], strict=False):
        blocks[name] = []
        for operation in (step.operation for step in steps(network)[first:end]):
            if isinstance(operation, keras.layers.Layer) and id(operation) not in seen:
                seen.add(id(operation))
                blocks[name].append(operation)
    return blocks


def split(network: keras.Model, starts: dict[str, int], block: str | None) -> Split:
    """Cut `network` before `block`; None puts the whole network into the prefix.

    Args:
        network: a functional model.
        starts: what `block_starts` says of it.
        block: a key of `starts`; `stem` puts everything into the suffix, and the prefix is the
            identity.
    """
    if block is None:
        output = network.outputs[0]
        suffix = keras.Model(output, keras.layers.Identity()(output), name="suffix")
        return Split("", network, suffix, [output])
    tensors = list(network.inputs) if block == STEM else crossing(network, starts[block])
    cut = _windows(network, starts[block])
    count = cut.count if cut else 0
    # A row an example, whatever it has windows.
    given = [windows.Fold(count)(tensor) for tensor in tensors] if count else tensors
    prefix = keras.Model(one_or_all(network.inputs), given, name="prefix")
    found = Split(block, prefix, prefix, tensors, count)
    return replace(found, suffix=found.onwards(list(network.outputs), name="suffix"))


def _windows(network: keras.Model, position: int) -> windows.Windows | None:
    """What makes windows of an example, where it is before the cut."""
    return windows.find([step.operation for step in steps(network)[:position]])


def resolve_block(starts: dict[str, int], unfreeze: int | str) -> str | None:
    """The first block to unfreeze: by name, as a number of blocks from the top, as a share of them
    such as 25%, or `all`.

    Returns:
        A key of `starts`, or None where `unfreeze` is 0.
    """
    names = list(starts)
    if unfreeze == "all":
        return STEM
    if isinstance(unfreeze, str) and re.fullmatch(r"\d+%", unfreeze) and unfreeze not in starts:
        count = math.ceil(int(unfreeze[:-1]) / 100 * len(names))
        return STEM if count >= len(names) else names[-count] if count else None
    if isinstance(unfreeze, str):
        if unfreeze not in starts:
            raise Mistake(
                f"fine_tune.unfreeze must be a block of the network, got {unfreeze!r}: "
                f"{nearest(unfreeze, starts)}"
            )
        return unfreeze
    if unfreeze < 0 or unfreeze >= len(names):
        raise Mistake(
            f"fine_tune.unfreeze must be between 0 and the network's {len(names) - 1} blocks, "
            f"or 'all', got {unfreeze}"
        )
    return names[-unfreeze] if unfreeze else None


def one_or_all(tensors: Sequence[Any]) -> Any:
    """The tensor itself where there is one; Keras takes a list of one for something else."""
    return tensors[0] if len(tensors) == 1 else list(tensors)


def _narrowest(network: keras.Model, low: int, high: int) -> int:
    """The latest position in low … high at which the fewest tensors cross."""
    low = max(low, 1)
    return min(range(high, low - 1, -1), key=lambda at: len(crossing(network, at)), default=high)


def crossing(network: keras.Model, position: int) -> list[Any]:
    """The inputs and the tensors made before `position` that are used from it on."""
    every = steps(network)
    before = {id(tensor): tensor for tensor in network.inputs}
    for step in every[:position]:
        before |= {id(tensor): tensor for tensor in step.output_tensors}
    wanted = {id(tensor) for step in every[position:] for tensor in step.input_tensors}
    wanted |= {id(tensor) for tensor in network.outputs}
    return [tensor for key, tensor in before.items() if key in wanted]


def steps(network: keras.Model) -> list[Any]:
    """What the network does, in order: a node for every call of an operation on its inputs."""
    levels = network._nodes_by_depth
    nodes = [node for depth in sorted(levels, reverse=True) for node in levels[depth]]
    return [node for node in nodes if not node.is_input]
