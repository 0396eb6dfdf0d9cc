"""TensorFlow Serving's JSON: requests into tensors, and answers out of them.

As https://www.tensorflow.org/tfx/serving/api_rest has it: rows (`instances`, answered by
`predictions`) or columns (`inputs`, answered by `outputs`); bytes are `{"b64": …}`.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from etils import epy

from models.mistakes import Mistake

with epy.lazy_imports():
    import tensorflow as tf

_B64 = "b64"
# Outputs whose name ends so are bytes, whatever is in them.
_BYTES = "_bytes"


@dataclass(frozen=True)
class Asked:
    """What is asked of a signature.

    Attributes:
        signature: its name.
        tensors: by the names of its inputs.
        by_row: whether it is asked in rows, and so answered.
    """

    signature: str
    tensors: dict[str, tf.Tensor]
    by_row: bool


def parse(body: bytes, signatures: Mapping[str, Any], most: int) -> Asked:
    """What a request says.

    Args:
        signatures: those of the model, as TensorFlow loads them.
        most: instances at once.

    Raises:
        Mistake: it is no such request.
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Mistake(f"the body must be JSON, got {str(error)[:100]}") from error
    if not isinstance(request, dict):
        raise Mistake("the body must be a JSON object")
    name = request.get("signature_name") or "serving_default"
    if not isinstance(name, str) or name not in signatures:
        known = ", ".join(sorted(signatures))
        raise Mistake(f"signature_name must be one of {known}, got {name!r}")
    specs = signatures[name].structured_input_signature[1]
    if ("instances" in request) == ("inputs" in request):
        raise Mistake("the body must have either instances or inputs")
    by_row = "instances" in request
    columns = (
        _of_rows(request["instances"], specs, most)
        if by_row
        else _of_columns(request["inputs"], specs)
    )
    if missing := specs.keys() - columns.keys():
        raise Mistake(f"inputs must have {', '.join(sorted(missing))}")
    tensors = {key: _tensor(key, columns[key], spec) for key, spec in specs.items()}
    counts = [len(each) for each in tensors.values() if each.shape.rank]
    if min(counts, default=1) == 0:
        raise Mistake("inputs must have one example or more, got none")
    if max(counts, default=0) > most:
        raise Mistake(f"inputs must have at most {most} examples, got {max(counts)}")
    return Asked(name, tensors, by_row)


def _of_rows(instances: Any, specs: Mapping[str, Any], most: int) -> dict[str, Any]:
    if not isinstance(instances, list) or not instances:
        raise Mistake("instances must be a list of one or more")
    if len(instances) > most:
        raise Mistake(f"instances must be at most {most}, got {len(instances)}")
    if not all(_is_named(row, specs) for row in instances):
        return {_only(specs): instances}
    names = instances[0].keys()
    if any(row.keys() != names for row in instances):
        raise Mistake("instances must all have the same inputs")
    return {name: [row[name] for row in instances] for name in names}


def _of_columns(inputs: Any, specs: Mapping[str, Any]) -> dict[str, Any]:
    return dict(inputs) if _is_named(inputs, specs) else {_only(specs): inputs}


def _is_named(value: Any, specs: Mapping[str, Any]) -> bool:
    """Whether it is an object of inputs by their names, and not bytes."""
    if not isinstance(value, dict) or value.keys() == {_B64}:
        return False
    if unknown := value.keys() - specs.keys():
        known, given = ", ".join(sorted(specs)), ", ".join(sorted(unknown))
        raise Mistake(f"inputs must be {known}, got {given}")
    return True


def _only(specs: Mapping[str, Any]) -> str:
    if len(specs) != 1:
        raise Mistake(f"inputs must be named, as there are several: {', '.join(sorted(specs))}")
    return next(iter(specs))


def _tensor(name: str, value: Any, spec: Any) -> Any:
    """A tensor that the signature takes: of another shape TensorFlow may end the process."""
    found = _constant(name, value, spec)
    if not spec.shape.is_compatible_with(found.shape):
        wanted, got = (str(shape).replace("None", "any") for shape in (spec.shape, found.shape))
        raise Mistake(f"{name} must have the shape {wanted}, got {got}")
    return found


def _constant(name: str, value: Any, spec: Any) -> Any:
    try:
        if spec.dtype == tf.string:
            return tf.constant(_raw(value), tf.string)
        return tf.constant(np.asarray(value, dtype=spec.dtype.as_numpy_dtype))
    except (ValueError, TypeError, OverflowError) as error:
        told = str(error).splitlines()[0][:120]
        raise Mistake(f"{name} must be of type {spec.dtype.name}, got another: {told}") from error


def _raw(value: Any) -> Any:
    """Strings and bytes, in lists as they came."""
    if isinstance(value, list):
        return list(map(_raw, value))
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and value.keys() == {_B64} and isinstance(value[_B64], str):
        try:
            return base64.b64decode(value[_B64], validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"{_B64} that is none") from error
    raise ValueError(type(value).__name__)


def answer(outputs: Mapping[str, Any], *, by_row: bool) -> bytes:
    """What a signature gave, as JSON.

    Raises:
        Mistake: it cannot be told in rows, as its outputs have none of their own.
    """
    columns = {name: _plain(name, tensor.numpy()) for name, tensor in outputs.items()}
    if not by_row:
        told: Any = next(iter(columns.values())) if len(columns) == 1 else columns
        return _dumped({"outputs": told})
    counts = {len(column) if isinstance(column, list) else -1 for column in columns.values()}
    if len(counts) != 1 or counts == {-1}:
        raise Mistake("inputs must be asked instead of instances: the outputs have no rows")
    if len(columns) == 1:
        return _dumped({"predictions": next(iter(columns.values()))})
    rows = zip(*columns.values(), strict=True)
    return _dumped({"predictions": [dict(zip(columns, row, strict=True)) for row in rows]})


def _dumped(value: Any) -> bytes:
    """With NaN and Infinity, which TensorFlow Serving writes, too."""
    return json.dumps(value, ensure_ascii=False).encode()


def _plain(name: str, array: np.ndarray) -> Any:
    if array.dtype != object:
        return array.tolist()
    return _text(array.tolist(), as_bytes=name.endswith(_BYTES))


def _text(value: Any, *, as_bytes: bool) -> Any:
    if isinstance(value, list):
        return [_text(each, as_bytes=as_bytes) for each in value]
    if as_bytes:
        return {_B64: base64.b64encode(value).decode()}
    return value.decode("utf-8", "backslashreplace")
