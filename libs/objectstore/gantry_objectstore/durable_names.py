"""Names that outlive a power failure: a synced file is renamed, and its directory synced."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from gantry_objectstore.directory_syncs import DirectorySyncs

MAX_KNOWN_DIRECTORIES = 4096


class DurableNames:
    """Gives files their names below ``root``. Safe for threads."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._syncs = DirectorySyncs()
        self._durable: dict[Path, None] = {}

    def publish(self, temporary: Path, path: Path, *, create: bool) -> None:
        """Give a synced file its name, durably.

        Raises ``FileExistsError`` when there is one already and ``create`` is asked for, and ``OSError``.
        """
        try:
            self.give(temporary, path, create=create)
        except FileExistsError:
            # Whoever lost the race acts on the other's object: it must not vanish again.
            self._syncs.sync(path.parent)
            raise
        self._syncs.sync(path.parent)

    def give(self, temporary: Path, path: Path, *, create: bool) -> None:
        """Give a synced file its name; durable when its directory is synced after. Raises as ``publish``."""
        self._ensure_durable(path.parent)
        try:
            if create:
                # rename would replace what is there, link never does.
                os.link(temporary, path)
                temporary.unlink()
            else:
                temporary.rename(path)
        except FileExistsError:
            raise
        except (FileNotFoundError, IsADirectoryError):
            # Somebody took the directory away under us; the next put makes it again.
            self._durable.pop(path.parent, None)
            raise OSError(errno.EIO, "the name cannot be given") from None

    def sync(self, directories: Iterable[Path]) -> None:
        """Make what was done in ``directories`` durable. Raises ``OSError``."""
        for directory in directories:
            self._syncs.sync(directory)

    def _ensure_durable(self, directory: Path) -> None:
        """Create a directory and make its name, and those of its parents, durable once."""
        if directory in self._durable:
            return
        if directory != self._root:
            self._ensure_durable(directory.parent)
            directory.mkdir(mode=0o750, exist_ok=True)
            self._syncs.sync(directory.parent)
        if len(self._durable) >= MAX_KNOWN_DIRECTORIES:
            self._durable.clear()
        self._durable[directory] = None
