"""A SavedModel of ours as MLflow serves it. MLflow copies this file: it imports nothing of ours."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import mlflow
import pandas as pd
import tensorflow as tf

with contextlib.suppress(ImportError):  # Its ops are in the graphs of models that read text.
    import tensorflow_text  # noqa: F401


class Served(mlflow.pyfunc.PythonModel):
    """Raw examples, in a column or a list → valid, and a column for each output.

    What has a value for each label has a column for each of them.
    """

    def load_context(self, context: Any) -> None:
        path = context.artifacts["saved_model"]
        self._signature = tf.saved_model.load(path).signatures["serving_default"]
        with open(f"{path}/MANIFEST.json", encoding="utf-8") as file:
            self._targets = json.load(file)["targets"]

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        del context, params
        raws = model_input.iloc[:, 0] if isinstance(model_input, pd.DataFrame) else model_input
        answer = self._signature(raw=tf.constant(list(raws)))
        columns: dict[str, Any] = {"valid": answer["valid"].numpy()}
        for target in self._targets:
            prefix = f"{target['name']}/" if target["name"] else ""
            labels = target["space"]["labels"]
            for name, tensor in answer.items():
                if name == "valid" or not name.startswith(prefix):
                    continue
                values = tensor.numpy()
                if values.dtype == object:
                    columns[name] = [_text(value) for value in values.tolist()]
                elif values.ndim == 2:
                    for label, column in zip(labels, values.T, strict=True):
                        columns[f"{prefix}{label}"] = column
                else:
                    columns[name] = values
        return pd.DataFrame(columns)


def _text(value: Any) -> Any:
    if isinstance(value, list):  # Padded with empty ones.
        return [each.decode() for each in value if each]
    return value.decode()


mlflow.models.set_model(Served())
