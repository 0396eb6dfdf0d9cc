"""How large a step of training is beside the weights that it changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epy

with epy.lazy_imports():
    import keras


# Groups of weights that are new: their updates may be large.
HEAD, LORA = "head", "LoRA"


class UpdateRatios:
    """The norm of an update of weights over the norm of the weights, group by group.

    About 0.001 a step is usual; much more means a learning rate that is too high, much less one
    that is too low (Bengio 2012, arXiv:1206.5533, section 3.3).

    Args:
        variables: what is trained.
        groups: a variable's path → the group it counts to; what is not in it is the head's.
    """

    def __init__(self, variables: Sequence[Any], groups: Mapping[str, str]) -> None:
        self._variables = variables
        self._groups = [groups.get(variable.path, HEAD) for variable in variables]
        self._before: list[np.ndarray] | None = None

    def before(self) -> None:
        """The next step is the one that is measured."""
        self._before = [np.array(keras.ops.convert_to_numpy(v)) for v in self._variables]

    def after(self) -> dict[str, float]:
        """Each group → the ratio of the step since `before`, without which there are none."""
        if self._before is None:
            return {}
        moved, size = dict.fromkeys(self._groups, 0.0), dict.fromkeys(self._groups, 0.0)
        for group, variable, was in zip(self._groups, self._variables, self._before, strict=True):
            now = keras.ops.convert_to_numpy(variable)
            moved[group] += float(np.sum(np.square(now - was, dtype="float64")))
            size[group] += float(np.sum(np.square(was, dtype="float64")))
        self._before = None
        return {group: (moved[group] / (size[group] or 1.0)) ** 0.5 for group in moved}
