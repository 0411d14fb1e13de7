"""Private files and secrets in a state folder; where the wheels keep their programs."""

from __future__ import annotations

import importlib.util
import os
import secrets
from pathlib import Path

from gantry_embedded.errors import CannotRun


def private_folder(folder: Path) -> Path:
    """Create the folder (and its parents) with access for its owner only."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def write_private(file: Path, text: str) -> None:
    """Replace a file by one that only its owner can read (0600), atomically."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
    temporary.replace(file)


def secret(file: Path, size: int = 24) -> str:
    """Return the secret in ``file`` (hex), generated on the first call."""
    if not file.exists():
        write_private(file, secrets.token_hex(size))
    return file.read_text().strip()


def package_folder(name: str) -> Path:
    """Return where an installed package lies, without running its code. Raises ``CannotRun``."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise CannotRun(f"the package {name} is not installed: install gantry-libs[embedded]")
    return Path(found.origin).parent
