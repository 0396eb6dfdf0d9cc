"""What fine-tuning left of what a giant knew, as `forgetting.json` of a trained model has it.

```
blocks               for each unfrozen block, right after training: moved, cka
own_head             how often the head that the backbone came with says the same of our examples,
                     and, where we have some of its own, is right about those, before and after;
                     null where there is none
share                how far to the fine-tuned weights those are that were kept
kept                 blocks and own_head there, where they are not all of the way
curve                the validation loss at points on the way, where they were looked at
```
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.files import read_json

FILE = "forgetting.json"
# Where less is left than this, it is said.
HALF = 0.5


def read(directory: Path) -> dict[str, Any] | None:
    """What is there, and in `forgotten` the blocks of which much is; None if nothing was tuned."""
    path = directory / FILE
    if not path.exists():
        return None
    found: dict[str, Any] = read_json(path)
    blocks = [row["block"] for row in found["blocks"] if (row["cka"] or 1.0) < HALF]
    return found | {"forgotten": blocks}


def left(directory: Path) -> tuple[float | None, float | None]:
    """The least CKA of any block, and the agreement of the backbone's own head; None if unknown.

    Both of the weights that were kept.
    """
    found = read(directory)
    if found is None:
        return None, None
    kept = found["kept"] or found
    alike = [row["cka"] for row in kept["blocks"] if row["cka"] is not None]
    own = kept["own_head"]
    return min(alike, default=None), own["agreement"] if own else None
