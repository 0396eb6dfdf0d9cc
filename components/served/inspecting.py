"""What a SavedModel would do, found out before TensorFlow is given it.

A SavedModel is a program: an initializer or a signature may write files (see TensorFlow's "Using
TensorFlow Securely"). A list of what is forbidden is never complete, so this is one of what is
allowed: see `ops`. It is looked at in the graph and in every function of its library, used or not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from etils import epy

from components.files import read_regular
from components.served.ops import ALLOWED, RESTORING, SAVING
from models.mistakes import Mistake

with epy.lazy_imports():
    from google.protobuf import message
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow.python.framework import op_def_registry

PROGRAM = "saved_model.pb"


class Forbidden(Mistake):
    """A model would do more than to compute."""


def inspect(path: Path) -> bytes:
    """Look through the program of the model in `path`, which is not loaded for it.

    Returns:
        The program. Whoever loads it loads this: what is in `path` may be another one by then.

    Raises:
        Forbidden: it has an operation that is not allowed, or files that it must not have.
    """
    # TensorFlow prefers other forms of the same to the one that is looked at.
    others = sorted(p.name for p in path.glob("saved_model.*") if p.name != PROGRAM)
    if others:
        raise Forbidden(f"{path} must have its program in {PROGRAM} alone, got {others[0]}, too")
    try:
        program = read_regular(path / PROGRAM)
        saved = saved_model_pb2.SavedModel.FromString(program)
    except (OSError, message.DecodeError) as error:
        raise Forbidden(f"{path} must have a {PROGRAM} that can be read: {error}") from error
    if len(saved.meta_graphs) != 1:
        raise Forbidden(f"{path} must have one program, got {len(saved.meta_graphs)}")
    for graph in saved.meta_graphs:
        if not graph.object_graph_def.nodes:
            raise Forbidden(f"{path} must have the form of TensorFlow 2, got that of TensorFlow 1")
        for operation, where in _forbidden(graph):
            raise Forbidden(
                f"{path} must only compute, got the operation {operation!r} in {where}: a model "
                f"with it is not loaded"
            )
        for asset in graph.asset_file_def:
            name = PurePosixPath(asset.filename)
            if name.is_absolute() or ".." in name.parts:
                raise Forbidden(f"{path} must have its assets in it, got {asset.filename!r}")
    return program


def _forbidden(graph: Any) -> Iterator[tuple[str, str]]:
    """What is not allowed, and where it is."""
    library = {f.signature.name: list(f.node_def) for f in graph.graph_def.library.function}
    calls = {name: _called(nodes, library) for name, nodes in library.items()}
    saving, restoring, served = _parted(graph)
    # What a signature or an object's function reaches computes, whatever else reaches it.
    begins = {*_called(served, library), *_of_objects(graph.object_graph_def)}
    begins.update(graph.meta_info_def.function_aliases)
    computing = _reached(begins, calls)
    restores = _reached(_called(restoring, library), calls) - computing
    saves = _reached(_called(saving, library), calls) - computing - restores

    yield from _not_in(ALLOWED, graph.graph_def.node, library, "its graph")
    for name, nodes in library.items():
        if op_def_registry.get(name) is not None:
            yield name, "its functions, under the name of an operation"
        allowed = ALLOWED
        if name in restores:
            allowed = ALLOWED | RESTORING
        elif name in saves:
            allowed = ALLOWED | SAVING
        yield from _not_in(allowed, nodes, library, f"its function {name!r}")


def _parted(graph: Any) -> tuple[list[Any], list[Any], list[Any]]:
    """The nodes that TensorFlow's saver saves by, those that it restores by, and all others.

    Its nodes are its own where nothing else names them: no signature, no initializer, no node.
    """
    save = graph.saver_def.save_tensor_name.partition(":")[0]
    restore = graph.saver_def.restore_op_name.partition(":")[0]
    named = {name for each in graph.collection_def.values() for name in each.node_list.value}
    for signature in graph.signature_def.values():
        for info in (*signature.inputs.values(), *signature.outputs.values()):
            named.update(_tensors(info))
    named |= {name for node in graph.graph_def.node for name in node.input}
    named = {name.removeprefix("^").partition(":")[0] for name in named}
    saving, restoring, served = [], [], []
    for node in graph.graph_def.node:
        if node.name == save != restore and save not in named:
            saving.append(node)
        elif node.name == restore and restore not in named:
            restoring.append(node)
        else:
            served.append(node)
    return saving, restoring, served


def _not_in(
    allowed: Collection[str], nodes: Iterable[Any], library: Collection[str], where: str
) -> Iterator[tuple[str, str]]:
    for node in nodes:
        # A function that is not in the library is an operation.
        for name in (node.op, *filter(None, _functions(node.attr))):
            if name not in allowed and name not in library:
                yield name, where


def _tensors(info: Any) -> Iterator[str]:
    """The names of all tensors that one of a signature is made of."""
    sparse = info.coo_sparse
    yield from (info.name, sparse.values_tensor_name, sparse.indices_tensor_name)
    yield sparse.dense_shape_tensor_name
    for component in info.composite_tensor.components:
        yield from _tensors(component)


def _of_objects(objects: Any) -> Iterator[str]:
    """The functions that objects have."""
    yield from objects.concrete_functions
    for node in objects.nodes:
        yield node.bare_concrete_function.concrete_function_name
        yield node.captured_tensor.concrete_function
        yield from node.function.concrete_functions


def _called(nodes: Iterable[Any], library: Collection[str]) -> set[str]:
    """The functions of the library that nodes name, as what they are or in an attribute."""
    found = {node.op for node in nodes}
    for node in nodes:
        found.update(_functions(node.attr))
    return found & set(library)


def _functions(attributes: Any) -> Iterator[str]:
    for value in attributes.values():
        kind = value.WhichOneof("value")
        if kind == "func":
            yield value.func.name
            yield from _functions(value.func.attr)
        elif kind == "list":
            for each in value.list.func:
                yield each.name
                yield from _functions(each.attr)


def _reached(begins: Iterable[str], calls: dict[str, set[str]]) -> set[str]:
    """Functions, and those that they call, and so on."""
    found: set[str] = set()
    left = [name for name in begins if name in calls]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left.extend(calls[name] - found)
    return found
