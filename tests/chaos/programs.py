"""SavedModels that do more than to compute, each with a manifest that fits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from components.files import MANIFEST, manifest_of, write_json

# Says where the file is that each of them would write: it must never be there.
Evil = Callable[[tf.Tensor, str], tf.Tensor]


def _write(_: tf.Tensor, to: str) -> tf.Tensor:
    tf.io.write_file(to, "written")
    return tf.constant(True)


def _in_a_loop(raw: tf.Tensor, to: str) -> tf.Tensor:
    def body(number: tf.Tensor) -> tuple[tf.Tensor]:
        tf.io.write_file(to, "written")
        return (number + 1,)

    tf.while_loop(lambda number: number < tf.size(raw), body, [0])
    return tf.constant(True)


def _in_a_branch(raw: tf.Tensor, to: str) -> tf.Tensor:
    return tf.cond(tf.size(raw) > 0, lambda: _write(raw, to), lambda: tf.constant(True))


def _in_a_data_set(raw: tf.Tensor, to: str) -> tf.Tensor:
    rows = tf.data.Dataset.from_tensor_slices(raw).map(lambda each: _write(each, to))
    return rows.batch(8).get_single_element()


def _in_a_graph_as_data(_: tf.Tensor, to: str) -> tf.Tensor:
    with tf.init_scope():
        rows = tf.data.Dataset.from_tensor_slices([0]).map(lambda row: _write(row, to))
        graph = rows._as_serialized_graph().numpy()
    made = tf.raw_ops.DatasetFromGraph(graph_def=graph)
    types, shapes = [tf.bool], [tf.TensorShape([])]
    got = tf.raw_ops.DatasetToSingleElement(dataset=made, output_types=types, output_shapes=shapes)
    return got[0]


def _by_python(raw: tf.Tensor, to: str) -> tf.Tensor:
    return tf.py_function(lambda _: bool(Path(to).write_text("written")), [raw], tf.bool)


def _by_numpy(raw: tf.Tensor, to: str) -> tf.Tensor:
    return tf.numpy_function(lambda _: bool(Path(to).write_text("written")), [raw], tf.bool)


def _by_print(_: tf.Tensor, to: str) -> tf.Tensor:
    tf.print("written", output_stream=f"file://{to}")
    return tf.constant(True)


def _by_summary(_: tf.Tensor, to: str) -> tf.Tensor:
    writer = tf.raw_ops.SummaryWriter(shared_name="w", container="")
    tf.raw_ops.CreateSummaryFileWriter(
        writer=writer, logdir=to, max_queue=1, flush_millis=1, filename_suffix=""
    )
    return tf.constant(True)


def _by_saver(_: tf.Tensor, to: str) -> tf.Tensor:
    tf.raw_ops.SaveV2(prefix=to, tensor_names=["a"], shape_and_slices=[""], tensors=[1.0])
    return tf.constant(True)


def _by_debugger(_: tf.Tensor, to: str) -> tf.Tensor:
    known = tf.raw_ops.DebugIdentityV3(input=[True], debug_urls=[f"file://{to}"])
    return known[0]


def _of_a_saved_data_set(_: tf.Tensor, to: str) -> tf.Tensor:
    shard = tf.function(lambda row: tf.constant(0, tf.int64)).get_concrete_function(
        tf.TensorSpec([], tf.int32)
    )
    rows = tf.data.Dataset.from_tensor_slices([0, 1])
    tf.raw_ops.SaveDatasetV2(
        input_dataset=rows._variant_tensor,
        path=to,
        shard_func_other_args=[],
        shard_func=shard,
        output_types=[tf.int32],
        output_shapes=[[]],
    )
    return tf.constant(True)


def _reads(_: tf.Tensor, to: str) -> tf.Tensor:
    del to
    return tf.strings.length(tf.io.read_file("/etc/passwd")) > 0


def _lists(_: tf.Tensor, to: str) -> tf.Tensor:
    del to
    return tf.size(tf.io.matching_files("/etc/*")) > 0


def _maps_memory(_: tf.Tensor, to: str) -> tf.Tensor:
    del to
    got = tf.raw_ops.ImmutableConst(dtype=tf.uint8, shape=[4], memory_region_name="/etc/passwd")
    return tf.size(got) > 0


# What a signature does, by the operation that it is refused for.
IN_A_SIGNATURE: list[tuple[str, Evil]] = [
    ("WriteFile", _write),
    ("WriteFile", _in_a_loop),
    ("WriteFile", _in_a_branch),
    ("WriteFile", _in_a_data_set),
    ("DatasetFromGraph", _in_a_graph_as_data),
    ("EagerPyFunc", _by_python),
    ("PyFunc", _by_numpy),
    ("PrintV2", _by_print),
    ("SummaryWriter", _by_summary),
    ("SaveV2", _by_saver),
    ("DebugIdentityV3", _by_debugger),
    ("SaveDatasetV2", _of_a_saved_data_set),
    ("ReadFile", _reads),
    ("MatchingFiles", _lists),
    ("ImmutableConst", _maps_memory),
]


def _traced(serve: Any) -> Any:
    return tf.function(serve, input_signature=[tf.TensorSpec([None], tf.string, "raw")])


def model(directory: Path, does: Evil | None = None, to: str = "") -> Path:
    """A model with one signature, `serving_default`, that does it; or that only computes."""
    module = tf.Module()

    def serve(raw: tf.Tensor) -> dict[str, tf.Tensor]:
        said = does(raw, to) if does else tf.constant(True)
        return {"valid": tf.logical_and(tf.strings.length(raw) >= 0, tf.reduce_all(said))}

    tf.saved_model.save(module, directory, signatures={"serving_default": _traced(serve)})
    return signed_off(directory)


_SAID = {"modality": "image", "labels": ["a", "b"]}


def signed_off(directory: Path, **facts: Any) -> Path:
    """With a manifest that fits it, as whoever can write the model can write one."""
    (directory / MANIFEST).unlink(missing_ok=True)
    files = manifest_of(directory)
    write_json(directory / MANIFEST, _SAID | {"files": files} | facts)
    return directory


def with_an_initializer(directory: Path, to: str) -> Path:
    """One that writes a file when it is loaded, before anything is asked."""

    class Resource(tf.saved_model.experimental.TrackableResource):
        def _create_resource(self) -> Any:
            return tf.raw_ops.MutableHashTableV2(key_dtype=tf.string, value_dtype=tf.int64)

        def _initialize(self) -> None:
            tf.io.write_file(to, "written")

    module = tf.Module()
    module.resource = Resource()
    module.serve = _traced(lambda raw: {"valid": tf.strings.length(raw) >= 0})
    tf.saved_model.save(module, directory, signatures={"serving_default": module.serve})
    return signed_off(directory)


def with_a_vocabulary(directory: Path, read: Path) -> Path:
    """One whose table is initialized from a file, which may be any."""
    module = tf.Module()
    initializer = tf.lookup.TextFileInitializer(
        *(str(read), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE),
        *(tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER),
    )
    module.table = tf.lookup.StaticHashTable(initializer, -1)
    module.serve = _traced(lambda raw: {"valid": module.table.lookup(raw) >= 0})
    tf.saved_model.save(module, directory, signatures={"serving_default": module.serve})
    return signed_off(directory)


def edited(directory: Path, change: Callable[[Any], None]) -> Path:
    """A model whose program was changed by hand."""
    path = directory / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    change(saved.meta_graphs[0])
    path.write_bytes(saved.SerializeToString())
    return signed_off(directory)
