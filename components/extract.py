"""extract (TFX: Transform): the frozen part of the network, once per example and view."""

from __future__ import annotations

import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from etils import epy
from pydantic import ByteSize, Field

from components import budget
from components.activations import Activations, DType, key_of, network_digest, stored_as
from components.artifacts import TRAINED_ON, AssembledModel, Examples, Features
from components.augment import AugmentConfig
from components.files import (
    files_below,
    read_jsonl,
    sha256,
    sha256_of_each,
    sha256_of_json,
    write_json,
    write_jsonl,
)
from components.job import Job, Section, stage
from components.modalities import MODALITIES, Reader, open_reader, policies_of
from components.networks import cut, first_block, open_backbone

with epy.lazy_imports():
    import keras

    from components import dataset, forward


class ExtractConfig(Section):
    """The feature pass."""

    dtype: DType = "bfloat16"
    """How activations at the fine-tuning cut are stored; pooled features are always float32."""
    batch_size: int = Field(32, ge=1)
    """Examples a forward pass."""
    budget: ByteSize | None = None
    """Most that this run's activations may take on disk, such as 500MB; no limit where not given.
    Where they would not fit, the deepest cut is taken that does, or nothing is kept."""


# A killed pass loses at most this much work.
SHARD_SECONDS = 30.0


@stage(version=5, any_backend=True, one_at_a_time=True)
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
    variants = view_names(model, augment, seed)
    reader = open_reader(model, augment, seed)
    length, cut_short = reader.survey(_sample(examples))
    rows = _rows(examples, model.labels)
    views = {row["id"]: 1 for row in rows}
    views |= {row["id"]: len(variants) for row in rows if row["split"] == "train"}
    total = sum(views.values())
    if augment.views == "fresh":
        keep = budget.Keep(block, (), "nothing is kept: views are fresh")
    else:
        keep = budget.what_fits(
            model,
            network,
            block,
            rows=total,
            length=length,
            dtype=config.dtype,
            room=config.budget,
            pooled=pooled,
        )
    outputs = {
        name: _open_output(job, model, network, keep.cut if name == "crossing" else None, config)
        for name in keep.outputs
    }
    computed = 0
    missing = _missing(views, outputs, variants)
    budget.require_room(job.activations, _bytes_of(missing, outputs, length))
    feature_pass = _Pass(job, reader, network, examples, variants, config.batch_size)
    for names, wanted in missing.items():
        computed += feature_pass.compute([outputs[name] for name in names], wanted)
    write_jsonl(job.directory / "rows.jsonl", rows)
    shards = {output.store.directory.name: output.store.shards() for output in outputs.values()}
    write_json(job.directory / "shards.json", shards)
    return Features(
        directory=job.directory,
        model=model,
        examples=examples,
        block=block,
        cut=keep.cut,
        augment=augment,
        variants=variants,
        seed=seed,
        batch_size=config.batch_size,
        keys={name: output.store.directory.name for name, output in outputs.items()},
        store=job.activations,
        counts=dict(Counter(row["split"] for row in rows)),
        stats={
            "block": block or "none",
            "kept": keep.why,
            "views": augment.views,
            "cut_short": round(cut_short, 4),
            "computed": computed,
            "reused": total - computed if outputs else 0,
            "bytes": total * sum(output.store.row_bytes(length) for output in outputs.values()),
        },
    )


def _bytes_of(
    missing: dict[tuple[str, ...], dict[str, list[int]]], outputs: dict[str, _Output], length: int
) -> int:
    """What computing all that is missing will write."""
    return sum(
        sum(map(len, wanted.values()))
        * sum(outputs[name].store.row_bytes(length) for name in names)
        for names, wanted in missing.items()
    )


def view_names(model: AssembledModel, augment: AugmentConfig, seed: int) -> tuple[str, ...]:
    """What each view is called in the store; view 0 has nothing to do with policy and seed."""
    policies = policies_of(model.modality, augment)
    kept = 1 if augment.views == "fresh" else int(augment.views)
    learned = MODALITIES[model.modality].learned & {*policies}
    giant = sha256(model.weights) if learned and kept > 1 else ""
    policy = sha256_of_json([policies, augment.rate, augment.translator, seed, giant])[:12]
    return ("", *(f"/{policy}-{view}" for view in range(1, kept)))


@dataclass(frozen=True)
class _Output:
    """Tensors of the network that are wanted, and the store they go to."""

    tensors: list[Any]
    store: Activations


def _open_output(
    job: Job,
    model: AssembledModel,
    network: keras.Model,
    block: str | None,
    config: ExtractConfig,
) -> _Output:
    """The pooled features where `block` is None, else the activations before it."""
    wanted = cut(model, network, block).prefix if block else network
    dtype: DType = config.dtype if block else "float32"
    meaning = {
        "backbone": model.backbone,
        "weights": network_digest(wanted),
        "preset": sha256_of_each(files_below(model.directory / "preset")),
        "output": f"before {block}" if block else f"{model.pooling} pooled",
        "preprocessing": MODALITIES[model.modality].contract(model),
        "dtype": dtype,
        "version": extract.stage_version,  # type: ignore[attr-defined]
    }
    store = Activations.open(job.activations, key_of(meaning), stored_as(wanted, dtype), meaning)
    return _Output(list(wanted.outputs), store)


def _rows(examples: Examples, labels: tuple[str, ...]) -> list[dict[str, Any]]:
    """id, split and class number of every example to train on."""
    number = {label: position for position, label in enumerate(labels)}
    return [
        {"id": row["id"], "split": row["split"], "label": number[row["label"]]}
        for row in read_jsonl(examples.directory / "index.jsonl")
        if row["split"] in TRAINED_ON
    ]


def _missing(
    views: dict[str, int], outputs: dict[str, _Output], variants: tuple[str, ...]
) -> dict[tuple[str, ...], dict[str, list[int]]]:
    """Which outputs are to be computed together → example id → its views."""
    indices = {name: output.store.index() for name, output in outputs.items()}
    missing: dict[tuple[str, ...], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for identity, count in views.items():
        for view in range(count):
            name = identity + variants[view]
            if absent := tuple(key for key, index in indices.items() if name not in index):
                missing[absent][identity].append(view)
    return missing


# So many examples say how long they all are.
SAMPLE = 1000


def _sample(examples: Examples) -> Iterator[bytes]:
    for row in dataset.read(examples, "train").take(SAMPLE).as_numpy_iterator():
        yield row[examples.modality]


@dataclass(frozen=True)
class _Pass:
    """What all passes of a run have in common."""

    job: Job
    reader: Reader
    network: keras.Model
    examples: Examples
    variants: tuple[str, ...]
    batch_size: int

    def compute(self, outputs: list[_Output], wanted: dict[str, list[int]]) -> int:
        """One pass over the examples in `wanted`; returns the number of rows it made."""
        total = sum(len(views) for views in wanted.values())
        size = min(self.batch_size, total)
        tensors = [tensor for output in outputs for tensor in output.tensors]
        run = forward.Forward(self.network, tensors, size)
        batches = self.reader.batches(
            lambda: self._raw(wanted),
            size,
            augmented=any(views != [0] for views in wanted.values()),
        )
        finished, done = time.monotonic(), 0
        with contextlib.ExitStack() as stack:
            writers = [stack.enter_context(output.store.writer()) for output in outputs]
            for batch in batches:
                pairs = zip(batch.ids, batch.views, strict=True)
                names = [identity.decode() + self.variants[view] for identity, view in pairs]
                results = iter(run(batch.inputs))
                for output, writer in zip(outputs, writers, strict=True):
                    writer.add(names, [next(results) for _ in output.tensors], batch.lengths)
                done += len(names)
                self.job.progress("extract", done, total)
                if time.monotonic() - finished > SHARD_SECONDS or any(w.is_full() for w in writers):
                    for writer in writers:  # Together: half of what a row needs is worth nothing.
                        writer.finish()
                    finished = time.monotonic()
        return total

    def _raw(self, wanted: dict[str, list[int]]) -> Iterator[tuple[bytes, bytes, list[int]]]:
        """(id, raw form, views) of every example in `wanted`."""
        left = dict(wanted)
        for split in TRAINED_ON:
            if self.examples.counts[split]:
                for row in dataset.read(self.examples, split).as_numpy_iterator():
                    if views := left.pop(row["id"].decode(), None):
                        yield row["id"], row[self.examples.modality], views
