"""What a model said of every test example, kept beside the truth: one Parquet file.

```
id, name, valid              of the example, and whether the model could decode it
known, distance, nearest     how unlike it is to what the model was trained on; null where that is
                             not said
answer, TARGET/answer        the truth; null where it is missing
label, probabilities …       what the model's own targets say, by their columns
```
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from etils import epy

from components.tasks.protocol import Answer, Said, Target
from components.tasks.table import task_of

with epy.lazy_imports():
    import pyarrow as pa
    from pyarrow import parquet

FILE = "predictions.parquet"
# id, name, answers of each target asked, valid, said by each target of the model, likeness.
Row = dict[str, Any]
# Under the names that they are served by.
_LIKENESS = ("known", "distance", "nearest")


def write(
    directory: Path, rows: Sequence[Row], asked: Sequence[Target], saying: Sequence[Target]
) -> None:
    """Write `FILE`, a row an example.

    Args:
        asked: the targets of the examples, in the order of the rows' answers.
        saying: those of the model, in the order of what it said.
    """
    columns = [{n: row[n] for n in ("id", "name", "valid")} | row["likeness"] for row in rows]
    for column, row in zip(columns, rows, strict=True):
        for target, answer in zip(asked, row["answers"], strict=True):
            column[target.named("answer")] = answer
        for target, said in zip(saying, row["said"], strict=True):
            column |= {target.named(name): value for name, value in said.items()}
    table = pa.Table.from_pylist(columns, _schema(asked, saying))
    parquet.write_table(table, directory / FILE)


def read(directory: Path, asked: Sequence[Target], saying: Sequence[Target]) -> list[Row]:
    """What `write` was given."""
    names = [[name for name, _ in task_of(target).columns(target.space)] for target in saying]
    return [
        {
            "id": row["id"],
            "name": row["name"],
            "valid": row["valid"],
            "likeness": {n: row[n] for n in _LIKENESS if row.get(n) is not None},
            "answers": [row[target.named("answer")] for target in asked],
            "said": [
                {name: row[target.named(name)] for name in own}
                for target, own in zip(saying, names, strict=True)
            ],
        }
        for row in parquet.read_table(directory / FILE).to_pylist()
    ]


def judged(rows: Iterable[Row], number: int, at: int) -> tuple[list[Answer], list[Said]]:
    """The answers to a target asked, where there are, and what was said of those examples.

    Args:
        number: of the target among those asked.
        at: its number among those of the model.
    """
    told = [row for row in rows if row["answers"][number] is not None]
    return [row["answers"][number] for row in told], [row["said"][at] for row in told]


def _schema(asked: Sequence[Target], saying: Sequence[Target]) -> Any:
    kinds = {
        "text": pa.string(),
        "texts": pa.list_(pa.string()),
        "number": pa.float64(),
        "numbers": pa.list_(pa.float32()),
    }
    columns = [("id", pa.string()), ("name", pa.string()), ("valid", pa.bool_())]
    columns += zip(_LIKENESS, (pa.bool_(), pa.float32(), pa.string()), strict=True)
    for target in asked:
        _, kind = task_of(target).columns(target.space)[0]
        columns.append((target.named("answer"), kinds[kind]))
    for target in saying:
        own = task_of(target).columns(target.space)
        columns += [(target.named(name), kinds[kind]) for name, kind in own]
    return pa.schema(columns)
