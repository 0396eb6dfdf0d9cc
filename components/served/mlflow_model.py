"""A SavedModel of ours as MLflow serves it. MLflow copies this file: it imports nothing of ours."""

from __future__ import annotations

import contextlib
from typing import Any

import mlflow
import pandas as pd
import tensorflow as tf

with contextlib.suppress(ImportError):  # Its ops are in the graphs of models that read text.
    import tensorflow_text  # noqa: F401


class Served(mlflow.pyfunc.PythonModel):
    """Raw examples, in a column or a list → label, valid and a column for each class."""

    def load_context(self, context: Any) -> None:
        path = context.artifacts["saved_model"]
        self._signature = tf.saved_model.load(path).signatures["serving_default"]
        with open(f"{path}/assets/labels.txt", encoding="utf-8") as file:
            self._labels = file.read().splitlines()

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        del context, params
        raws = model_input.iloc[:, 0] if isinstance(model_input, pd.DataFrame) else model_input
        answer = self._signature(raw=tf.constant(list(raws)))
        table = pd.DataFrame(answer["probabilities"].numpy(), columns=self._labels)
        table.insert(0, "label", [label.decode() for label in answer["labels"].numpy()])
        table.insert(1, "valid", answer["valid"].numpy())
        return table


mlflow.models.set_model(Served())
