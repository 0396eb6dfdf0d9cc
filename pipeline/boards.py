"""The runs as TensorBoard lists them, under names that a person can read.

```
STORE/tensorboard/RUN_ID/
    events.out.tfevents…     HPARAMS: what differs from the defaults, and the test figures
    fine_tune/               → the curves of the stage's artifact: train/, validation/
    control.train_from_scratch/
STORE/tensorboard/RUN_ID.stopped/   the same of a run that did not end: stopped, failed, killed
```
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec

from etils import epy

from models.quiet import import_tensorflow

with epy.lazy_imports():
    from tensorboard.compat.proto import event_pb2, summary_pb2
    from tensorboard.plugins.hparams import summary_v2
    from tensorboard.summary.writer import event_file_writer

# Where a stage that trains writes its curves, in its artifact.
CURVES = "tensorboard"


P = ParamSpec("P")


def _never_in_the_way(act: Callable[P, None]) -> Callable[P, None]:
    """What is only to be looked at must not end a run, such as where there are no links."""

    @functools.wraps(act)
    def tried(*args: P.args, **kwargs: P.kwargs) -> None:
        with contextlib.suppress(OSError):
            act(*args, **kwargs)

    return tried


class Boards:
    """One run's folder.

    Args:
        root: the store.
    """

    def __init__(self, root: Path, run_id: str) -> None:
        self._root, self._run_id = root / CURVES, run_id

    @property
    def directory(self) -> Path:
        return self._root / self._run_id

    @_never_in_the_way
    def link(self, name: str, artifact: Path) -> None:
        """Show the curves of the stage `name`, which writes or has written into `artifact`."""
        self.unlink(name)
        self.directory.mkdir(parents=True, exist_ok=True)
        link = self.directory / name
        link.symlink_to(os.path.relpath(artifact / CURVES, self.directory))

    @_never_in_the_way
    def unlink(self, name: str) -> None:
        """There are no curves of this stage."""
        link = self.directory / name
        if link.is_dir() and not link.is_symlink():
            shutil.rmtree(link)
        link.unlink(missing_ok=True)

    @_never_in_the_way
    def keep(self, name: str) -> None:
        """Copy the curves of a stage, whose folder will not stay as it is."""
        link = self.directory / name
        if not link.is_symlink():
            return
        curves = link.resolve()
        link.unlink()
        if curves.is_dir():
            shutil.copytree(curves, link)

    @_never_in_the_way
    def write(self, settings: Mapping[str, Any], figures: Mapping[str, float]) -> None:
        """The settings and what they came to, for the tab HPARAMS."""
        if not self.directory.is_dir():
            return  # Nothing was trained.
        import_tensorflow()  # TensorBoard writes with it.
        plain = {name: _plain(value) for name, value in settings.items()}
        writer = event_file_writer.EventFileWriter(str(self.directory))
        summaries = [summary_v2.hparams_pb(plain, trial_id=self._run_id)]
        summaries += [
            summary_pb2.Summary(
                value=[summary_pb2.Summary.Value(tag=f"test/{name}", simple_value=value)]
            )
            for name, value in figures.items()
        ]
        for summary in summaries:
            writer.add_event(event_pb2.Event(summary=summary, wall_time=time.time(), step=0))
        writer.close()

    def discard(self) -> None:
        """Nothing was computed, and there is nothing to be seen that an earlier run has not."""
        shutil.rmtree(self.directory, ignore_errors=True)

    @_never_in_the_way
    def abort(self, how: str) -> None:
        """Keep what there is of a run that did not end, under a name that says so.

        The stage that was at work has no artifact, and whoever goes on writes into its folder.
        """
        if not self.directory.is_dir():
            return
        for link in list(self.directory.iterdir()):
            if not (link.resolve().parent / "artifact.json").exists():
                self.keep(link.name)
        if any(self.directory.iterdir()):
            self.directory.rename(self._root / f"{self._run_id}.{how}")
        else:
            self.directory.rmdir()


def _plain(value: Any) -> Any:
    """HPARAMS are numbers, truths and texts."""
    return value if isinstance(value, bool | int | float | str) else str(value)
