"""Keys of the config that are no longer where they were, so that who uses one is told."""

from __future__ import annotations

_LOSS = {
    "label_smoothing": "one_label.label_smoothing",
    "focal_gamma": "one_label.focal_gamma",
    "class_weights": "one_label.class_weights",
}
# The key before → what it is now.
MOVED = {
    "model.input_size": "photos.input_size",
    "model.resize": "photos.resize",
    "model.sequence_length": "sentences.sequence_length",
    "augment.rate": "sentences.rate",
    "augment.translator": "sentences.translator",
    "bless.min_accuracy": "bless.at_least accuracy=VALUE",
    "bless.min_recall": "bless.at_least least_recall=VALUE",
    "bless.beat_majority": "bless.beat_trivial",
    **{
        f"{section}.{key}": new
        for section in ("head", "fine_tune", "control", "pretrain")
        for key, new in _LOSS.items()
    },
}
