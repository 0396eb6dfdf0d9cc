"""What the image promises: no root, and nothing is written but the store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

# In mounts of its own: everything read-only but a store in memory; then as who the image runs as.
# A Python that only root can reach is put where others can.
ALONE = """
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755,uid=10001 none /mnt
mkdir /mnt/store /mnt/python
mount --bind "$PYTHON" /mnt/python
case "$PYTHON" in /root/*)
    mount -t tmpfs -o mode=755 none /root
    mkdir -p "$PYTHON"
    mount --bind /mnt/python "$PYTHON" ;;
esac
umount /mnt/python
chown 10001 /mnt/store
for place in / /tmp /var "$CODE"; do
    mount --bind "$place" "$place"
    mount -o remount,ro,bind "$place"
done
cd /mnt/store
exec setpriv --reuid 10001 --regid 0 --clear-groups env -i HOME=/ PATH=/usr/bin:/bin "$@"
"""


def test_the_image_has_no_root() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("USER")][-1].split()[1] == "10001:0"


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_run_writes_to_the_store_alone(tmp_path: Path) -> None:
    if os.geteuid() or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("only root may mount, and not everywhere")
    (tmp_path / "alone.sh").write_text(ALONE)
    done = subprocess.run(
        [
            *("unshare", "-m", "bash", str(tmp_path / "alone.sh"), sys.executable),
            *(str(ROOT / "run_pipeline.py"), "run", "digits", "--store", "/mnt/store"),
            *("--data.labels-per-class", "12", "--head.epochs", "2", "--head.features", "last"),
            *("--fine-tune.epochs", "0", "--pretrain.epochs", "1", "--control.enabled", "false"),
            *("--pretrain.data.labels-per-class", "12", "--bless.no-beat-trivial"),
        ],
        env=os.environ | {"PYTHON": sys.base_prefix, "CODE": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "pushed  /mnt/store/serving/digits/1" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "Read-only" not in done.stderr


def test_the_bill_of_materials_of_the_image() -> None:
    command = [sys.executable, "-m", "components.served.sbom"]
    told = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)
    names = {each["name"] for each in told["components"]}
    assert {"tensorflow", "pytest", "python"} <= names
    assert "python -m components.served.sbom" in (ROOT / "Dockerfile").read_text()
