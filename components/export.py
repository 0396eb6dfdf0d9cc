"""export (TFX: Trainer's output + InfraValidator): a SavedModel, proven to say what was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from etils import epy
from pydantic import Field

from components.artifacts import AssembledModel, Examples, ExportedModel, TrainedModel
from components.files import manifest_of, write_json
from components.frozen.networks import open_classifier
from components.job import Job, stage
from components.modalities.protocols import Modality, Reader
from components.modalities.table import MODALITIES, open_reader
from components.section import Section
from components.served.manifest import MANIFEST
from models.splitting import one_or_all

with epy.lazy_imports():
    import keras
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    from components.examples import dataset

# What the exported model may differ by from the one in memory, in probability.
TOLERANCE = 1e-5
# Neither a picture nor UTF-8.
NO_EXAMPLE = b"\xff not an example"


class ExportConfig(Section):
    """The SavedModel."""

    warmup_requests: int = Field(4, ge=0, le=1000)
    """Requests that TensorFlow Serving replays before it takes any, half of them of one example."""
    agreement_examples: int = Field(16, ge=2, le=1024)
    """Validation examples on which the exported model must agree with the one in memory."""


@stage(version=3)
def export(
    job: Job, model: TrainedModel, examples: Examples, config: ExportConfig
) -> ExportedModel:
    """Write the SavedModel, query it as a client would, and compare with the model in memory.

    Signatures: `serving_default` takes `raw`, (batch,) of raw examples; a second one (pictures:
    `serve_float`, text: `serve_tokens`) takes the network's own inputs. Both give
    `probabilities` (batch, classes), `labels` (batch,), the most probable class, and `valid`
    (batch,). What cannot be decoded has `valid` false, probabilities 0 and an empty label, and
    leaves its neighbours as they are.

    Raises:
        RuntimeError: the exported model does not agree, alone or in a batch.
    """
    base, modality = model.base, MODALITIES[model.base.modality]
    classifier = open_classifier(model)
    path = job.directory / "model"
    reader = open_reader(base)
    _save(classifier, base, reader, path)
    (path / "assets").mkdir(exist_ok=True)
    (path / "assets" / "labels.txt").write_text("".join(f"{label}\n" for label in base.labels))
    extra = path / "assets.extra"
    extra.mkdir()
    write_json(extra / "contract.json", modality.contract(base))
    (extra / "model_card.md").write_text(_card(model, examples, modality))
    _write_warmup(extra / "tf_serving_warmup_requests", modality, config.warmup_requests)
    difference = _check_agreement(path, classifier, reader, examples, config.agreement_examples)
    write_json(
        path / MANIFEST,
        {"labels": base.labels, "modality": base.modality, "files": manifest_of(path)},
    )
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return ExportedModel(
        directory=job.directory,
        modality=base.modality,
        labels=base.labels,
        version=export.stage_version,  # type: ignore[attr-defined]
        trained=model,
        stats={"largest_difference": difference, "bytes": size},
    )


def _save(classifier: keras.Model, base: AssembledModel, reader: Reader, path: Path) -> None:
    labels = tf.constant(base.labels)

    def answer(inputs: list[Any], valid: Any) -> dict[str, Any]:
        probabilities = classifier(one_or_all(inputs), training=False)
        named = tf.gather(labels, tf.argmax(probabilities, axis=-1))
        return {
            "probabilities": tf.where(valid[:, tf.newaxis], probabilities, 0.0),
            "labels": tf.where(valid, named, ""),
            "valid": valid,
        }

    def serve(raw: Any) -> dict[str, Any]:
        return answer(*reader.serve(raw))

    def serve_decoded(*inputs: Any) -> dict[str, Any]:
        return answer(list(inputs), tf.ones(tf.shape(inputs[0])[:1], tf.bool))

    archive = keras.export.ExportArchive()
    for resource in (classifier, *reader.tracked):
        archive.track(resource)
    raw_spec = tf.TensorSpec((None,), tf.string, name="raw")
    archive.add_endpoint("serving_default", serve, input_signature=[raw_spec])
    archive.add_endpoint(reader.endpoint, serve_decoded, input_signature=reader.inputs)
    archive.write_out(path, verbose=False)


def _check_agreement(
    path: Path, classifier: keras.Model, reader: Reader, examples: Examples, count: int
) -> float:
    """The largest difference in probability: in a batch, alone, and beside a bad one."""
    rows = dataset.read(examples, "validation").take(count).as_numpy_iterator()
    raws = [row[examples.modality] for row in rows]
    inputs = reader.read([""] * len(raws), raws, [0] * len(raws)).inputs
    classifier.compile(jit_compile=False)
    expected = classifier.predict_on_batch(one_or_all(inputs))
    serving = tf.saved_model.load(path).signatures
    named = {spec.name: tf.constant(x) for spec, x in zip(reader.inputs, inputs, strict=True)}
    answers = {
        reader.endpoint: serving[reader.endpoint](**named)["probabilities"],
        "a batch": serving["serving_default"](raw=tf.constant(raws))["probabilities"],
        "one at a time": tf.concat(
            [serving["serving_default"](raw=tf.constant([raw]))["probabilities"] for raw in raws], 0
        ),
    }
    broken = serving["serving_default"](raw=tf.constant([raws[0], NO_EXAMPLE, *raws[1:]]))
    if broken["valid"].numpy().tolist() != [True, False, *[True] * (len(raws) - 1)]:
        raise RuntimeError(f"the exported model must mark what is bad, got {broken['valid']}")
    answers["beside a bad one"] = np.delete(broken["probabilities"].numpy(), 1, axis=0)
    worst = 0.0
    for how, got in answers.items():
        difference = float(np.max(np.abs(np.asarray(got) - expected)))
        if not difference <= TOLERANCE:
            raise RuntimeError(
                f"the exported model must agree with the one in memory to {TOLERANCE}, got a "
                f"difference of {difference:.2g} by {how}"
            )
        worst = max(worst, difference)
    return worst


def _write_warmup(path: Path, modality: Modality, count: int) -> None:
    """TFRecords of PredictionLog; TensorFlow Serving replays them when it loads the model.

    The examples in them are made up: a model travels further than its training data may.
    """
    if not count:
        return
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number in range(count):
            raws = [modality.sample()] * (1 if number % 2 == 0 else 8)
            request = predict_pb2.PredictRequest()
            request.model_spec.signature_name = "serving_default"
            request.inputs["raw"].CopyFrom(tf.make_tensor_proto(raws, tf.string))
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
            writer.write(log.SerializeToString())


def _card(model: TrainedModel, examples: Examples, modality: Modality) -> str:
    base = model.base
    contract = "\n".join(f"- {key}: {value}" for key, value in modality.contract(base).items())
    counts = ", ".join(f"{count} {split}" for split, count in examples.counts.items())
    return f"""# Model card

- Task: classify {base.modality}s as {", ".join(base.labels)}
- Backbone: {base.backbone}, {base.pretrained}, {base.pooling} pooling
- Weights: {model.kept}
- Examples: {counts}

## Preprocessing

{contract}

## Use

`serving_default` takes `raw`, a batch of raw examples, and gives `probabilities` in the
order of `assets/labels.txt`, `labels` and `valid`. It knows only these classes: anything else is
given one of them, too.
"""
