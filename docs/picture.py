"""A report as a small picture for the README: `python docs/picture.py REPORT docs/report.png`.

Needs Chromium.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

WIDTH, HEIGHT, SCALE = 1000, 1330, 1.0
COLOURS = 64


def main(report: Path, output: Path) -> None:
    """Take a picture of the upper part of the page."""
    with tempfile.TemporaryDirectory() as directory:
        shot = Path(directory) / "shot.png"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        flags += [f"--user-data-dir={directory}/profile", f"--force-device-scale-factor={SCALE}"]
        flags += [f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={shot}"]
        page = report.resolve().as_uri()
        subprocess.run(["chromium", *flags, page], check=True, capture_output=True)
        picture = Image.open(shot).convert("RGB")
    picture.quantize(COLOURS).save(output, optimize=True)
    print(f"{output}: {output.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
