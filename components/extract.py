"""extract (TFX: Transform): the frozen part of the network, once per example and view."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, Literal

from etils import epy
from pydantic import ByteSize, Field

from components.artifacts import (
    TRAINED_ON,
    AssembledModel,
    Examples,
    Features,
    TrainedModel,
)
from components.disk import require_room
from components.files import read_jsonl, sha256, sha256_of_json, write_json, write_jsonl
from components.frozen import budget
from components.frozen.activations import Activations, DType
from components.frozen.feature_pass import FeaturePass, Output
from components.frozen.networks import first_block, open_frozen, taps_of
from components.job import Job, stage
from components.modalities.protocols import Rows
from components.modalities.table import MODALITIES, open_reader
from components.section import Section, UnhashedBool, Views
from components.tasks.table import task_of
from models import strata
from models.mistakes import Mistake

with epy.lazy_imports():
    import keras

    from components.examples import dataset
    from components.on_beam import extract as extract_on_beam
    from models import taps

Vectors = Literal["last", "taps", "none"]


class ExtractConfig(Section):
    """The feature pass."""

    dtype: DType = "bfloat16"
    """How activations at the fine-tuning cut are stored; pooled features are always float32."""
    batch_size: int = Field(32, ge=1)
    """Examples a forward pass."""
    engines: UnhashedBool = True
    """Measure in a long pass whether another engine that is installed (`pip install '.[openvino]'`)
    is faster here and says the same to rounding. What is stored already stays, whatever made it."""
    budget: ByteSize | None = None
    """Most that this run's activations may take on disk, such as 500MB; no limit where not given.
    Where they would not fit, the deepest cut is taken that does, or nothing is kept."""


@stage(version=9, any_backend=True, one_at_a_time=True)
def extract(
    job: Job,
    model: AssembledModel,
    examples: Examples,
    unfreeze: int | str,
    views: Views,
    config: ExtractConfig,
    *,
    vectors: Vectors,
    seed: int,
    most: int = 0,
    after: TrainedModel | None = None,
) -> Features:
    """Compute what the store does not have yet; an example's activations are never made twice.

    Args:
        unfreeze: what is to be trained later besides the head (`FineTuneConfig.unfreeze`): one
            pass gives both the activations before that block and what a head reads. With
            `all` there is no frozen part, and the "activations" are the decoded inputs.
        vectors: what a head is to be trained on: the whole network's pooled features, the taps
            of all its blocks, or nothing yet.
        seed: of the augmented views.
        most: so many examples, with all answers in proportion; 0 for all of them.
        after: a model that may be settled, after which nothing is computed.
    """
    if after and after.settled:
        return _nothing(job, model, examples, views, config, seed)
    job.doing("building the network")
    network = open_frozen(model, model.weights)
    block = first_block(model, network, unfreeze)
    variants = view_names(model, views, seed)
    survey = open_reader(model, views, seed).survey(_sample(examples))
    rows = _rows(examples, most)
    counts = {row["id"]: len(variants) if row["split"] == "train" else 1 for row in rows}
    total = sum(counts.values())
    keep = budget.Keep(block, (), "nothing is kept: views are fresh")
    if views.views != "fresh":
        keep = budget.what_fits(
            model,
            network,
            block,
            rows=total,
            length=survey.length,
            dtype=config.dtype,
            room=config.budget,
            vectors=_vectors(model, network, vectors),
        )
    _check_taps(vectors, keep, views)
    feature_pass = FeaturePass(
        model=model,
        cuts={name: keep.cut if name == "at_cut" else None for name in keep.outputs},
        views=views,
        seed=seed,
        variants=variants,
        dtype=config.dtype,
        batch_size=config.batch_size,
        engines=config.engines,
        root=job.activations,
    )
    computed = _compute(job, feature_pass, examples, counts, survey.length)
    job.doing("writing what is where")
    stores = {name: output.store for name, output in feature_pass.outputs.items()}
    write_jsonl(job.directory / "rows.jsonl", rows)
    shards = {store.directory.name: store.shards() for store in stores.values()}
    write_json(job.directory / "shards.json", shards)
    return Features(
        directory=job.directory,
        model=model,
        examples=examples,
        block=block,
        cut=keep.cut,
        views=views,
        variants=variants,
        seed=seed,
        batch_size=config.batch_size,
        taps={tap.name: tap.width for tap in feature_pass.taps} if "taps" in stores else {},
        keys={name: store.directory.name for name, store in stores.items()},
        store=job.activations,
        counts=dict(Counter(row["split"] for row in rows)),
        stats={
            "block": block or "none",
            "kept": keep.why,
            "views": views.views,
            "cut_short": round(survey.cut_short, 4),
            "note": survey.note,
            "computed": computed,
            "reused": total - computed if stores else 0,
            **({"engine": feature_pass.engine} if feature_pass.engine else {}),
            **_pace(job, feature_pass, stores),
            "bytes": total * sum(store.row_bytes(survey.length) for store in stores.values()),
        },
    )


def _nothing(
    job: Job,
    model: AssembledModel,
    examples: Examples,
    views: Views,
    config: ExtractConfig,
    seed: int,
) -> Features:
    """Nothing is stored, nor to be trained."""
    write_jsonl(job.directory / "rows.jsonl", [])
    write_json(job.directory / "shards.json", {})
    return Features(
        directory=job.directory,
        model=model,
        examples=examples,
        block=None,
        cut=None,
        views=views,
        variants=("",),
        seed=seed,
        batch_size=config.batch_size,
        keys={},
        store=job.activations,
        counts={},
        stats={"skipped": True},
    )


def _pace(job: Job, feature_pass: FeaturePass, stores: dict[str, Activations]) -> dict[str, float]:
    """Milliseconds that a view took on this machine, now or when they were computed."""
    if feature_pass.pace:
        return {"milliseconds": round(1000 * feature_pass.pace, 3)}
    keys = {name: store.directory.name for name, store in stores.items()}
    for earlier in job.earlier():
        if isinstance(earlier, Features) and earlier.keys == keys:
            known = earlier.stats.get("milliseconds")
            return {"milliseconds": known} if known else {}
    return {}


def _vectors(
    model: AssembledModel, network: keras.Model, vectors: Vectors
) -> dict[str, keras.Model]:
    """The output for a head → the network that gives it."""
    if vectors == "taps":
        return {"taps": taps.tapped(network, taps_of(model, network))}
    return {"pooled": network} if vectors == "last" else {}


def _check_taps(vectors: Vectors, keep: budget.Keep, views: Views) -> None:
    """A `Mistake` where a head is to read taps that are not kept: it reads them again and again."""
    if vectors == "taps" and "taps" not in keep.outputs and views.views != "fresh":
        raise Mistake(
            f"extract.budget must leave room for the taps of all examples, got one in which "
            f"{keep.why}: say --head.features last"
        )


def _compute(
    job: Job, feature_pass: FeaturePass, examples: Examples, counts: dict[str, int], length: int
) -> int:
    """Compute what is missing; returns how many activations of each output that was.

    Args:
        counts: example id → how many of its views are wanted.
        length: of a row in what is ragged, on average.
    """
    job.doing("looking for what is stored already")
    outputs = feature_pass.outputs
    missing = _missing(counts, outputs, feature_pass.variants)
    needed = _bytes_of(missing, outputs, length)
    require_room(job.activations, needed, "activations, see --extract.budget")
    computed = 0
    for names, wanted in missing.items():
        if job.beam.runner:
            computed += extract_on_beam.compute(job, feature_pass, examples, names, wanted)
        else:
            computed += feature_pass.compute(names, wanted, _raw(examples, wanted), job.progress)
    return computed


def _bytes_of(
    missing: dict[tuple[str, ...], dict[str, list[int]]], outputs: dict[str, Output], length: int
) -> int:
    """What computing all that is missing will write."""
    return sum(
        sum(map(len, wanted.values()))
        * sum(outputs[name].store.row_bytes(length) for name in names)
        for names, wanted in missing.items()
    )


def view_names(model: AssembledModel, views: Views, seed: int) -> tuple[str, ...]:
    """What each view is called in the store; view 0 has nothing to do with policy and seed."""
    kept = 1 if views.views == "fresh" else int(views.views)
    dependent = MODALITIES[model.modality].model_dependent & {*views.policies}
    giant = sha256(model.weights) if dependent and kept > 1 else ""
    policy = sha256_of_json([views.policies, views.options, seed, giant])[:12]
    return ("", *(f"/{policy}-{view}" for view in range(1, kept)))


def _rows(examples: Examples, most: int) -> list[dict[str, Any]]:
    """id, split and answers of every example to train on; of so many, where that is not 0."""
    rows = [
        {name: row[name] for name in ("id", "split", "answers")}
        for row in read_jsonl(examples.directory / "index.jsonl")
        if row["split"] in TRAINED_ON
    ]
    if not 0 < most < len(rows):
        return rows
    targets = [
        task_of(target).targets([row["answers"][number] for row in rows], target.space)
        for number, target in enumerate(examples.targets)
    ]
    return [rows[at] for at in strata.some(targets, most)]


def _missing(
    views: dict[str, int], outputs: dict[str, Output], variants: tuple[str, ...]
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
    for row in itertools.islice(dataset.rows(examples, "train"), SAMPLE):
        yield row.raw


def _raw(examples: Examples, wanted: dict[str, list[int]]) -> Rows:
    """(id, raw form, views) of every example in `wanted`."""

    def rows() -> Iterator[tuple[bytes, bytes, list[int]]]:
        for split in TRAINED_ON:
            for row in dataset.rows(examples, split, wanted):
                yield row.id.encode(), row.raw, wanted[row.id]

    return rows
