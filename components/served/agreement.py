"""Agreement: whether an exported model says what the network in memory says, asked in every way.

The network in memory is called as Keras calls it, its layers not folded: eagerly, which spares a
trace, or in a graph, as `Model.predict` does. A network that magnifies rounding, such as one of
random weights, says something else in either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from etils import epy

from components.modalities.protocols import Reader
from components.served import golden
from components.served.opening import DISTANCE, VALID
from components.tasks.protocol import Target
from components.tasks.table import slices, task_of
from models.splitting import one_or_all

with epy.lazy_imports():
    import keras
    import tensorflow as tf

    from models import novelty

# What the exported model may differ by from the one in memory: in probability, or in standard
# deviations of a number.
TOLERANCE = 1e-5
# And in distances, of which that between examples of the same kind is about 1.
DISTANCE_TOLERANCE = 0.01
# Neither a picture nor UTF-8.
NO_EXAMPLE = b"\xff not an example"


class Disagreement(RuntimeError):
    """The exported model does not say what the network in memory says."""


@dataclass(frozen=True)
class Known:
    """A few examples, and what the network in memory says of them, whose layers are not folded.

    Attributes:
        inputs: the network's, by their names.
        outputs: those of the served ones that its own say, by their names.
        apart: (examples,), how far each is from what the network was trained on, if that is served.
    """

    raws: list[bytes]
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    apart: np.ndarray | None

    @classmethod
    def of(
        cls,
        body: keras.Model,
        head: keras.Model,
        targets: tuple[Target, ...],
        reader: Reader,
        raws: list[bytes],
        reference: novelty.Reference | None,
        *,
        eager: bool,
    ) -> Known:
        def answer(*inputs: Any) -> Any:
            features = body(one_or_all(inputs), training=False)
            return head(features, training=False), features

        network = answer if eager else tf.function(answer, autograph=False)
        inputs = reader.read([""] * len(raws), raws, [0] * len(raws)).inputs
        said, features = (each.numpy() for each in network(*map(tf.constant, inputs)))
        outputs = {
            target.named(name): value
            for target, columns in slices(targets)
            for name, value in task_of(target).served(said[:, columns], target.space).items()
        }
        named = {spec.name: value for spec, value in zip(reader.inputs, inputs, strict=True)}
        apart = reference.nearest(features)[0] if reference else None
        return cls(raws, named, outputs, apart)

    def first(self, count: int) -> tuple[list[bytes], dict[str, Any], dict[str, Any]]:
        """Of so many of them: raws, inputs, outputs."""
        inputs, outputs = (
            {name: value[:count] for name, value in own.items()}
            for own in (self.inputs, self.outputs)
        )
        return self.raws[:count], inputs, outputs


def check(serving: Any, endpoint: str, targets: tuple[Target, ...], known: Known) -> float:
    """The largest difference: in a batch, alone, and beside a bad one.

    Of probabilities; of numbers, in standard deviations of the answers.
    """
    raws, served = known.raws, serving["serving_default"]
    bad = served(raw=tf.constant([raws[0], NO_EXAMPLE, *raws[1:]]))
    if bad[VALID].numpy().tolist() != [True, False, *[True] * (len(raws) - 1)]:
        raise RuntimeError(f"the exported model must mark what is bad, got {bad[VALID]}")
    alone = [served(raw=tf.constant([raw])) for raw in raws]
    answers = {
        endpoint: serving[endpoint](**{n: tf.constant(x) for n, x in known.inputs.items()}),
        "a batch": served(raw=tf.constant(raws)),
        "one at a time": {name: tf.concat([a[name] for a in alone], 0) for name in alone[0]},
        "beside a bad one": {
            name: np.delete(each.numpy(), 1, axis=0) for name, each in bad.items()
        },
    }
    worst = 0.0
    for how, got in answers.items():
        for target in targets:
            own = [name for name in known.outputs if name.startswith(target.named(""))]
            for name in own:
                value = np.asarray(got[name])
                off = golden.apart(target, value, known.outputs[name])
                difference = float(off[~golden.abstained(got, value)].max(initial=0.0))
                if not difference <= TOLERANCE:
                    raise Disagreement(
                        f"the exported model must agree with the one in memory to {TOLERANCE}, got "
                        f"a difference of {difference:.2g} in {name} by {how}"
                    )
                worst = max(worst, difference)
        if known.apart is not None:
            _check_distances(np.asarray(got[DISTANCE]), known.apart, how)
    return worst


def _check_distances(got: np.ndarray, wanted: np.ndarray, how: str) -> None:
    """They are known to a few digits: that of what is nearly the same is one of large numbers."""
    off = float(np.abs(got - wanted).max())
    if not off <= DISTANCE_TOLERANCE:
        raise Disagreement(
            f"the exported model must agree with the one in memory to {DISTANCE_TOLERANCE} in "
            f"{DISTANCE}, got a difference of {off:.2g} by {how}"
        )
