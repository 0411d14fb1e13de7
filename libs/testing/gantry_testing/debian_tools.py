"""Programs that only a Debian package brings; tests that need them carry a marker of the same name."""

from __future__ import annotations

import os
import shutil
import sysconfig

# Marker: (Debian package, a program that tells whether it is installed).
PACKAGES = {
    "dcmtk": ("dcmtk", "dcmdump"),
    "chromium": ("chromium", "chromium"),
    "prometheus": ("prometheus", "promtool"),
}


def find_program(name: str) -> str | None:
    """Return the path of an installed program, None if there is none.

    Our own environment is left out: pynetdicom brings a ``storescu`` that is not DCMTK's.
    """
    own = os.path.realpath(sysconfig.get_path("scripts"))
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return shutil.which(
        name, path=os.pathsep.join(folder for folder in folders if os.path.realpath(folder) != own)
    )


def is_installed(marker: str) -> bool:
    """Tell whether the package behind a marker is there."""
    return find_program(PACKAGES[marker][1]) is not None
