"""What nobody meant to be an example: one verdict for each, with a reason, and none is lost."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path
from typing import Any

import pytest
import soundfile
import tensorflow as tf

from components.artifacts import Examples
from components.examples.reasons import CODES
from components.files import read_jsonl, read_regular
from components.modalities.photos import raw as photos
from components.modalities.sounds import raw as sounds
from components.modalities.sounds.form import Sound
from models.mistakes import Mistake, printable
from tests.chaos import corpus
from tests.chaos.corpus import IGNORED, USED
from tests.conftest import write_classes
from tests.helpers import ingested

# Of memory, for any one file: 64 million pixels are 192 MB, and Python has held some before.
_MOST_MEMORY = 1_500_000_000


def verdicts(examples: Examples) -> dict[str, str]:
    """The name of all that was found → used, ignored, or the code of the reason."""
    said = {row["name"]: USED for row in read_jsonl(examples.directory / "index.jsonl")}
    rows = read_jsonl(examples.directory / "quarantine.jsonl")
    said |= {row["name"]: row["code"] for row in rows}
    return said | dict.fromkeys(examples.stats["ignored_files"], IGNORED)


def check_accounted(examples: Examples, there: int) -> None:
    stats = examples.stats
    assert stats["found"] == there
    assert stats["found"] == stats["used"] + stats["quarantined"] + stats["ignored"]
    assert sum(examples.counts.values()) == stats["used"]


def write_sounds(root: Path, count: int) -> Path:
    for name, tone in (("ant", 880), ("bee", 220)):
        (root / name).mkdir(parents=True)
        for number in range(count):
            path = root / name / f"{number}.wav"
            soundfile.write(path, corpus.sound(tone=tone + number), 16_000)
    return root


@pytest.mark.parametrize("modality", ["image", "sound"])
@pytest.mark.timeout(300)
def test_files(tmp_path: Path, modality: str) -> None:
    """Each kind of file, in a class folder; what is used can be decoded as it is served."""
    root = tmp_path / "data"
    kinds = corpus.PICTURES if modality == "image" else corpus.SOUNDS
    write_classes(root, 8) if modality == "image" else write_sounds(root, 8)
    for name, (_, make) in kinds.items():
        make(root / "ant" / name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    examples = ingested(tmp_path / "out", root, modality=modality)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    said = verdicts(examples)
    wrong = {
        name: (expected, got)
        for name, (expected, _) in kinds.items()
        if (got := said[printable(f"ant/{name}")]) != expected
    }
    assert not wrong
    check_accounted(examples, 16 + len(kinds))
    assert grown < _MOST_MEMORY
    assert {expected for expected, _ in kinds.values()} <= {USED, IGNORED, *CODES}


@pytest.mark.parametrize(
    ("modality", "resize"),
    [("image", "pad"), ("image", "crop"), ("image", "stretch"), ("sound", "")],
)
def test_serving_is_of_the_same_mind(tmp_path: Path, modality: str, resize: Any) -> None:
    """What ingest uses the served decoder reads, and nothing else."""
    kinds = corpus.PICTURES if modality == "image" else corpus.SOUNDS
    (tmp_path / "data").mkdir()
    decoded: Any = {
        "image": lambda raw: photos.decode(photos.Picture(input_size=16, resize=resize), raw),
        "sound": lambda raw: sounds.decode(Sound(rate=16_000, seconds=0.5), raw),
    }[modality]
    for name, (expected, make) in kinds.items():
        path = tmp_path / "data" / name
        if expected in ("not_regular", "outside", "broken_link", "link_loop", "not_readable"):
            continue
        if expected == IGNORED or path.is_symlink() or "link" in name:
            continue
        make(path)
        try:
            decoded(tf.constant(read_regular(path)))
            served = True
        except (tf.errors.InvalidArgumentError, UnicodeDecodeError):
            served = False
        assert served == (expected == USED), name


def test_what_folders_have_in_them(tmp_path: Path) -> None:
    """Hidden folders in a class and beside them, strays, linked folders: found is what is there."""
    root = write_classes(tmp_path / "data", 8)
    for hidden in corpus.HIDDEN_FOLDERS:
        for where in (root, root / "ant"):
            (where / hidden).mkdir()
            (where / hidden / "copy.jpg").write_bytes(corpus.image("JPEG", quality=40))
    (root / "README.md").write_text("about")
    (root / "dangling").symlink_to("nowhere")
    elsewhere = write_classes(tmp_path / "elsewhere", 2, ("cat",))
    (root / "bee" / "more").mkdir()
    (root / "bee" / "more" / "deep.jpg").write_bytes(corpus.image("JPEG", quality=41))
    (root / "bee" / "inside").symlink_to("more")
    (root / "bee" / "outside").symlink_to(elsewhere / "cat")
    examples = ingested(tmp_path / "a", root)
    check_accounted(examples, 16 + 8 + 2 + 3)
    said = verdicts(examples)
    assert said["bee/outside"] == "outside"
    assert said["bee/inside/deep.jpg"] == said["bee/more/deep.jpg"] == USED
    assert said["README.md"] == said["dangling is a link to nothing"] == IGNORED
    assert said["ant/.ipynb_checkpoints/copy.jpg"] == said["__MACOSX/copy.jpg"] == IGNORED
    assert examples.targets[0].space.labels == ("ant", "bee")
    # An option says that it may.
    free = ingested(tmp_path / "b", root, root=str(tmp_path))
    check_accounted(free, 16 + 8 + 2 + 4)
    assert verdicts(free)["bee/outside/0.png"] == USED


def test_folders_of_splits_have_the_same_rule(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_classes(root / "train", 8)
    write_classes(root / "test", 4)
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / "._x").write_bytes(b"")
    (root / "train" / "notes.txt").write_text("")
    check_accounted(ingested(tmp_path / "out", root), 24 + 2)


def test_names_that_are_no_utf_8(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "data", 8)
    os.rename(os.fsencode(root / "bee"), os.path.join(os.fsencode(root), b"caf\xe9"))
    examples = ingested(tmp_path / "out", root)
    assert examples.targets[0].space.labels == ("ant", "caf\\xe9")


@pytest.mark.timeout(60)
def test_rows_that_name_what_is_no_file(tmp_path: Path) -> None:
    """A FIFO that nobody writes to, devices without an end, a folder, a loop, files elsewhere."""
    write_classes(tmp_path / "photos", 12)
    rows = [
        f"{path.relative_to(tmp_path)},{path.parent.name}"
        for path in sorted((tmp_path / "photos").rglob("*.*"))
    ]
    os.mkfifo(tmp_path / "fifo.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    strange = {
        "fifo.jpg": ("not_readable", "not_readable"),
        "/dev/zero": ("outside", "not_readable"),
        "/dev/random": ("outside", "not_readable"),
        "../../../../../../etc/passwd": ("outside", "not_an_image"),
        "folder.jpg": ("not_readable", "not_readable"),
        "loop.jpg": ("not_readable", "not_readable"),
        "gone.jpg": ("not_readable", "not_readable"),
    }
    label = rows[0].rpartition(",")[2]
    table = tmp_path / "photos.csv"
    table.write_text("\n".join(["path,label", *rows, *(f"{name},{label}" for name in strange)]))
    for number, root in enumerate(("", "/")):
        examples = ingested(tmp_path / f"made {number}", table, root=root)
        said = verdicts(examples)
        assert {name: said[name] for name in strange} == {n: c[number] for n, c in strange.items()}
        check_accounted(examples, 24 + len(strange))
    descriptors = len(os.listdir("/proc/self/fd"))
    for name in ("/dev/zero", "/tmp", str(tmp_path / "fifo.jpg")):
        with pytest.raises(OSError, match="it is no regular file"):
            read_regular(Path(name))
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_lines_of_a_table(tmp_path: Path) -> None:
    """Each kind of line, among others; the name of a row is its place."""
    good = [
        json.dumps({"text": f"{word} film number {n}", "label": label}).encode()
        for label, word in (("good", "fine"), ("bad", "dull"))
        for n in range(10)
    ]
    table = tmp_path / "texts.jsonl"
    lines = [line for _, line in corpus.LINES.values()]
    table.write_bytes(b"\n".join(good + lines) + b"\n")
    examples = ingested(tmp_path / "out", table, modality="text")
    said = verdicts(examples)
    wrong = {
        name: (expected, got)
        for number, (name, (expected, _)) in enumerate(corpus.LINES.items(), start=21)
        if (got := said[f"texts.jsonl:{number}"]) != expected
    }
    assert not wrong
    check_accounted(examples, 20 + len(lines))
    reasons = {r["name"]: r["reason"] for r in read_jsonl(examples.directory / "quarantine.jsonl")}
    cut = 21 + list(corpus.LINES).index("cut")
    assert reasons[f"texts.jsonl:{cut}"].startswith(f"line {cut} is no JSON: ")


@pytest.mark.parametrize("name", corpus.TABLES)
def test_tables_that_are_none(tmp_path: Path, name: str) -> None:
    said, content = corpus.TABLES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Mistake, match=said) as told:
        ingested(tmp_path / "out", tmp_path / name, modality="text")
    assert printable(str(told.value)) == str(told.value)
