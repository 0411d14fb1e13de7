"""A zip archive as a stream: files stored as they are, sizes of any length (APPNOTE 4.3, 4.5.3).

Nothing is compressed, which images would not gain from; a file's size and checksum come after it.
"""

from __future__ import annotations

import zipfile
from collections.abc import AsyncIterator, Iterable
from typing import IO, cast

from gantry_gateway.outgoing import Made

# A date for every file: the same objects make the same archive.
_DATE = (1980, 1, 1, 0, 0, 0)
_DIRECTORY_FLUSH = 1 << 16
_REGULAR_FILE = 0o100644 << 16


class _Outlet:
    """A file that can only be written to; what was written is taken away in between."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._written.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""

    def take(self) -> bytes:
        taken = b"".join(self._written)
        self._written.clear()
        return taken


async def zip_stream(names: Iterable[str], files: AsyncIterator[Made]) -> AsyncIterator[bytes]:
    """Yield an archive of ``files``, which come in the order of their ``names``."""
    outlet = _Outlet()
    archive = zipfile.ZipFile(cast("IO[bytes]", outlet), "w", zipfile.ZIP_STORED)
    for name in names:
        made = await anext(files)
        entry = zipfile.ZipInfo(name, _DATE)
        entry.external_attr = _REGULAR_FILE
        is_whole = isinstance(made.data, bytes)
        with archive.open(entry, "w", force_zip64=not is_whole) as file:
            if isinstance(made.data, bytes):
                file.write(made.data)
            else:
                async for chunk in made.data:
                    file.write(chunk)
                    yield outlet.take()
        yield outlet.take()
    archive.close()
    directory = outlet.take()
    for position in range(0, len(directory), _DIRECTORY_FLUSH):
        yield directory[position : position + _DIRECTORY_FLUSH]
