"""The whole state of a phase of training, so that it can go on as if it had never stopped."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from etils import epy

with epy.lazy_imports():
    import keras

State = dict[str, np.ndarray]


class Checkpoint(Protocol):
    """Keeps the state of a phase somewhere that survives the process."""

    def load(self) -> State | None:
        """What was saved last, or None."""

    def is_due(self) -> bool:
        """Whether it is time to save again."""

    def save(self, state: State) -> None:
        """Keep `state` in place of what was kept before."""


def capture(
    model: keras.Model, stopping: keras.callbacks.EarlyStopping, rows: list[dict[str, float]]
) -> State:
    """The state at the end of an epoch: weights, random states, optimizer, early stopping."""
    state = {
        "names": np.array(list(rows[0])),
        "rows": np.array([list(row.values()) for row in rows]),
        "stopping": np.array([stopping.best, stopping.best_epoch, stopping.wait], dtype="float64"),
        "stopped": np.array(model.stop_training),
    }
    state |= {f"model/{i}": np.array(v) for i, v in enumerate(_variables(model))}
    state |= {f"best/{i}": value for i, value in enumerate(stopping.best_weights or [])}
    return state


def restore(
    state: State, model: keras.Model, stopping: keras.callbacks.EarlyStopping
) -> list[dict[str, float]]:
    """Put a captured state back, and return the rows of the epochs that are done.

    None are, where the state is of another model or optimizer: so it is on another machine,
    where another precision is best.
    """
    variables = _variables(model)
    shapes = [tuple(variable.shape) for variable in variables]
    count = sum(name.startswith("model/") for name in state)
    if shapes != [state[f"model/{i}"].shape for i in range(count)]:
        return []
    for i, variable in enumerate(variables):
        variable.assign(state[f"model/{i}"])
    best, best_epoch, wait = state["stopping"]
    stopping.best = None if np.isnan(best) else float(best)
    stopping.best_epoch, stopping.wait = int(best_epoch), int(wait)
    count = sum(name.startswith("best/") for name in state)
    stopping.best_weights = [state[f"best/{i}"] for i in range(count)] or None
    model.stop_training = bool(state["stopped"])
    names = [str(name) for name in state["names"]]
    return [dict(zip(names, map(float, row), strict=True)) for row in state["rows"]]


def _variables(model: keras.Model) -> list[Any]:
    """Everything that a step changes, each once, in an order that the architecture decides."""
    found = {id(v): v for v in [*model.variables, *model.optimizer.variables]}
    metrics = {id(v) for v in model.metrics_variables}
    return [variable for key, variable in found.items() if key not in metrics]
