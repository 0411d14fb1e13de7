"""The shared pack of real DICOM files: where it is and what its manifest says.

The pack is not part of the repository. It lies beside the repository's root in
``../shared/data``, or where ``GANTRY_DATA_PACK`` points. Where it is missing, tests that
need it are skipped with the reason; with ``CI=true`` or ``GANTRY_REQUIRE_ALL=1`` that is an
error, so that no run in which everything must be covered passes without it.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gantry_dicom.errors import NotFound

_REPOSITORY = Path(__file__).resolve().parents[3]


class DataPackMissing(NotFound):
    """The pack is required but not there."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file of the pack.

    ``cls`` is ``good``, ``odd``, ``broken`` or ``hostile``; ``entry`` is the manifest's entry
    (its keys are explained in the pack's README).
    """

    path: Path
    name: str
    cls: str
    entry: Mapping[str, Any]

    def read(self) -> bytes:
        """Return the file's bytes."""
        return self.path.read_bytes()

    def __str__(self) -> str:
        return self.name


def locate() -> Path | None:
    """Return the pack's folder, or ``None`` when this machine has none."""
    configured = os.environ.get("GANTRY_DATA_PACK")
    folder = Path(configured) if configured else _REPOSITORY.parent / "shared" / "data"
    return folder if (folder / "manifest.json").is_file() else None


def everything_required() -> bool:
    """Tell whether a test that cannot run must fail instead of being skipped."""
    return os.environ.get("CI", "").lower() == "true" or os.environ.get("GANTRY_REQUIRE_ALL") == "1"


def require() -> Path:
    """Return the pack's folder; without it skip the caller's test or module.

    Raises ``DataPackMissing`` instead of skipping when everything is required.
    """
    folder = locate()
    if folder is not None:
        return folder
    reason = "the shared data pack is not beside the repository; set GANTRY_DATA_PACK to its folder"
    if everything_required():
        raise DataPackMissing(reason)
    pytest.skip(reason, allow_module_level=True)


def files(cls: str | None = None) -> list[DataFile]:
    """Return the pack's files in the manifest's order, of one class or all.

    Skips or raises like ``require`` when the pack is missing.
    """
    return [file for file in _read(require()) if cls is None or file.cls == cls]


@functools.cache
def _read(folder: Path) -> tuple[DataFile, ...]:
    manifest = json.loads((folder / "manifest.json").read_bytes())
    return tuple(
        DataFile(path=folder / entry["file"], name=entry["file"], cls=entry["cls"], entry=entry)
        for entry in manifest["files"]
    )
