"""reclass: the examples of before with another class, or with one less."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etils import epy

from components.artifacts import Examples
from components.disk import require_room
from components.examples.placing import COLUMNS, INDEX, Row, as_example
from components.examples.tables import SPLITS
from components.files import MOST_BYTES, content_id, read_jsonl, read_regular, write_jsonl
from components.job import Job, stage
from components.modalities.table import MODALITIES
from components.section import Digested
from components.tasks.protocol import Space
from models.mistakes import Mistake

with epy.lazy_imports():
    import tensorflow_datasets as tfds

    from components.examples import dataset

# Of the new examples this share is held out, in the order of a hash; and so many at least.
_HELD_OUT, _LEAST = 0.25, 1


@dataclass(frozen=True)
class Added(Digested):
    """Examples of a class that there was not.

    Attributes:
        label: of the class.
        digest: over it and the files' bytes.
        files: of the examples.
    """

    label: str
    digest: str
    files: tuple[Path, ...]


@stage(version=1)
def reclass(
    job: Job, examples: Examples, added: Added | None = None, removed: str = ""
) -> Examples:
    """Copy the examples, with those of a new class, or without those of one.

    Raises:
        Mistake: a file is no example that can be used, or is one already.
    """
    [target] = examples.targets
    index = [row for row in _index(examples) if row["answers"] != [removed]]
    new = _read(examples, added, {row["id"]: row["answers"][0] for row in index}) if added else {}
    rows = [*index, *(row for row, _ in new.values())]
    labels = {*target.space.labels, *([added.label] if added else [])} - {removed}
    targets = (target.model_copy(update={"space": Space(labels=tuple(sorted(labels)))}),)
    kept: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in index:
        kept[row["id"], row["name"]].append(row)

    def of(split: str) -> Callable[[], Iterator[Any]]:
        def written() -> Iterator[Any]:
            wanted = {row["id"] for row in index if row["split"] == split}
            for stored in dataset.rows(examples, split, wanted):
                if known := kept[stored.id, stored.name]:
                    yield as_example(known.pop() | {"raw": stored.raw}, examples.modality, targets)
            for row, raw in new.values():
                if row["split"] == split:
                    yield as_example(row | {"raw": raw}, examples.modality, targets)

        return written

    require_room(job.directory, _size(examples) + sum(len(raw) for _, raw in new.values()), "them")
    tfds.disable_progress_bar()
    dataset.Builder(
        splits={split: of(split) for split in SPLITS},
        modality=examples.modality,
        targets=targets,
        data_dir=job.directory,
    ).write()
    write_jsonl(job.directory / INDEX, sorted(rows, key=lambda row: (row["id"], row["name"])))
    write_jsonl(job.directory / "quarantine.jsonl", [])
    counts = Counter(row["split"] for row in rows)
    return Examples(
        directory=job.directory,
        modality=examples.modality,
        targets=targets,
        counts={split: counts[split] for split in SPLITS},
        slices=examples.slices,
        stats={split: counts[split] for split in SPLITS},
    )


def _index(examples: Examples) -> Iterator[Row]:
    for row in read_jsonl(examples.directory / INDEX):
        yield {name: row[name] for name in COLUMNS if name in row}


def _size(examples: Examples) -> int:
    return sum(path.stat().st_size for path in examples.dataset.glob("*") if path.is_file())


def _read(examples: Examples, added: Added, known: dict[str, str]) -> dict[str, tuple[Row, bytes]]:
    """What is the same of each new example → its row and its raw form; some are held out."""
    kind = MODALITIES[examples.modality].raw
    found: dict[str, tuple[Row, bytes]] = {}
    for path in added.files:
        try:
            raw = read_regular(path, MOST_BYTES)
            facts = kind.check(raw)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise Mistake(f"FILE must be an example, got {str(path)!r}: {reason}") from error
        identity = content_id(raw)
        if identity in known:
            raise Mistake(
                f"FILE must be new, got {str(path)!r}, which is one of {known[identity]!r}"
            )
        same = content_id(kind.canonical(raw))
        row = {
            "id": identity,
            "same": same,
            "key": f"{identity}-0",
            "name": str(path),
            "answers": [added.label],
            "facts": facts,
        }
        found[same] = (row, raw)
    held = max(_LEAST, round(_HELD_OUT * len(found)))
    if len(found) <= held:
        raise Mistake(
            f"FILES must be two examples of {added.label!r} or more, one of which is held out, got "
            f"{len(found)}"
        )
    for number, same in enumerate(sorted(found)):
        found[same][0]["split"] = "test" if number < held else "train"
    return found
