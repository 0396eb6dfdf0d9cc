"""Whatever bytes a reader of ours is given, it says one thing of ours, or uses them.

    pip install atheris                          # for Linux and macOS alone, so not in the lock
    python -m tests.chaos.fuzz photos --minutes 10

Guided by the coverage of our own modules (libFuzzer). What breaks one is left in the folder of
`--findings`, and becomes a test in `test_readers`.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import atheris

OURS = (
    "components.examples",
    "components.files",
    "components.modalities",
    "components.served",
    "pipeline.config",
)


def main() -> None:
    with atheris.instrument_imports(include=[*OURS]):
        from tests.chaos.readers import READERS

    parser = argparse.ArgumentParser(prog="python -m tests.chaos.fuzz", description=__doc__)
    parser.add_argument("reader", choices=READERS)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--findings", default=".")
    asked = parser.parse_args()
    reader = READERS[asked.reader]
    with tempfile.TemporaryDirectory(prefix="fuzz-") as directory:
        seeds, place = Path(directory) / "seeds", Path(directory) / "place"
        seeds.mkdir()
        place.mkdir()
        for number, seed in enumerate(reader.seeds()):
            (seeds / f"{number}").write_bytes(seed)
        options = [
            f"-max_total_time={round(60 * asked.minutes)}",
            f"-artifact_prefix={asked.findings}/{asked.reader}-",
            *("-max_len=20000", "-timeout=30", "-rss_limit_mb=6000", "-print_final_stats=1"),
        ]
        atheris.Setup(["fuzz", *options, str(seeds)], lambda raw: reader.read(raw, place))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
