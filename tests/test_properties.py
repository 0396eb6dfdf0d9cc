"""What holds whatever it is given, tried on what Hypothesis thinks of.

SHOULDERS_EXAMPLES=5000 tries more, and others each time.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from components.examples.placing import Member, assign
from components.files import MANIFEST, content_id, sha256_of_json
from components.frozen.activations import Activations
from components.served.manifest import verify_manifest
from components.served.versions import JOURNAL, ServingDirectory
from components.tasks.protocol import Space, Target
from models.mistakes import Mistake
from pipeline import recipe as recipes
from pipeline.config import Config
from pipeline.showing import to_toml
from pipeline.store import hashed, read_manifest
from tests.chaos.readers import READERS

TRIES = int(os.environ.get("SHOULDERS_EXAMPLES", "0"))
_MORE = settings(max_examples=TRIES, derandomize=False) if TRIES else settings(derandomize=True)
tried = settings(
    _MORE,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

# --- splits ---

LABELS = ("a", "b", "c")
MISSING = {"test": 0.2, "validation": 0.2}


def wanted(missing: dict[str, float] | None = None) -> Any:
    target = Target(task="one_label", space=Space(labels=LABELS))
    missing = MISSING if missing is None else missing
    return SimpleNamespace(targets=(target,), missing=missing, labels_per_class=None)


@st.composite
def examples(draw: Any, grouped: bool = False, most: int = 60) -> list[Member]:
    """Of three classes; some twice, with another answer, or with a split of their own."""
    found: list[Member] = []
    for number in draw(st.lists(st.integers(0, 40), max_size=most)):
        label = draw(st.sampled_from(LABELS))
        split = draw(st.sampled_from(["", "", "", "train", "test", "validation"]))
        group = draw(st.sampled_from(["", "p", "q", "r", "s", "t"])) if grouped else ""
        found.append((content_id(str(number).encode()), split, [label], group))
    return found


def splits_of(members: list[Member], want: Any) -> dict[str, dict[str, str]]:
    """What is the same → its given split → the split that it is put in, as `place` reads it."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    of_each = defaultdict(list)
    for same, place in assign(members, want):
        of_each[same].append(place)
    for same, places in of_each.items():
        for split, assigned in sorted(places):
            found[same].setdefault(split, assigned)
    return found


@tried
@given(st.booleans().flatmap(lambda grouped: examples(grouped)), st.randoms(use_true_random=False))
def test_a_split_is_a_partition_whatever_the_order(members: list[Member], order: Any) -> None:
    found = splits_of(members, wanted())
    assert found.keys() == {same for same, _, _, _ in members}
    for same, split, _, _ in members:
        assigned = found[same][split]
        assert assigned in ("train", "validation", "test")
        assert split in ("", "train", assigned)
    shuffled = [*members, *members]
    order.shuffle(shuffled)
    assert splits_of(shuffled, wanted()) == found


@tried
@given(examples(grouped=True))
def test_a_group_is_on_one_side(members: list[Member]) -> None:
    members = [(same, "", answers, group) for same, _, answers, group in members]
    found = splits_of(members, wanted())
    of_group = defaultdict(set)
    for same, _, _, group in members:
        if group:
            of_group[group].add(found[same][""])
    assert all(len(splits) == 1 for splits in of_group.values())


@tried
@given(st.sets(st.integers(0, 10_000), min_size=3, max_size=120), st.integers(10_001, 20_000))
def test_one_more_moves_next_to_nobody(numbers: set[int], new: int) -> None:
    """One new example of a class moves at most one from each of its borders."""
    before = [(content_id(str(n).encode()), "", ["a"], "") for n in numbers]
    after = [*before, (content_id(str(new).encode()), "", ["a"], "")]
    first, then = splits_of(before, wanted()), splits_of(after, wanted())
    assert sum(first[same] != then[same] for same in first) <= 2


@tried
@given(st.sets(st.integers(0, 10_000), min_size=3, max_size=120))
def test_shares_are_what_was_asked_for(numbers: set[int]) -> None:
    members = [(content_id(str(n).encode()), "", ["a"], "") for n in numbers]
    found = [places[""] for places in splits_of(members, wanted()).values()]
    test, rest = found.count("test"), len(found) - found.count("test")
    assert abs(test - 0.2 * len(found)) <= 1
    assert abs(found.count("validation") - 0.2 * rest) <= 1


# --- fingerprints ---

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)


def told_apart(value: Any) -> Any:
    """Equal exactly where two values are, 1, 1.0 and True being three."""
    if isinstance(value, dict):
        return {"{}": sorted((key, told_apart(each)) for key, each in value.items())}
    if isinstance(value, list):
        return [told_apart(each) for each in value]
    return (type(value).__name__, repr(value))


@tried
@given(plain, plain)
def test_fingerprints_are_equal_exactly_when_inputs_are(one: Any, other: Any) -> None:
    same = repr(told_apart(one)) == repr(told_apart(other))
    assert (sha256_of_json(hashed(one)) == sha256_of_json(hashed(other))) == same
    assert sha256_of_json(hashed(one)) == sha256_of_json(hashed(json.loads(json.dumps(one))))


# --- the ragged store ---


@st.composite
def rows(draw: Any) -> tuple[list[Any], list[int], list[int], list[int]]:
    tensors = draw(
        st.lists(
            st.tuples(
                st.sampled_from([(3,), (None,), (None, 2), (2, 2)]),
                st.sampled_from(["float32", "float16", "bfloat16", "int32"]),
            ),
            min_size=1,
            max_size=3,
        )
    )
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=12))
    cuts = draw(st.lists(st.integers(0, len(lengths)), max_size=3))
    asked = draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=20))
    return tensors, lengths, sorted(cuts), asked


@tried
@given(rows())
def test_the_store_gives_back_what_was_put_in(
    drawn: tuple[list[Any], list[int], list[int], list[int]],
) -> None:
    tensors, lengths, cuts, asked = drawn
    random = np.random.default_rng(0)
    longest, count = max(lengths), len(lengths)
    arrays = [
        # Whole numbers that every dtype has.
        random.integers(-100, 100, (count, *(longest if n is None else n for n in shape)))
        for shape, _ in tensors
    ]
    names = [f"row {n}" for n in range(count)]
    ends = np.array(lengths)
    with tempfile.TemporaryDirectory() as directory:
        store = Activations.open(Path(directory), "key", tensors, {})
        with store.writer() as writer:
            for begin, end in zip([0, *cuts], [*cuts, count], strict=True):
                if end > begin:
                    part = slice(begin, end)
                    writer.add(names[part], [array[part] for array in arrays], ends[part])
                    writer.finish()
        got = store.reader(names).gather(np.array(asked))
    for (shape, dtype), array, there in zip(tensors, arrays, got, strict=True):
        assert there.dtype == (np.int32 if dtype == "int32" else np.float32)
        for position, row in enumerate(asked):
            if None in shape:
                assert (there[position, : lengths[row]] == array[row, : lengths[row]]).all()
                assert not there[position, lengths[row] :].any()
            else:
                assert (there[position] == array[row]).all()


# --- recipes ---

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
RECIPES: dict[str, st.SearchStrategy[Any]] = {
    "data.path": words,
    "data.input_column": words,
    "data.labels_per_class": st.integers(4, 10_000),
    "data.slices": st.lists(words, max_size=3, unique=True),
    "model.backbone": words,
    "head.learning_rate": st.floats(1e-9, 1.0),
    "head.epochs": st.integers(1, 10_000),
    "head.dropout": st.floats(0.0, 0.9),
    "fine_tune.unfreeze": st.integers(0, 100) | st.sampled_from(["all", "stem"]),
    "bless.force": words,
    "bless.at_least": st.lists(st.sampled_from(["accuracy=0.9", "macro_f1=1"]), max_size=2),
    "seed": st.integers(0, 2**31 - 1),
}


@tried
@given(st.fixed_dictionaries({}, optional=RECIPES))
def test_a_config_is_what_its_toml_says(changes: dict[str, Any]) -> None:
    made = recipes.validate(recipes.merged({}, changes))
    assert recipes.validate(tomllib.loads(to_toml(made))) == made


def keys_of(section: type[BaseModel], prefix: str = "") -> list[str]:
    """Every key of the config, and every section."""
    found = []
    for name, field in section.model_fields.items():
        found.append(f"{prefix}{name}")
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += keys_of(field.annotation, f"{prefix}{name}.")
    return found


KEYS = keys_of(Config)


ODD: tuple[Any, ...] = (
    0,
    -1,
    2**70,
    0.5,
    math.inf,
    math.nan,
    True,
    "",
    "~",
    "\0",
    [],
    [0],
    [[]],
    {},
    {"a": 0},
)


def test_odd_values_in_a_recipe() -> None:
    """One of each kind for every key: fuzzing found `patch = 0`."""
    for key, value in itertools.product(KEYS, ODD):
        says_one_thing(key, value)


@tried
@given(st.sampled_from(KEYS), json_values)
def test_whatever_a_recipe_says_it_is_a_config_or_one_line(key: str, value: Any) -> None:
    says_one_thing(key, value)


def says_one_thing(key: str, value: Any) -> None:
    content = value
    for name in reversed(key.split(".")):
        content = {name: content}
    try:
        recipes.validate(content)
    except Mistake as mistake:
        said = str(mistake)
    else:
        return
    assert said
    assert "\n" not in said


# --- what others wrote ---


def replaced(value: Any, draw: Callable[[Any], Any]) -> Any:
    """The same with something else at one place."""
    if isinstance(value, dict) and value and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(value)))
        return {**value, key: replaced(value[key], draw)}
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], replaced(value[at], draw), *value[at + 1 :]]
    return draw(json_values)


@tried
@given(st.data())
def test_manifests_and_journals_that_somebody_wrote_in(data: st.DataObject) -> None:
    seeds = [*READERS["manifest"].seeds()]
    changed = replaced(json.loads(data.draw(st.sampled_from(seeds))), data.draw)
    line = replaced(json.loads(next(iter(READERS["journal"].seeds())).splitlines()[-1]), data.draw)
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        for name in (MANIFEST, "artifact.json"):
            (place / name).write_text(json.dumps(changed))
        (place / JOURNAL).write_text(json.dumps(line))
        with suppress(Mistake):
            verify_manifest(place)
        with suppress(ValueError):
            read_manifest(place)
        serving = ServingDirectory(place)
        for ask in (serving.withdrawn, lambda: serving.gone(place), lambda: serving.digest):
            ask()


@pytest.mark.parametrize("name", READERS)
def test_readers_of_what_others_wrote(name: str, tmp_path: Path) -> None:
    """On what fuzzing begins with; see `tests.chaos.fuzz`."""
    for seed in READERS[name].seeds():
        READERS[name].read(seed, tmp_path)
