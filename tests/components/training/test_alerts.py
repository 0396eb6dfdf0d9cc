"""What goes wrong in training is told while it goes on."""

from __future__ import annotations

import math

import pytest

from components.training.alerts import Alerts


def kinds(
    losses: list[float], training: list[float] | None = None, before: float = 1.0
) -> list[str]:
    """What is told of a phase with these losses of validation."""
    alerts = Alerts("fine_tune")
    alerts.begin({"val_loss": before})
    rows = zip(losses, training or losses, strict=True)
    return [
        alert.kind
        for val_loss, loss in rows
        for alert in alerts.of_epoch({"val_loss": val_loss, "loss": loss}, {})
    ]


@pytest.mark.parametrize(
    ("losses", "training", "expected"),
    [
        ([0.9, 0.7, 0.5, 0.45, 0.44], None, []),
        ([0.5, 2.0, 3.0], [0.5, 1.0, 2.0], ["diverges"]),
        ([0.5, math.nan], None, ["not_finite"]),
        ([0.01, 0.05, 0.02], [0.1, 0.1, 0.1], []),
        (
            [0.5, 0.6, 0.65, 0.7, 0.72, 0.75, 0.8],
            [0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.02],
            ["overfits"],
        ),
        ([0.5] * 8, [0.5] * 8, ["flat"]),
        # What is perfect for once, and a loss that is a logarithm.
        ([0.0, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5], [0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1], []),
        ([-1.0, -0.9, -0.95, -0.85], [0.5, 0.5, 0.5, 0.5], []),
    ],
)
def test_losses(losses: list[float], training: list[float] | None, expected: list[str]) -> None:
    """Each kind once; small losses that waver are none."""
    assert kinds(losses, training) == expected


def test_a_step_with_no_finite_loss_is_told_once() -> None:
    alerts = Alerts("head")
    found = [a for step in range(1, 5) for a in alerts.of_batch(step, [1.0, math.inf][step > 1])]
    assert [a.message for a in found] == [
        "the loss of step 2 is inf: head.learning_rate is too high, or an input is not finite"
    ]


def test_large_updates_of_what_was_pretrained() -> None:
    """A head that is new may learn fast."""
    alerts = Alerts("fine_tune")
    row = {"val_loss": 1.0, "loss": 1.0}
    assert not alerts.of_epoch(row, {"head": 0.5, "LoRA": 0.5, "block_4": 0.001})
    (found,) = alerts.of_epoch(row, {"head": 0.5, "block_4": 0.03})
    assert found.kind == "large_updates"
    assert "block_4 by 3.0%" in found.message
