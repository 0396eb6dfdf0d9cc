"""What every modality keeps to: a new row of `MODALITIES` is tested by being one."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from components.modalities.table import MODALITIES
from pipeline.config import Config


@pytest.mark.parametrize("name", MODALITIES)
def test_every_modality_keeps_its_contract(name: str) -> None:
    row = MODALITIES[name]
    config = Config.model_validate({"data": {"modality": name}})
    assert type(config.own) is row.config
    assert {*row.view_options} <= {*row.config.model_fields}
    assert {*row.usual} | row.model_dependent <= {*row.policies}
    assert config.views.policies == row.usual

    kind = row.raw
    raw = kind.sample()
    facts = kind.check(raw)
    assert facts
    assert kind.canonical(raw) == kind.canonical(raw)
    for bad in (b"", b"\xff\xfe not an example"):
        with pytest.raises(ValueError, match=r"\w"):
            kind.check(bad)
    features = tfds.features.FeaturesDict({name: kind.feature()})
    decoders = {name: tfds.decode.SkipDecoding()}
    kept = features.serialize_example({name: raw})
    assert features.deserialize_example(kept, decoders=decoders)[name].numpy() == raw

    counted: dict[str, Counter[Any]] = defaultdict(Counter)
    for fact, value in facts.items():
        counted[fact][value] += 1
    summary = kind.summary(counted)
    assert summary
    assert all(isinstance(said, str) for said in kind.warnings(summary))
    shown = row.shown.show(raw, lambda raws: np.linspace(1.0, 0.0, len(raws)))
    assert shown.startswith("<")
    assert kind.plural
    assert row.section in Config.model_fields
