"""The digests of files that have not changed since they were read last.

```
STORE/digests/LOCATION.json      (its sha256) path → size, mtime_ns, ctime_ns, inode, sha256
```

Nobody can set a file's ctime: one that was swapped for another of the same size and mtime has a
new one. A file that changed in the last moments before it was read could change again within the
same tick of the clock, and is not trusted.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components import files

# Coarser than the clock of any file system that is in use.
_YOUNG_NS = 2_000_000_000
_Stamp = tuple[int, int, int, int]


@dataclass(frozen=True)
class Hashes:
    """The sha256 of files, of those that changed alone where there is a folder to keep them in.

    Attributes:
        directory: of what is known; None for nothing.
        read_all: trust nothing that is known.
        say: is told where what is known is damaged.
    """

    directory: Path | None = None
    read_all: bool = False
    say: Callable[[str], None] = lambda _: None

    def of(self, location: str, paths: Sequence[Path]) -> list[str]:
        """The sha256 of each file; a file that cannot be read has an empty one.

        Args:
            location: of all of them, by which they are kept.
        """
        if self.directory is None:
            return files.sha256_of_each(paths, files.MOST_BYTES)
        file = self.directory / f"{files.sha256_of_json(location)[:32]}.json"
        known = {} if self.read_all else self._read(file)
        began = time.time_ns()
        stamps = list(map(_stamp, paths))
        names = list(map(str, paths))
        found = {
            name: known[name][4]
            for name, stamp in zip(names, stamps, strict=True)
            if stamp and name in known and tuple(known[name][:4]) == stamp
        }
        new = [path for path, name in zip(paths, names, strict=True) if name not in found]
        digests = dict(zip(map(str, new), files.sha256_of_each(new, files.MOST_BYTES), strict=True))
        if new or len(known) != len(found):
            kept = {
                name: [*stamp, digest]
                for name, stamp in zip(names, stamps, strict=True)
                if (digest := found.get(name) or digests[name])
                and stamp
                and max(stamp[1:3]) < began - _YOUNG_NS
            }
            with suppress(OSError):  # It only saves time.
                self.directory.mkdir(parents=True, exist_ok=True)
                files.write_json(file, kept, indent=None)
        return [found.get(name) or digests[name] for name in names]

    def _read(self, file: Path) -> dict[str, list[Any]]:
        """What is known; nothing where it cannot be read, which is said."""
        if not file.exists():
            return {}
        try:
            known: dict[str, list[Any]] = json.loads(file.read_bytes())
            if all(len(row) == 5 and len(row[4]) == 64 for row in known.values()):
                return known
        except (OSError, ValueError, AttributeError, TypeError):
            pass
        self.say(f"{file} is damaged, so every file is read again")
        return {}


# Nothing is known of any file.
READ_ALL = Hashes()


def _stamp(path: Path) -> _Stamp | None:
    """None where there is nothing."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
