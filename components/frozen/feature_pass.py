"""The frozen part of a network over raw examples, into the store of activations."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from etils import epy

from components.artifacts import AssembledModel
from components.files import files_below, sha256_of_each
from components.frozen.activations import Activations, DType, key_of, network_digest, stored_as
from components.frozen.networks import cut, open_frozen, taps_of
from components.job import Progress
from components.modalities.protocols import Reader, Rows
from components.modalities.table import MODALITIES, open_reader
from components.section import Views

with epy.lazy_imports():
    import keras

    from components.frozen import forward
    from models import taps

# Of what is computed: what was stored under an older one is void.
VERSION = 5
# A killed pass loses at most this much work.
SHARD_SECONDS = 30.0


@dataclass(frozen=True)
class Output:
    """Tensors of the network that are wanted, and the store they go to."""

    tensors: list[Any]
    store: Activations


@dataclass(frozen=True, kw_only=True)
class FeaturePass:
    """What is computed of an example, and where it is kept.

    It can be sent to another process, which opens the network again.

    Attributes:
        cuts: the outputs, of `pooled`, `taps` and `at_cut` → the block before which each is
            taken; None for vectors made of the whole network.
        variants: what is appended to an example's id to name each of its views.
        dtype: of activations; pooled features are float32.
        batch_size: examples a forward pass.
        engines: whether another engine may compute it; see `contest`.
        root: of the activation store.
    """

    model: AssembledModel
    cuts: dict[str, str | None]
    views: Views
    seed: int
    variants: tuple[str, ...]
    dtype: DType
    batch_size: int
    engines: bool
    root: Path

    @cached_property
    def network(self) -> keras.Model:
        return open_frozen(self.model, self.model.weights)

    @cached_property
    def outputs(self) -> dict[str, Output]:
        return {name: self._open(name, block) for name, block in self.cuts.items()}

    @cached_property
    def reader(self) -> Reader:
        return open_reader(self.model, self.views, self.seed)

    def compute(
        self,
        names: Sequence[str],
        wanted: dict[str, list[int]],
        rows: Rows,
        progress: Progress,
        *,
        shard: str | None = None,
    ) -> int:
        """One pass over some examples; returns how many activations it made of each output.

        Args:
            names: of the outputs.
            wanted: example id → the numbers of its views.
            rows: their raw form.
            shard: the one shard that they go to; as many as it takes, named anyhow, where None.
        """
        outputs = [self.outputs[name] for name in names]
        total = sum(map(len, wanted.values()))
        size = min(self.batch_size, total)
        augmented = any(views != [0] for views in wanted.values())
        batches = self.reader.batches(rows, size, augmented=augmented)
        progress("compiling", 0, 0)
        # The first examples are read meanwhile; not those that a policy's own dice change.
        ahead = 0 if augmented else 1
        with ThreadPoolExecutor(1) as reading:
            first = reading.submit(lambda: [*itertools.islice(batches, ahead)])
            run = self._forward(tuple(names), size, total)
        began = finished = time.monotonic()
        done = first_done = 0
        with contextlib.ExitStack() as stack:
            writers = [stack.enter_context(output.store.writer(shard)) for output in outputs]
            for batch in itertools.chain(first.result(), batches):
                pairs = zip(batch.ids, batch.views, strict=True)
                named = [identity.decode() + self.variants[view] for identity, view in pairs]
                results = iter(run(batch.inputs))
                for output, writer in zip(outputs, writers, strict=True):
                    writer.add(named, [next(results) for _ in output.tensors], batch.lengths)
                done += len(named)
                progress("views through the frozen part", done, total)
                if not first_done:  # It was compiled for that.
                    began, first_done = time.monotonic(), done
                late = time.monotonic() - finished > SHARD_SECONDS
                if shard is None and (late or any(w.is_full() for w in writers)):
                    for writer in writers:  # Together: half of what a row needs is worth nothing.
                        writer.finish()
                    finished = time.monotonic()
            if done > first_done:
                self._paces.append((time.monotonic() - began) / (done - first_done))
            progress("writing activations", 0, 0)
        return total

    @cached_property
    def _paces(self) -> list[float]:
        return []

    @property
    def pace(self) -> float:
        """Seconds that a view took in this process, reading it included; 0 where nobody knows."""
        return max(self._paces, default=0.0)

    @cached_property
    def _compiled(self) -> dict[tuple[tuple[str, ...], int], forward.Forward]:
        return {}

    def _forward(self, names: tuple[str, ...], size: int, examples: int) -> forward.Forward:
        """Compiled once for the outputs `names` and batches of `size`, however many parts."""
        if (names, size) not in self._compiled:
            tensors = [tensor for name in names for tensor in self.outputs[name].tensors]
            self._compiled[names, size] = forward.Forward(
                self.network, tensors, size, examples if self.engines else 0
            )
        return self._compiled[names, size]

    @property
    def engine(self) -> str:
        """What else than the backend computed something here; empty if nothing."""
        return next((run.engine for run in self._compiled.values() if run.engine), "")

    def __getstate__(self) -> dict[str, Any]:
        """What it was made with, and nothing that was opened."""
        return {name: vars(self)[name] for name in self.__dataclass_fields__}

    @cached_property
    def taps(self) -> list[taps.Tap]:
        """Those of the network, from the bottom up."""
        return taps_of(self.model, self.network)

    def _open(self, name: str, block: str | None) -> Output:
        """Pooled features or taps where `block` is None, else the activations before it."""
        wanted, said = self.network, f"{self.model.pooling} pooled"
        if block:
            wanted, said = cut(self.model, self.network, block).prefix, f"before {block}"
        elif name == "taps":
            wanted = taps.tapped(self.network, self.taps)
            said = f"taps {', '.join(tap.name for tap in self.taps)}"
        dtype: DType = self.dtype if block else "float32"
        meaning = {
            "backbone": self.model.backbone,
            "weights": network_digest(wanted),
            "preset": sha256_of_each(files_below(self.model.directory / "preset")),
            "output": said,
            "preprocessing": MODALITIES[self.model.modality].giants.contract(self.model),
            "dtype": dtype,
            "version": VERSION,
        }
        tensors = stored_as(wanted, dtype)
        store = Activations.open(self.root, key_of(meaning), tensors, meaning)
        return Output(list(wanted.outputs), store)
