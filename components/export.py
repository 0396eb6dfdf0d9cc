"""export (TFX: Trainer's output + InfraValidator): a SavedModel, proven to say what was trained."""

from __future__ import annotations

import functools
import itertools
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from etils import epy
from pydantic import Field

from components.artifacts import HELD_OUT, Examples, ExportedModel, TrainedModel
from components.files import manifest_of, read_jsonl, write_json, write_jsonl
from components.frozen.networks import open_body
from components.job import Job, stage
from components.modalities.protocols import Modality, Reader
from components.modalities.table import MODALITIES, open_reader
from components.pages import cards
from components.section import Section
from components.served import agreement, golden, sbom
from components.served.manifest import MANIFEST
from components.served.opening import (
    DISTANCE,
    EMBED,
    EMBEDDING,
    KNOWN,
    NEAREST,
    VALID,
    open_signatures,
)
from components.tasks.protocol import Target
from components.tasks.table import slices, task_of
from components.training.heads import open_head
from components.training.reference import reference
from models.version import VERSION

with epy.lazy_imports():
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    from components.examples import dataset
    from models import hardware, inference, novelty, verification


class _Form(NamedTuple):
    """How a model is written, and how the network in memory is asked to compare."""

    folded: bool
    eager: bool


# In the order tried. Folded kernels are rounded, and so are those that TensorFlow fuses in a graph,
# which a network may magnify: then it is compared in a graph, and at last served as it is.
_FORMS = (
    _Form(folded=True, eager=True),
    _Form(folded=True, eager=False),
    _Form(folded=False, eager=False),
)
# Examples that are validated at once, and of how many: they decide a few numbers.
_BATCH, _MOST = 32, 4096


class ExportConfig(Section):
    """The SavedModel."""

    warmup_requests: int = Field(4, ge=0, le=1000)
    """Requests that TensorFlow Serving replays before it takes any, half of them of one example."""
    agreement_examples: int = Field(16, ge=2, le=1024)
    """Validation examples on which the exported model must agree with the one in memory."""
    golden_examples: int = Field(2, ge=0, le=64)
    """Validation examples that travel with the model, as they are, to prove wherever it is loaded
    that it says what it said when it was exported; 0 where examples must not leave."""


class ServeConfig(Section):
    """What is served beside the answers, so that who asks knows how far to rely on them."""

    coverage: float = Field(0.9, ge=0, lt=1)
    """The share of examples whose prediction set (of a number: interval) is to hold the truth, by
    split conformal prediction; 0 for no sets."""
    known: float = Field(0.95, ge=0, lt=1)
    """The share of examples like those of training that are to count as known; what is farther from
    all training examples than they are is not. 0 to serve no distances."""
    false_accepts: float = Field(0.01, gt=0, lt=1)
    """The share of pairs of two classes that `match` may take for the same; of validation
    examples."""
    abstain: bool = False
    """Answer `unknown` (of a number: nothing) to what is not known."""


NOTHING_BESIDE = ServeConfig(coverage=0, known=0)


@stage(version=9)
def export(
    job: Job,
    model: TrainedModel,
    examples: Examples,
    config: ExportConfig,
    serve: ServeConfig = ServeConfig(),
) -> ExportedModel:
    """Write the SavedModel, query it as a client would, and compare with the model in memory.

    Signatures: `serving_default` takes `raw`, (batch,) of raw examples; a second one (pictures:
    `serve_float`, text: `serve_tokens`) takes the network's own inputs. Both give what each
    target's task says that it gives, such as `probabilities` (batch, classes), and `valid`
    (batch,). Where there are several targets, their names and a slash come first. What cannot be
    decoded has `valid` false, and leaves its neighbours as they are. Where features of training
    examples are stored, `distance` (batch,) is that to the nearest of them, `nearest` (batch,) its
    id, and `known` (batch,) whether that is as near as examples of the same kind are; and the
    signature `embed` takes `raw`, too, and gives `embedding` (batch, features), unit vectors, whose
    cosine tells whether two examples are of one kind.

    Raises:
        agreement.Disagreement: the exported model does not agree, alone or in a batch.
    """
    known = reference(job, model, serve.known) if serve.known else None
    _write_reference(job.directory, known)
    for form in _FORMS:
        try:
            targets, difference = _write(job, model, examples, config, serve, known, form)
            break
        except (agreement.Disagreement, golden.Changed):
            if form is _FORMS[-1]:
                raise
            shutil.rmtree(job.directory / "model")
    files = [file for file in (job.directory / "model").rglob("*") if file.is_file()]
    return ExportedModel(
        directory=job.directory,
        modality=model.base.modality,
        targets=targets,
        version=export.stage_version,  # type: ignore[attr-defined]
        trained=model,
        stats={
            "largest_difference": difference,
            "folded": form.folded,
            "bytes": sum(file.stat().st_size for file in files),
        },
    )


def _write(
    job: Job,
    model: TrainedModel,
    examples: Examples,
    config: ExportConfig,
    serve: ServeConfig,
    known: novelty.Reference | None,
    form: _Form,
) -> tuple[tuple[Target, ...], float]:
    """Write the model, and prove it; the targets with what was settled, the largest difference."""
    base = model.base
    job.doing("building the network")
    body = open_body(base, model.backbone_weights, model.form.taps)
    head = open_head(model, features=body.output_shape[-1])
    path = job.directory / "model"
    reader = open_reader(base)
    job.doing("tracing the served graph")
    core = inference.concrete(body, head, reader.inputs, folds=form.folded, constant=form.folded)
    targets = _settled(core, model, reader, examples, serve.coverage)
    _save(core, targets, reader, path, known, abstains=serve.abstain)
    rows = itertools.islice(dataset.rows(examples, "validation"), config.agreement_examples)
    raws = [row.raw for row in rows]
    with hardware.full_precision():
        said = agreement.Known.of(body, head, targets, reader, raws, known, eager=form.eager)
    _write_beside(path, model, targets, examples, config)
    if config.golden_examples:
        golden.write(path, *said.first(config.golden_examples))
    job.doing("checking that it says what the network in memory says")
    manifest = {
        "targets": [target.model_dump() for target in targets],
        "modality": base.modality,
        "likeness": _likeness(known, serve),
        "match": _matching(known, model, serve.false_accepts),
        "files": manifest_of(path),
    }
    write_json(path / MANIFEST, manifest)
    serving = open_signatures(path, base.modality)
    with hardware.full_precision():
        return targets, agreement.check(serving, reader.endpoint, targets, said)


def _write_reference(directory: Path, known: novelty.Reference | None) -> None:
    """Which validation examples are nearly the same as training ones, and where some lie."""
    near = known.near if known else ()
    write_jsonl(
        directory / "near.jsonl",
        ({"id": own, "nearest": other, "distance": apart} for own, other, apart in near),
    )
    places = zip(known.names, known.plane().tolist(), strict=False) if known else ()
    write_jsonl(directory / "map.jsonl", ({"id": own, "x": x, "y": y} for own, (x, y) in places))


def _likeness(known: novelty.Reference | None, serve: ServeConfig) -> dict[str, Any] | None:
    """What the manifest says of distances."""
    if known is None:
        return None
    return {
        "known": serve.known,
        "limit": known.limit,
        "usual": known.usual,
        "same": known.same,
        "examples": len(known.names),
        "abstains": serve.abstain,
    }


def _matching(
    known: novelty.Reference | None, model: TrainedModel, rate: float
) -> dict[str, Any] | None:
    """What the manifest says of `embed`: when two are the same, by examples to validate with.

    None where nothing is embedded, or no target has one label for each example.
    """
    kinds = [task_of(target).activation == "softmax" for target in model.base.targets]
    if known is None or not any(kinds):
        return None
    number, ids = kinds.index(True), known.names[known.fitted :]
    index = read_jsonl(model.features.directory / "rows.jsonl")
    answers = {row["id"]: row["answers"][number] for row in index}
    labels = {label: at for at, label in enumerate(model.base.targets[number].space.labels)}
    numbers = np.array([labels.get(answers.get(own) or "", -1) for own in ids], np.int64)
    found = verification.matching(known.vectors()[known.fitted :], numbers, rate)
    return found.as_json() if found else None


def _write_beside(
    path: Path,
    model: TrainedModel,
    targets: tuple[Target, ...],
    examples: Examples,
    config: ExportConfig,
) -> None:
    """What travels with the model: labels, contract, card, warm-up requests."""
    modality = MODALITIES[model.base.modality]
    (path / "assets").mkdir(exist_ok=True)
    for target in targets:
        for name, content in task_of(target).files(target.space).items():
            (path / "assets" / cards.asset(target, name)).write_text(content)
    extra = path / "assets.extra"
    extra.mkdir()
    write_json(extra / "contract.json", modality.giants.contract(model.base))
    write_json(extra / "sbom.cdx.json", sbom.bill(VERSION))
    told = cards.card(model, targets, examples, cards.label_files(targets))
    (extra / "model_card.md").write_text(told)
    _write_warmup(extra / "tf_serving_warmup_requests", modality, config.warmup_requests)


def _settled(
    network: inference.Concrete,
    model: TrainedModel,
    reader: Reader,
    examples: Examples,
    coverage: float,
) -> tuple[Target, ...]:
    """The targets with what their tasks decide on examples that the model was not fitted to."""
    held_out = model.directory / HELD_OUT
    if held_out.exists():
        rows = list(read_jsonl(held_out))
        answers, outputs = [r["answers"] for r in rows], np.array([r["outputs"] for r in rows])
    else:
        answers, outputs = _validated(network, reader, examples)
    return tuple(
        target.model_copy(
            update={
                "space": task_of(target).settle(
                    target.space, [row[number] for row in answers], outputs[:, columns], coverage
                )
            }
        )
        for number, (target, columns) in enumerate(slices(model.base.targets))
    )


def _validated(
    network: inference.Concrete, reader: Reader, examples: Examples
) -> tuple[list[list[Any]], np.ndarray]:
    """The answers of validation examples, and what the network says of them."""
    outputs: list[np.ndarray] = []
    answers: list[list[Any]] = []
    known = dataset.answers(examples, "validation")
    rows = itertools.islice(dataset.rows(examples, "validation"), _MOST)
    while batch := list(itertools.islice(rows, _BATCH)):
        outputs.append(_outputs(network, reader, [row.raw for row in batch]))
        answers += [known(row) for row in batch]
    return answers, np.concatenate(outputs)


def _outputs(network: inference.Concrete, reader: Reader, raws: list[bytes]) -> np.ndarray:
    inputs = reader.read([""] * len(raws), raws, [0] * len(raws)).inputs
    outputs: np.ndarray = network(*map(tf.constant, inputs))[0].numpy()
    return outputs


def _save(
    core: inference.Concrete,
    targets: tuple[Target, ...],
    reader: Reader,
    path: Path,
    reference: novelty.Reference | None,
    *,
    abstains: bool,
) -> None:
    """The network is traced once, and both signatures call it."""

    search = _traced(reference) if reference else None

    def answer(inputs: list[Any], valid: Any) -> dict[str, Any]:
        outputs, features = core(*inputs)
        alike = _compared(reference, search(features), valid) if reference and search else {}
        unknown = valid & ~alike[KNOWN] if reference and abstains else None
        named = {VALID: valid, **alike}
        for target, columns in slices(targets):
            task = task_of(target)
            own = task.answer(outputs[:, columns], valid, target.space)
            own = own if unknown is None else task.abstain(own, unknown)
            named |= {target.named(name): value for name, value in own.items()}
        return named

    def serve(raw: Any) -> dict[str, Any]:
        return answer(*reader.serve(raw))

    def serve_decoded(*inputs: Any) -> dict[str, Any]:
        return answer(list(inputs), tf.ones(tf.shape(inputs[0])[:1], tf.bool))

    module = tf.Module()
    module.core, module.tracked, module.search = core, reader.tracked, search
    raw_spec = tf.TensorSpec((None,), tf.string, name="raw")
    signatures = {
        "serving_default": tf.function(serve, input_signature=[raw_spec], autograph=False),
        reader.endpoint: tf.function(serve_decoded, input_signature=reader.inputs, autograph=False),
    }
    if reference:
        signatures[EMBED] = tf.function(
            functools.partial(_embedded, reader, core, reference),
            input_signature=[raw_spec],
            autograph=False,
        )
    # Nobody trains what is served: there is no gradient to go with it.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, path, signatures=signatures, options=options)


def _embedded(
    reader: Reader, core: inference.Concrete, reference: novelty.Reference, raw: Any
) -> dict[str, Any]:
    inputs, valid = reader.serve(raw)
    _, features = core(*inputs)
    return {
        EMBEDDING: tf.where(valid[:, tf.newaxis], reference.unit(features), 0.0),
        VALID: valid,
    }


def _traced(reference: novelty.Reference) -> Any:
    """Traced once: both signatures call it, and what it knows is in the model once."""
    spec = tf.TensorSpec((None, reference.rows.shape[1]), tf.float32)
    return tf.function(reference.search, autograph=False).get_concrete_function(spec)


def _compared(reference: novelty.Reference, found: Any, valid: Any) -> dict[str, Any]:
    apart, number = found
    return {
        KNOWN: valid & (apart <= reference.limit),
        DISTANCE: tf.where(valid, apart, 0.0),
        NEAREST: tf.where(valid, tf.gather(tf.constant(reference.names), number), ""),
    }


def _write_warmup(path: Path, modality: Modality, count: int) -> None:
    """TFRecords of PredictionLog; TensorFlow Serving replays them when it loads the model.

    The examples in them are made up: a model travels further than its training data may.
    """
    if not count:
        return
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number in range(count):
            raws = [modality.raw.sample()] * (1 if number % 2 == 0 else 8)
            request = predict_pb2.PredictRequest()
            request.model_spec.signature_name = "serving_default"
            request.inputs["raw"].CopyFrom(tf.make_tensor_proto(raws, tf.string))
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
            writer.write(log.SerializeToString())
