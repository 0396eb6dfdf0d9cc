"""What the head that a backbone was trained with makes of it once it is fine-tuned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from etils import epy

from components.artifacts import AssembledModel, Features, TrainedModel
from components.frozen.batches import inputs_of
from components.frozen.networks import cut
from components.job import Job
from components.tasks.table import slices, task_of
from components.training.data import wanted
from components.training.heads import open_head
from models import splitting

with epy.lazy_imports():
    import keras

# So many examples of the task that it was trained for.
_EXAMPLES = 128


_OF_ITS_OWN = ("accuracy_before", "accuracy", "source_examples")


@dataclass(frozen=True)
class OwnHead:
    """The head of the model that the backbone came from, on the backbone as it is by now.

    Attributes:
        probe: activations at the cut → the outputs of the head's first target.
        before: (examples,), the classes that it gave our examples to begin with.
        source: what crosses the cut for examples of the task that it was trained for …
        truth: (examples,), … their answers, as numbers of classes …
        source_before: (examples,), … and those that it gave; None each where we do not have any.
    """

    probe: keras.Model
    before: np.ndarray
    source: Any = None
    truth: np.ndarray | None = None
    source_before: np.ndarray | None = None

    @classmethod
    def of(
        cls, job: Job, model: AssembledModel, network: keras.Model, features: Features, here: Any
    ) -> OwnHead | None:
        """None where the backbone did not come with a head that tells classes apart.

        Args:
            here: some of our examples, at the cut.
        """
        at = cut(model, network, features.cut)
        source = model.source
        if model.own_head.is_file():
            probe = at.onwards(_published(model, network))
            return cls(probe, _classes(probe, here))
        # What is not stored would be computed anew for this.
        if source is None or source.form.taps or "at_cut" not in source.features.keys:
            return None
        target, columns = next(slices(source.base.targets))
        if task_of(target).activation != "softmax":
            return None
        head = open_head(source, features=network.output_shape[-1])
        outputs = head(network.outputs[0])[:, columns]
        probe = at.onwards(outputs)
        given, truth = _examples(job, model, network, source, at, columns)
        return cls(probe, _classes(probe, here), given, truth, _classes(probe, given))

    def told(self, here: Any) -> dict[str, Any]:
        """How often it says the same of our examples as before, and is right about its own.

        None for what is said of its own task, where there are no examples of that.
        """
        ours = _classes(self.probe, here)
        told: dict[str, Any] = {
            "agreement": float(np.mean(self.before == ours)),
            "examples": len(ours),
        }
        if self.truth is None:
            return told | dict.fromkeys(_OF_ITS_OWN)
        own = _classes(self.probe, self.source)
        found = (
            float(np.mean(self.source_before == self.truth)),
            float(np.mean(own == self.truth)),
            len(self.truth),
        )
        return told | dict(zip(_OF_ITS_OWN, found, strict=True))


def _published(model: AssembledModel, network: keras.Model) -> Any:
    """The sums of the head that the giant was published with; the greatest is what it says."""
    with np.load(model.own_head, allow_pickle=False) as head:
        return network.outputs[0] @ head["kernel"] + head["bias"]


def _examples(
    job: Job,
    model: AssembledModel,
    network: keras.Model,
    source: TrainedModel,
    at: splitting.Split,
    columns: slice,
) -> tuple[Any, np.ndarray]:
    """What crosses for validation examples of the source task, which its training has stored."""
    _, validation = inputs_of(job, source.features, "at_cut")
    some = np.arange(min(len(validation), _EXAMPLES))
    way = cut(model, network, source.features.cut).onwards(at.crossing, folded=True)
    truth = wanted(validation, source.base.targets)[some][:, columns].argmax(axis=1)
    return way(validation.gather(some, 0), training=False), truth


def _classes(network: keras.Model, inputs: Any) -> np.ndarray:
    said = keras.ops.convert_to_numpy(network(inputs, training=False))
    found: np.ndarray = said.argmax(axis=-1)
    return found
