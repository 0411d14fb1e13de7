"""``file://``: the same keys as files below one folder, durable before a put returns.

A put writes a temporary file, syncs it, gives it its name and syncs the directory; a new
directory is made durable in its parents first. Puts that wait go in groups (``GroupedPuts``), and
several groups share a directory's sync (``DirectorySyncs``). ADR 0013 has the figures, and why not
``syncfs``: it would wait for the dirty pages of whatever else lives on the file system.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import itemgetter
from pathlib import Path
from stat import S_ISREG
from typing import ParamSpec, TypeVar

from gantry_dicom.errors import Conflict, NotFound, Unavailable
from gantry_telemetry.logs import get_logger

from gantry_objectstore.directory_syncs import fsync_directory
from gantry_objectstore.durable_names import DurableNames
from gantry_objectstore.errors import OutOfRange
from gantry_objectstore.grouped_puts import GroupedPuts, new_temporary, write_all
from gantry_objectstore.instruments import OPERATIONS
from gantry_objectstore.keys import check_key, check_prefix
from gantry_objectstore.protocol import STREAM_CHUNK_BYTES, Buffer, Data, ObjectInfo, parts_of
from gantry_objectstore.settings import StoreSettings

# No key begins with a dot, so nothing in there is ever an object.
TEMPORARY = ".tmp"
# Up to here bytes in the page cache are read without a thread: 262 kB take 30 us, the hop 75 us;
# for 526 kB the two buffers cost more than the hop.
INLINE_READ_BYTES = 256 * 1024

P = ParamSpec("P")
T = TypeVar("T")
log = get_logger(__name__)


class FileStore:
    """Objects as files below ``root``, which is created when missing."""

    def __init__(self, root: Path, settings: StoreSettings) -> None:
        self.root = root.absolute()
        self._temporaries = self.root / TEMPORARY
        # Writers wait for the disk; readers must not wait behind them.
        self._writers = ThreadPoolExecutor(settings.file_writers, thread_name_prefix="store-write")
        self._readers = ThreadPoolExecutor(settings.file_readers, thread_name_prefix="store-read")
        self._names = DurableNames(self.root)
        self._puts = GroupedPuts(self._temporaries, self._names, self._writers, settings.file_lanes)
        with _outcome("open"):
            self._temporaries.mkdir(parents=True, exist_ok=True)

    async def put(self, key: str, data: Data, *, create: bool = False) -> None:
        """See ``ObjectStore.put``."""
        path = self.root / check_key(key)
        with _outcome("create" if create else "put"):
            await self._puts.put(path, parts_of(data), create=create)

    async def put_large(self, key: str, source: AsyncIterable[Buffer]) -> int:
        """See ``ObjectStore.put_large``."""
        path = self.root / check_key(key)
        temporary, descriptor = await self._write("upload", new_temporary, self._temporaries)
        try:
            try:
                async for buffer in source:
                    await self._write("upload", write_all, descriptor, parts_of(buffer))
                size = os.fstat(descriptor).st_size
                await self._write("upload", os.fdatasync, descriptor)
            finally:
                os.close(descriptor)
            await self._write("upload", self._names.publish, temporary, path, create=False)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return size

    async def get(self, key: str) -> bytes:
        """See ``ObjectStore.get``."""
        return await self._read("get", _read_file, self.root / check_key(key), 0, None)

    async def get_prefix(self, key: str, length: int) -> bytes:
        """See ``ObjectStore.get_prefix``."""
        return await self._range(self.root / check_key(key), 0, length)

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """See ``ObjectStore.get_range``."""
        found = await self._range(self.root / check_key(key), offset, length)
        if len(found) != length:
            raise OutOfRange("the range ends beyond the object")
        return found

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """See ``ObjectStore.get_ranges``."""
        return [await self.get_range(key, offset, length) for offset, length in ranges]

    async def stream(
        self, key: str, offset: int = 0, length: int | None = None, chunk: int = STREAM_CHUNK_BYTES
    ) -> AsyncIterator[bytes]:
        """See ``ObjectStore.stream``; the object may be deleted while it is streamed."""
        descriptor = await self._read("get-range", _open, self.root / check_key(key))
        try:
            size = os.fstat(descriptor).st_size
            end = size if length is None else offset + length
            if end > size or offset > size:
                raise OutOfRange("the range ends beyond the object")
            while offset < end:
                step = min(chunk, end - offset)
                data = _read_cached(descriptor, offset, step) if step <= INLINE_READ_BYTES else None
                if data is None:
                    data = await self._read("get-range", _read_descriptor, descriptor, offset, step)
                if not data:
                    raise OutOfRange("the object has become shorter")
                yield data
                offset += len(data)
        finally:
            os.close(descriptor)

    async def head(self, key: str) -> ObjectInfo:
        """See ``ObjectStore.head``."""
        status = await self._read("head", os.stat, self.root / check_key(key))
        if not S_ISREG(status.st_mode):
            raise NotFound("no such object")
        return _info(key, status)

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """See ``ObjectStore.list``."""
        check_prefix(prefix)
        for folder, name, status in await self._entries(prefix):
            key = f"{prefix}{name}"
            if not folder:
                yield _info(key, status)
            else:
                async for info in self.list(f"{key}/"):
                    yield info

    async def list_folders(self, prefix: str) -> Sequence[str]:
        """See ``ObjectStore.list_folders``."""
        check_prefix(prefix)
        return [name for folder, name, _ in await self._entries(prefix) if folder]

    async def delete(self, key: str) -> None:
        """See ``ObjectStore.delete``."""
        await self._write("delete", self._delete, self.root / check_key(key))

    async def now(self) -> datetime:
        """Return the time that the file system gives a file written now."""
        return await self._write("now", self._now)

    async def close(self) -> None:
        """Wait for what is being written."""
        await asyncio.to_thread(self._writers.shutdown)
        self._readers.shutdown(wait=False)

    async def sweep_temporaries(self, older_than: timedelta) -> int:
        """Delete what puts that never ended have left; return how many."""
        return await self._write("sweep", self._sweep, older_than)

    async def _write(self, operation: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        with _outcome(operation):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._writers, partial(function, *args, **kwargs))

    async def _read(self, operation: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        with _outcome(operation):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._readers, partial(function, *args, **kwargs))

    async def _range(self, path: Path, offset: int, length: int) -> bytes:
        if length <= 0:
            return b""
        if length <= INLINE_READ_BYTES:
            with _outcome("get-range"):
                descriptor = _open(path)
                try:
                    data = _read_cached(descriptor, offset, length)
                finally:
                    os.close(descriptor)
            if data is not None:
                return data
        return await self._read("get-range", _read_file, path, offset, length)

    async def _entries(self, prefix: str) -> Sequence[tuple[bool, str, os.stat_result]]:
        try:
            return await self._read("list", _scan, self.root / prefix)
        except NotFound:
            return []

    def _delete(self, path: Path) -> None:
        try:
            path.unlink()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return
        self._names.sync([path.parent])

    def _now(self) -> datetime:
        temporary, descriptor = new_temporary(self._temporaries)
        try:
            return _modified(os.fstat(descriptor))
        finally:
            os.close(descriptor)
            temporary.unlink(missing_ok=True)

    def _sweep(self, older_than: timedelta) -> int:
        limit = self._now() - older_than
        count = 0
        for path in self._temporaries.iterdir():
            with suppress(FileNotFoundError):
                if _modified(path.stat()) < limit:
                    path.unlink()
                    count += 1
        fsync_directory(self._temporaries)
        return count


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)


def _read_cached(descriptor: int, offset: int, length: int) -> bytes | None:
    """Return the bytes when all of them are in the page cache, else None: the disk is for a thread."""
    buffer = bytearray(length)
    try:
        read = os.preadv(descriptor, [buffer], offset, os.RWF_NOWAIT)
    except (BlockingIOError, OSError) as error:
        if error.errno in (errno.EAGAIN, errno.EOPNOTSUPP):
            return None
        raise
    return bytes(buffer) if read == length else None


def _read_file(path: Path, offset: int, length: int | None) -> bytes:
    descriptor = _open(path)
    try:
        wanted = os.fstat(descriptor).st_size if length is None else length
        return _read_descriptor(descriptor, offset, wanted)
    finally:
        os.close(descriptor)


def _read_descriptor(descriptor: int, offset: int, length: int) -> bytes:
    pieces = []
    while length > 0:
        # One call reads at most 2 GiB.
        piece = os.pread(descriptor, min(length, 1 << 30), offset)
        if not piece:
            break
        pieces.append(piece)
        offset += len(piece)
        length -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _scan(folder: Path) -> list[tuple[bool, str, os.stat_result]]:
    """Return ``(is folder, name, status)`` of every entry by name."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                # An entry may go while we look.
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    found.append((entry.is_dir(follow_symlinks=False), entry.name, status))
    return sorted(found, key=itemgetter(1))


def _modified(status: os.stat_result) -> datetime:
    return datetime.fromtimestamp(status.st_mtime, UTC)


def _info(key: str, status: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, status.st_size, _modified(status))


@contextmanager
def _outcome(operation: str) -> Iterator[None]:
    """Time an operation and say its failure in our own errors."""
    begun = time.perf_counter()
    outcome = "cancelled"
    try:
        yield
        outcome = "ok"
    except FileExistsError:
        outcome = "refused"
        raise Conflict("an object with this key exists") from None
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        outcome = "missing"
        raise NotFound("no such object") from None
    except OSError as error:
        outcome = "failed"
        log.warning(
            "store_operation_failed", action=operation, error=errno.errorcode.get(error.errno or 0, "")
        )
        raise Unavailable("the object store's disk does not take or give it") from error
    finally:
        OPERATIONS.labels("file", operation, outcome).observe(time.perf_counter() - begun)
