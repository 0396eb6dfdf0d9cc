"""Why a model says what it says of an example: what of it counted, and what it is like."""

from __future__ import annotations

import functools
import html
import secrets
import threading
from collections import OrderedDict
from typing import Any

import numpy as np
from etils import epy

from components.modalities.table import MODALITIES
from components.tasks.protocol import Target
from models.mistakes import Mistake
from pipeline.records import RunRecord
from pipeline.studio.data import Data
from pipeline.studio.registry import Registry, Version
from pipeline.studio.shelf import Missing

with epy.lazy_imports():
    from components.served import matching, opening

# Pages and models that are kept in mind.
_PAGES, _MODELS = 32, 2
# Of so many training examples, evenly through them, these are shown; so many are asked at once.
_LOOKED_AT, _NEAREST, _BATCH = 512, 6, 32
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Why</title><style>
:root {{ color-scheme: light dark; }}
body {{ margin: 0; font: 15px/1.6 system-ui, sans-serif; }}
p {{ font-size: 13px; opacity: .75; margin: 8px 0 0; }} h3 {{ font-size: 13px; margin: 0 0 6px; }}
img {{ max-width: 100%; border-radius: 6px; }} .pair {{ display: flex; gap: 8px; }}
.pair img {{ height: 160px; max-width: 48%; object-fit: contain; }}
blockquote {{ margin: 0; }} svg {{ width: 100%; height: 80px; }}
audio {{ width: 100%; }} span[title] {{ border-radius: 3px; padding: 0 1px; }}
</style><body>{content}<p>{legend}</p></body></html>"""


class Explaining:
    """Asks the models of a registry once more, with parts of an example left out; and for vectors.

    By occlusion, as in a report: the exported model is asked, through the signature that is served,
    and not a network that is like it.
    """

    def __init__(self, registry: Registry, data: Data) -> None:
        self._registry, self._data = registry, data
        self._pages: OrderedDict[str, str] = OrderedDict()
        self._vectors: OrderedDict[str, tuple[list[dict[str, Any]], np.ndarray]] = OrderedDict()
        self._lock = threading.Lock()

    def why(self, identity: str, number: int, raw: bytes) -> dict[str, Any]:
        """`page`, the address of one that shows what of an example counted; `parts`, for how many
        answers.

        Raises:
            Missing: there is no such version.
            Mistake: it is not what was written, or cannot read the example.
        """
        with self._registry.open(identity, number) as version:
            opened = opening.Opened(version.path, version.modality, version.targets)
            if not opened.ask([raw]).valid[0]:
                raise Mistake("the example must be one that can be read, got one that cannot")
            shown = MODALITIES[version.modality].shown
            parts = [
                _titled(target) + shown.show(raw, functools.partial(opened.evidence, at))
                for at, target in enumerate(version.targets)
            ]
        name = secrets.token_hex(8)
        with self._lock:
            self._pages[name] = _PAGE.format(content="".join(parts), legend=shown.legend)
            while len(self._pages) > _PAGES:
                self._pages.popitem(last=False)
        return {"page": f"/why/{name}", "parts": len(parts)}

    def page(self, name: str) -> str:
        """One that was made, as long as it is kept.

        Raises:
            Missing: it is not.
        """
        with self._lock:
            if name not in self._pages:
                raise Missing(f"there is no page {name!r} any more")
            return self._pages[name]

    def near(self, identity: str, number: int, raw: bytes) -> dict[str, Any]:
        """The training examples whose vectors are nearest to that of an example.

        `rows` have their cosine; `of` is among how many was looked. There are none where the run
        that has pushed the version is gone.

        Raises:
            Missing: there is no such version.
            Mistake: it gives no vectors, or cannot read the example.
        """
        record = self._registry.run_of(identity, number)
        with self._registry.open(identity, number) as version:
            if record is None:
                return {"run_id": None, "of": 0, "rows": []}
            vector, valid = matching.embed(version.path, version.modality, [raw])
            if not valid[0]:
                raise Mistake("the example must be one that can be read, got one that cannot")
            rows, vectors = self._of_training(version, record)
        cosines = vectors @ vector[0]
        best = np.argsort(-cosines, kind="stable")[:_NEAREST]
        found = [{**rows[at], "cosine": round(float(cosines[at]), 4)} for at in best]
        return {"run_id": record.run_id, "of": len(rows), "rows": found}

    def _of_training(
        self, version: Version, record: RunRecord
    ) -> tuple[list[dict[str, Any]], np.ndarray]:
        """Rows of training examples, and their vectors, (examples, features)."""
        if version.digest not in self._vectors:
            rows = self._data.trained_on(record)
            rows = [rows[at] for at in _evenly(len(rows))]
            raws = [self._data.raw(record, row["id"])[0] for row in rows]
            parts = [
                matching.embed(version.path, version.modality, raws[at : at + _BATCH])[0]
                for at in range(0, len(raws), _BATCH)
            ]
            self._vectors[version.digest] = rows, np.concatenate(parts)
            while len(self._vectors) > _MODELS:
                self._vectors.popitem(last=False)
        return self._vectors[version.digest]


def _titled(target: Target) -> str:
    """Which of several answers is explained."""
    return f"<h3>{html.escape(target.name)}</h3>" if target.name else ""


def _evenly(count: int) -> list[int]:
    """Which of so many are looked at."""
    most = min(count, _LOOKED_AT)
    return np.linspace(0, count - 1, most).round().astype(int).tolist() if most else []
