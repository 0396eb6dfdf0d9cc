"""Training of a whole network from its first weights, with the care that a transferred one gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from etils import epy
from pydantic import Field, field_validator

from components.artifacts import AssembledModel, Features, HeadForm
from components.frozen.networks import cut
from components.job import Job
from components.section import duration
from components.tasks.learning import Learning
from components.training.data import TrainingData, training_data
from components.training.heads import new_head
from components.training.phases import (
    Phase,
    PhaseConfig,
    decided,
    rate_or_auto,
    require_finite,
    run_phase,
)
from components.training.probe import step_seconds, untouched

with epy.lazy_imports():
    import keras

    from models import distribution, freezing, range_test, splitting

# So many examples times weights are trained in a second on any machine: 1,000 multiplications for
# each weight and example there and as many twice back, at 10 billion of them.
_SURELY_A_SECOND = 3e6
# Of very many examples no more steps an epoch than this: larger batches take less time for each.
MOST_STEPS = 2048
# Steps of a range test: a small network is trained in a few hundred. Where the loss falls fastest
# in so few is high for all of training: of three sets of photographs a third of it did better, and
# where it hardly falls at all, it says anything.
_RANGE_STEPS, _PART, _RATES = 50, 1 / 3, (3e-4, 3e-3)


class ScratchConfig(PhaseConfig):
    """Training of the whole network."""

    epochs: int = Field(30, ge=1, le=10_000)
    """Most epochs to train."""
    learning_rate: float | Literal["auto"] = 1e-3
    """Adam's, at its highest: it rises for `warmup_epochs`, then falls along a cosine. `auto`
    finds one by a range test."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Rate of dropout before the dense layer."""

    @field_validator("learning_rate", mode="before")
    @classmethod
    def _rate(cls, value: Any) -> Any:
        section = cls.__name__.removesuffix("Config").lower()
        return rate_or_auto(section, value)


def surely_fits(weights: int, examples: int, config: ScratchConfig, seconds: float) -> bool:
    """Whether all epochs take less than that, on any machine.

    Args:
        weights: of the network; and `examples` to train it with.
    """
    return weights * examples * config.epochs < seconds * _SURELY_A_SECOND


@dataclass(frozen=True)
class Whole:
    """A network, every layer of it to be trained, with a head and what they are trained on.

    Attributes:
        model: of what crosses before the first block, the inputs, to the outputs of the head.
    """

    network: keras.Model
    head: keras.Model
    model: keras.Model
    form: HeadForm
    data: TrainingData

    @classmethod
    def of(
        cls,
        job: Job,
        model: AssembledModel,
        network: keras.Model,
        features: Features,
        config: ScratchConfig,
        learning: Learning,
        seed: int,
    ) -> Whole:
        """`network`, of `model`, on the decoded inputs that `features` has.

        BatchNormalization's averages are those of about an epoch's steps. Keras's 0.99 and
        MobileNet's 0.999 need thousands of steps, and a network that is validated with averages of
        its first weights looks as if it had learned nothing.
        """
        suffix = cut(model, network, splitting.STEM).suffix
        keras.utils.set_random_seed(seed)
        form = HeadForm(
            dropout=config.dropout,
            normalize=False,  # There are no features yet to adapt to.
            balance=learning.by_uncertainty,
        )
        head = new_head(model.targets, form, features=network.output_shape[-1], seed=seed)
        freezing.unfreeze(suffix.layers, batch_normalization=True)
        data = training_data(job, features, "at_cut", learning)
        steps = data.training.steps(config.batch_size)
        for layer in suffix._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = min(layer.momentum, max(0.9, 1 - 4 / steps))
        inputs = splitting.one_or_all(suffix.inputs)
        return cls(network, head, keras.Model(inputs, head(suffix(inputs))), form, data)

    def train(
        self, job: Job, name: str, config: ScratchConfig, seed: int, *, section: str
    ) -> Phase:
        """Train it; the learning rate may be `auto`.

        Args:
            section: of the config, for what is said where training blows up.
        """
        if config.learning_rate == "auto":
            rate = decided(job, f"{name} rate", lambda: self._rate(config, seed))
            config = config.model_copy(update={"learning_rate": rate})
        phase = run_phase(job, name, self.model, self.data, config, seed, section=section)
        require_finite(phase.history, section, config)
        return phase

    def _rate(self, config: ScratchConfig, seed: int) -> float:
        with untouched(self.model, seed):
            found = range_test.range_test(
                self.model,
                self.data.training,
                objective=self.data.objective,
                batch_size=config.batch_size,
                seed=seed,
                steps=_RANGE_STEPS,
            )
        return min(max(_PART * found, _RATES[0]), _RATES[1])

    def within(
        self, job: Job, name: str, config: ScratchConfig, seconds: float, seed: int
    ) -> ScratchConfig:
        """The config with as many epochs as take no longer than that, at least one.

        The schedule of the learning rate is that of the epochs there are, so that what is trained
        for few epochs is the best that so many can give. What a killed run had decided is kept.
        """

        def decide() -> float:
            job.doing("measuring what a step takes")
            given = config.model_copy(update={"learning_rate": 1e-3})
            step = step_seconds(self.model, self.data, given, seed)
            # Without the way back a step takes a third.
            validation = self.data.validation.steps(config.batch_size)
            return step * (self.data.training.steps(config.batch_size) + validation / 3)

        if distribution.replicas() > 1:
            return config  # Each would measure something else, and they must agree.
        weights, examples = int(self.model.count_params()), len(self.data.training)
        if surely_fits(weights, examples, config, seconds):
            return config
        epoch = decided(job, f"{name} epoch", decide)
        epochs = min(config.epochs, max(1, int(seconds / epoch)))
        if epochs < config.epochs:
            job.say(
                f"The control: at most {epochs} epochs of about {duration(epoch)}, "
                f"{duration(epochs * epoch)} in all."
            )
        return config.model_copy(update={"epochs": epochs})
