"""Puts of ``file://`` that wait together are made durable together.

Each file of a group is written and its write-back begun; then each is synced, which by then has
little left to do, and all get their names under one sync of the directory. A file alone has two
commits of the file system's journal to itself; a group has few more.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from uuid import uuid4

from gantry_objectstore.durable_names import DurableNames

# What one group holds at most; more is for another thread.
GROUP_PUTS = 64
GROUP_BYTES = 4 << 20
WRITE_BYTES = 8 << 20
# linux/fs.h: begin to write out dirty pages, without waiting.
_SYNC_FILE_RANGE_WRITE = 2

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(slots=True, eq=False)
class _Put:
    path: Path
    parts: Sequence[memoryview]
    create: bool
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]
    temporary: Path | None = None
    descriptor: int | None = None
    error: BaseException | None = None


class GroupedPuts:
    """Writes files to ``temporaries`` and gives them their names, in ``lanes`` groups at a time."""

    def __init__(
        self, temporaries: Path, names: DurableNames, threads: ThreadPoolExecutor, lanes: int
    ) -> None:
        self._temporaries = temporaries
        self._names = names
        self._threads = threads
        self._lanes = lanes
        self._lock = Lock()
        self._waiting: deque[_Put] = deque()
        self._running = 0

    async def put(self, path: Path, parts: Sequence[memoryview], *, create: bool) -> None:
        """Write a file durably, and release ``parts``.

        A put whose caller leaves is done all the same. Raises ``FileExistsError`` as ``create``
        asks for, and ``OSError``.
        """
        loop = asyncio.get_running_loop()
        put = _Put(path, parts, create, loop, loop.create_future())
        with self._lock:
            self._waiting.append(put)
            begins = self._running < self._lanes
            self._running += begins
        if begins:
            self._threads.submit(self._work)
        await put.done

    def _work(self) -> None:
        while group := self._next_group():
            self._write_group(group)
            for loop in {put.loop for put in group}:
                _tell(loop, [put for put in group if put.loop is loop])

    def _next_group(self) -> list[_Put]:
        group: list[_Put] = []
        size = 0
        with self._lock:
            while self._waiting and len(group) < GROUP_PUTS and size < GROUP_BYTES:
                put = self._waiting.popleft()
                size += sum(part.nbytes for part in put.parts)
                group.append(put)
            if not group:
                self._running -= 1
        return group

    def _write_group(self, group: Sequence[_Put]) -> None:
        for put in group:
            self._attempt(put, self._write)
        for put in group:
            self._attempt(put, _sync)
        for put in group:
            self._attempt(put, self._name)
        # Also for a name that was another's already: whoever lost acts on that object.
        named = [put for put in group if put.error is None or isinstance(put.error, FileExistsError)]
        for directory in {put.path.parent for put in named}:
            try:
                self._names.sync([directory])
            except OSError as error:
                for put in named:
                    # Not where the folder itself is what could not be made.
                    if put.path.parent == directory and (put.error is None or directory.is_dir()):
                        put.error = error
        for put in group:
            _clear(put)

    def _attempt(self, put: _Put, step: Callable[[_Put], None]) -> None:
        if put.error is None:
            try:
                step(put)
            except BaseException as error:  # noqa: BLE001 - told to whoever waits for this put
                put.error = error

    def _write(self, put: _Put) -> None:
        put.temporary, put.descriptor = new_temporary(self._temporaries)
        write_all(put.descriptor, put.parts)
        # A hint: what fails here shows in the sync.
        _libc.sync_file_range(
            put.descriptor, ctypes.c_int64(0), ctypes.c_int64(0), ctypes.c_uint(_SYNC_FILE_RANGE_WRITE)
        )

    def _name(self, put: _Put) -> None:
        if put.temporary is not None:
            self._names.give(put.temporary, put.path, create=put.create)
            put.temporary = None


def new_temporary(folder: Path) -> tuple[Path, int]:
    """Create a file in ``folder`` and return its path and descriptor. Raises ``OSError``."""
    temporary = folder / uuid4().hex
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return temporary, os.open(temporary, flags, 0o640)


def write_all(descriptor: int, parts: Sequence[memoryview]) -> None:
    """Write ``parts`` one after the other. Raises ``OSError``."""
    waiting = [part[at : at + WRITE_BYTES] for part in parts for at in range(0, part.nbytes, WRITE_BYTES)]
    while waiting:
        written = os.writev(descriptor, waiting[:16])
        while waiting and written >= waiting[0].nbytes:
            written -= waiting.pop(0).nbytes
        if written:
            waiting[0] = waiting[0][written:]


def _sync(put: _Put) -> None:
    if put.descriptor is not None:
        # The size is metadata that reading needs, so fdatasync writes it too.
        os.fdatasync(put.descriptor)


def _clear(put: _Put) -> None:
    if put.descriptor is not None:
        os.close(put.descriptor)
    if put.temporary is not None:
        put.temporary.unlink(missing_ok=True)
    # Not when this thread gets round to it: the caller may want to close a mapped file now.
    for part in put.parts:
        part.release()


def _tell(loop: asyncio.AbstractEventLoop, puts: Sequence[_Put]) -> None:
    try:
        loop.call_soon_threadsafe(_settle, puts)
    except RuntimeError:
        # The loop is closed: nobody waits any more.
        return


def _settle(puts: Sequence[_Put]) -> None:
    for put in puts:
        if put.done.done():
            continue
        if put.error is None:
            put.done.set_result(None)
        else:
            put.done.set_exception(put.error)
