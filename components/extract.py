"""extract (TFX: Transform): the frozen part of the network, once per example and view."""

from __future__ import annotations

import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from etils import epy
from pydantic import Field

from components.activations import Activations, DType, key_of, network_digest
from components.artifacts import AssembledModel, Examples, Features
from components.augment import AugmentConfig, augmenter
from components.files import read_jsonl, sha256_of_json, write_json, write_jsonl
from components.job import Job, Section, stage
from components.modalities import MODALITIES
from components.networks import cut, first_block, open_backbone
from models.splitting import one_or_all

with epy.lazy_imports():
    import keras
    import tensorflow as tf

    from components import dataset
    from models import folding


class ExtractConfig(Section):
    """The feature pass."""

    dtype: DType = "bfloat16"
    """How activations at the fine-tuning cut are stored; pooled features are always float32."""
    batch_size: int = Field(32, ge=1)
    """Examples a forward pass."""


# The splits that are trained on; test examples go through the exported model instead.
TRAINED_ON = ("train", "validation")
# A killed pass loses at most this much work.
SHARD_SECONDS = 30.0


@stage(version=2)
def extract(
    job: Job,
    model: AssembledModel,
    examples: Examples,
    unfreeze: int | str,
    augment: AugmentConfig,
    config: ExtractConfig,
    *,
    pooled: bool,
    seed: int,
) -> Features:
    """Compute what the store does not have yet; an example's activations are never made twice.

    Args:
        unfreeze: what is to be trained later besides the head (`FineTuneConfig.unfreeze`): one
            pass gives both the activations before that block and the pooled features. With
            `all` there is no frozen part, and the "activations" are the decoded inputs.
        pooled: whether a head is to be trained on the whole network's pooled features.
        seed: of the augmented views.
    """
    network = open_backbone(model, model.weights)
    block = first_block(model, network, unfreeze)
    outputs: dict[str, _Output] = {}
    if pooled:
        outputs["pooled"] = _open_output(job, model, network, None, "float32")
    if block:
        prefix = cut(model, network, block).prefix
        outputs["crossing"] = _open_output(job, model, prefix, block, config.dtype)
    variants = view_names(augment, seed)
    rows = _rows(examples, model.labels)
    augmented = augmenter(augment, seed)
    computed = 0
    for names, wanted in _missing(rows, outputs, variants).items():
        chosen = [outputs[name] for name in names]
        computed += _compute(
            job, model, examples, network, chosen, wanted, variants, augmented, config
        )
    write_jsonl(job.directory / "rows.jsonl", rows)
    shards = {output.store.directory.name: output.store.shards() for output in outputs.values()}
    write_json(job.directory / "shards.json", shards)
    train = len({row["id"] for row in rows if row["split"] == "train"})
    needed = len({row["id"] for row in rows}) + train * (len(variants) - 1)
    return Features(
        directory=job.directory,
        model=model,
        block=block,
        variants=variants,
        keys={name: output.store.directory.name for name, output in outputs.items()},
        store=job.activations,
        counts=dict(Counter(row["split"] for row in rows)),
        stats={
            "block": block or "none",
            "views": len(variants),
            "computed": computed,
            "reused": needed - computed,
            "bytes_a_view": sum(output.store.row_bytes() for output in outputs.values()),
        },
    )


def view_names(augment: AugmentConfig, seed: int) -> tuple[str, ...]:
    """What each view is called in the store; view 0 has nothing to do with policy and seed."""
    policy = sha256_of_json([augment.policies, seed])[:12]
    return ("", *(f"/{policy}-{view}" for view in range(1, augment.views)))


@dataclass(frozen=True)
class _Output:
    """Tensors of the network that are wanted, and the store they go to."""

    tensors: list[Any]
    store: Activations


def _open_output(
    job: Job, model: AssembledModel, network: keras.Model, block: str | None, dtype: DType
) -> _Output:
    meaning = {
        "backbone": model.backbone,
        "weights": network_digest(network),
        "output": f"before {block}" if block else f"{model.pooling} pooled",
        "preprocessing": MODALITIES[model.modality].contract(model),
        "dtype": dtype,
        "version": extract.stage_version,  # type: ignore[attr-defined]
    }
    shapes = [tuple(tensor.shape[1:]) for tensor in network.outputs]
    store = Activations.open(job.activations, key_of(meaning), shapes, dtype, meaning)
    return _Output(list(network.outputs), store)


def _rows(examples: Examples, labels: tuple[str, ...]) -> list[dict[str, Any]]:
    """id, split and class number of every example to train on."""
    number = {label: position for position, label in enumerate(labels)}
    return [
        {"id": row["id"], "split": row["split"], "label": number[row["label"]]}
        for row in read_jsonl(examples.directory / "index.jsonl")
        if row["split"] in TRAINED_ON
    ]


def _missing(
    rows: list[dict[str, Any]], outputs: dict[str, _Output], variants: tuple[str, ...]
) -> dict[tuple[str, ...], dict[str, list[int]]]:
    """Which outputs are to be computed together → example id → its views."""
    indices = {name: output.store.index() for name, output in outputs.items()}
    views = {row["id"]: 1 for row in rows}
    views |= {row["id"]: len(variants) for row in rows if row["split"] == "train"}
    missing: dict[tuple[str, ...], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for identity, count in views.items():
        for view in range(count):
            name = identity + variants[view]
            if absent := tuple(key for key, index in indices.items() if name not in index):
                missing[absent][identity].append(view)
    return missing


def _compute(
    job: Job,
    model: AssembledModel,
    examples: Examples,
    network: keras.Model,
    outputs: list[_Output],
    wanted: dict[str, list[int]],
    variants: tuple[str, ...],
    augmented: Callable[[Any, Any, Any], Any],
    config: ExtractConfig,
) -> int:
    """One pass over the examples in `wanted`; returns the number of rows it made."""
    total = sum(len(views) for views in wanted.values())
    forward = keras.Model(
        one_or_all(network.inputs), [t for output in outputs for t in output.tensors]
    )
    forward = folding.fold(forward)
    forward.compile(jit_compile=False)
    size = min(config.batch_size, total)
    batches = _batches(model, examples, wanted, augmented, size)
    steps = -(-total // size)
    finished = time.monotonic()
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(output.store.writer()) for output in outputs]
        for identities, views, inputs in job.track(batches, steps, "extract"):
            pairs = zip(identities, views, strict=True)
            names = [identity.decode() + variants[view] for identity, view in pairs]
            # Always as many, or the backend would compile everything again for the last batch.
            full = np.concatenate([inputs, inputs[:1].repeat(size - len(inputs), axis=0)])
            tensors = keras.tree.flatten(forward.predict_on_batch(full))
            results = iter([tensor[: len(inputs)] for tensor in tensors])
            for output, writer in zip(outputs, writers, strict=True):
                writer.add(names, [next(results) for _ in output.tensors])
            if time.monotonic() - finished > SHARD_SECONDS or any(w.is_full() for w in writers):
                for writer in writers:  # Together: half of what a row needs is worth nothing.
                    writer.finish()
                finished = time.monotonic()
    return total


def _batches(
    model: AssembledModel,
    examples: Examples,
    wanted: dict[str, list[int]],
    augmented: Callable[[Any, Any, Any], Any],
    batch_size: int,
) -> Iterator[tuple[Any, Any, Any]]:
    """(ids, views, inputs), decoded and augmented while the network is at work."""
    modality = MODALITIES[model.modality]

    def raw() -> Iterator[tuple[bytes, bytes, list[int]]]:
        left = dict(wanted)
        for split in TRAINED_ON:
            if examples.counts[split]:
                for row in dataset.read(examples, split).as_numpy_iterator():
                    if views := left.pop(row["id"].decode(), None):
                        yield row["id"], row[examples.modality], views

    def views_of(identity: Any, data: Any, views: Any) -> Any:
        decoded = modality.decode(model, data)
        if all(numbers == [0] for numbers in wanted.values()):
            return identity[tf.newaxis], views, decoded[tf.newaxis]
        pixels = tf.map_fn(
            lambda view: augmented(decoded, identity, view), views, fn_output_signature=tf.float32
        )
        return tf.repeat(identity, tf.size(views)), views, pixels

    signature = (
        tf.TensorSpec((), tf.string),
        tf.TensorSpec((), tf.string),
        tf.TensorSpec((None,), tf.int32),
    )
    stream = tf.data.Dataset.from_generator(raw, output_signature=signature)
    # There is nothing that autograph would have to convert, and it takes a second.
    views_of = tf.autograph.experimental.do_not_convert(views_of)
    stream = stream.map(views_of, num_parallel_calls=tf.data.AUTOTUNE).unbatch()
    yield from stream.batch(batch_size).prefetch(2).as_numpy_iterator()
