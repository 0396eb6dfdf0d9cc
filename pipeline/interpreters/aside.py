"""The interpreter of the flow that tries it out beside the store."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.artifacts import Artifact
from components.job import Job
from components.section import BeamConfig
from pipeline.interpreters.base import Interpreter, Invocation
from pipeline.store import Store


class NotQuick(Exception):
    """A stage would take long, or write what all runs share; says which."""


@dataclass(frozen=True)
class Aside(Interpreter):
    """Reuses what the store has, and computes what is quick in a folder of its own.

    Nothing is written into the store: whoever holds that is not disturbed.

    Attributes:
        directory: for what is computed; it is nobody else's.
        is_quick: whether a call may be computed.
        made: what was, by its fingerprint.
    """

    store: Store
    directory: Path
    is_quick: Callable[[Invocation], bool]
    made: dict[str, Artifact] = field(default_factory=dict)

    def interpret(self, asked: Invocation) -> Any:
        """The stage's artifact.

        Raises:
            NotQuick: it is not there, and may not be computed.
        """
        call = asked.call
        found = self.made.get(call.fingerprint) or self.store.find(call)
        if found is None and not self.is_quick(asked):
            raise NotQuick(call.stage)
        return found or self._compute(asked)

    def _compute(self, asked: Invocation) -> Artifact:
        call = asked.call
        place = self.directory / call.fingerprint
        shutil.rmtree(place, ignore_errors=True)
        for each in ("artifact", "scratch"):
            (place / each).mkdir(parents=True)
        job = Job(
            directory=place / "artifact",
            activations=self.store.activations,
            scratch=place / "scratch",
            beam=BeamConfig(),
        )
        with contextlib.redirect_stdout(io.StringIO()):
            made: Artifact = asked.stage(job, *asked.args, **asked.kwargs)
        # What comes after it is another call where it is another one.
        made = made.model_copy(update={"digest": call.fingerprint})
        self.made[call.fingerprint] = made
        return made
