"""What fine-tuning does to a backbone: how far the weights of each block move, what it says of the
same examples afterwards, and what the head that it was trained with makes of that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epy

from components.artifacts import AssembledModel, Features
from components.frozen.networks import block_starts, cut, taps_of
from components.job import Job
from components.training.own_head import OwnHead
from models import similarity, splitting
from models.minibatches import Data

with epy.lazy_imports():
    import keras

# So many validation examples say how alike features are.
_EXAMPLES = 128


class Drift:
    """The unfrozen blocks of a network as they are, to be compared with what becomes of them."""

    def __init__(
        self,
        job: Job,
        model: AssembledModel,
        network: keras.Model,
        features: Features,
        data: Data,
    ) -> None:
        """
        Args:
            data: validation examples: activations at the cut of `features`.
        """
        starts = block_starts(model, network)
        names = list(starts)
        self._unfrozen = names[names.index(features.block or names[-1]) :]
        layers = splitting.layers_of_blocks(network, starts)
        # The variables themselves: LoRA adds others, and takes them away again.
        self._variables = {
            block: [weight for layer in layers[block] for weight in layer.weights]
            for block in self._unfrozen
        }
        at = cut(model, network, features.cut)
        vectors = {
            tap.name: tap.vector
            for tap in taps_of(model, network)
            if tap.name in self._unfrozen  # Those of another kind say nothing else.
        }
        try:
            self._probe = at.onwards(vectors) if vectors else None
        except ValueError:  # A tap reads what does not cross there.
            self._probe = None
        inputs, _, _ = data.gather(np.arange(min(len(data), _EXAMPLES)), 0)
        given = inputs if isinstance(inputs, list) else [inputs]
        self._inputs = splitting.one_or_all(given[: len(at.crossing)])
        self._said, self._weights = self._say(), self._weigh()
        self._own = OwnHead.of(job, model, network, features, self._inputs)

    def _say(self) -> dict[str, np.ndarray]:
        if self._probe is None:
            return {}
        said = self._probe(self._inputs, training=False)
        return {name: np.array(keras.ops.convert_to_numpy(x)) for name, x in said.items()}

    def _weigh(self) -> dict[str, list[np.ndarray]]:
        return {
            block: [np.array(keras.ops.convert_to_numpy(v.value), np.float64) for v in variables]
            for block, variables in self._variables.items()
        }

    def told(self) -> dict[str, Any]:
        """`blocks`, see `_rows`, and `own_head`, see `OwnHead.told`, where there is one."""
        own = self._own.told(self._inputs) if self._own else None
        return {"blocks": self._rows(), "own_head": own}

    def _rows(self) -> list[dict[str, Any]]:
        """For each unfrozen block, from the bottom up: `moved`, how far its weights are from where
        they were, as a share of their length; and `cka` of its features, where it has any."""
        said, weights = self._say(), self._weigh()
        return [
            {
                "block": block,
                "moved": _moved(self._weights[block], weights[block]),
                "cka": similarity.linear_cka(self._said[block], said[block])
                if block in said
                else None,
            }
            for block in self._unfrozen
        ]


def _moved(before: list[np.ndarray], now: list[np.ndarray]) -> float:
    apart = sum(float(np.square(b - a).sum()) for a, b in zip(before, now, strict=True))
    length = sum(float(np.square(a).sum()) for a in before)
    return float(np.sqrt(apart / max(length, 1e-30)))


def between(
    weights: Mapping[str, Any],
    before: Mapping[str, np.ndarray],
    after: Mapping[str, np.ndarray],
    share: float,
) -> None:
    """Put `weights` on the line from what they were (0) to what they became (1)."""
    for name, weight in weights.items():
        if name in before and name in after:
            weight.assign(before[name] + share * (after[name] - before[name]))
