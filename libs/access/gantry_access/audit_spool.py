"""The durable local spool of one writer's access events, until they are in the bucket.

::

    <folder>/<writer>/lock           held by the writer while it lives
    <folder>/<writer>/<n>.events     segment n: framed events, as they came
    <folder>/<writer>/<n>.batch      the sealed batch that segment n became
    <folder>/<writer>/<n>.done       the last batch that is in the bucket: the chain's end

A segment becomes its batch by one rename, so that after a crash each event is in exactly one
record. A folder whose lock nobody holds belongs to whoever takes it.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from gantry.access.v1.access_pb2 import AccessBatch, AccessRecord
from google.protobuf.message import DecodeError

from gantry_access.audit_chain import CLOSED, Link, chain, digest_of
from gantry_access.storage import Seals

_FRAME = struct.Struct("<II")


def frame(event: AccessRecord) -> bytes:
    """Return the event as it lies in a segment: length, checksum, bytes."""
    data = event.SerializeToString()
    return _FRAME.pack(len(data), zlib.crc32(data)) + data


class SpoolFolder:
    """The folder of one writer, locked by this process. Methods block."""

    def __init__(self, folder: Path, lock: int) -> None:
        self.path = folder
        self.writer = folder.name
        self._lock = lock

    @classmethod
    def make(cls, folder: Path) -> SpoolFolder:
        """Return a new folder. Raises ``OSError``, also when there is one of that name."""
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(mode=0o700)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        # Nobody can want it so soon but a process that looks for what the dead have left.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock).st_nlink == 0:
            os.close(lock)
            raise FileNotFoundError(folder)
        sync_folder(folder)
        sync_folder(folder.parent)
        return cls(folder, lock)

    @classmethod
    def take(cls, folder: Path) -> SpoolFolder | None:
        """Return a folder that a dead process left, or ``None`` when somebody has it or it is gone."""
        try:
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return None
        # Whoever had it may have removed it before letting it go.
        if os.fstat(lock).st_nlink == 0:
            os.close(lock)
            return None
        return cls(folder, lock)

    def open_segment(self) -> int:
        """Return the descriptor of a new, empty segment that a crash does not lose."""
        path = self.path / f"{self._last_number() + 1:08d}.events"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        sync_folder(self.path)
        return descriptor

    def segments(self) -> list[Path]:
        """Return the segments that have not become batches, in order."""
        return sorted(self.path.glob("*.events"))

    def batches(self) -> list[Path]:
        """Return the batches that are not in the bucket yet, in order."""
        return sorted(self.path.glob("*.batch"))

    def size(self) -> int:
        """Return how many bytes wait here."""
        return sum(path.stat().st_size for path in (*self.segments(), *self.batches()))

    def make_batch(self, segment: Path, sealer: Seals, closing: AccessRecord | None = None) -> None:
        """Turn a finished segment into a sealed batch, and ``closing`` into its last record."""
        target = segment.with_suffix(".batch")
        if not target.exists() and not segment.with_suffix(".done").exists():
            events = list(read_segment(segment))
            records, _ = chain([*events, closing] if closing else events, self.end(sealer))
            if records:
                batch = AccessBatch(writer=self.writer, records=records)
                _write_durably(target, sealer.seal(batch))
        segment.unlink()
        sync_folder(self.path)

    def end(self, sealer: Seals) -> Link:
        """Return where the chain ends so far. Raises ``BadSeal`` for a batch that is not ours."""
        last = self._last_record(sealer)
        return Link(last.sequence, digest_of(last)) if last else Link()

    def is_closed(self, sealer: Seals) -> bool:
        """Whether the chain has its last record. Raises ``BadSeal``."""
        last = self._last_record(sealer)
        return last is not None and last.operation == CLOSED

    def read_batch(self, path: Path, sealer: Seals) -> tuple[bytes, int]:
        """Return a batch as it is sealed, and the number of its first record. Raises ``BadSeal``."""
        sealed = path.read_bytes()
        return sealed, sealer.open(sealed, AccessBatch).records[0].sequence

    def delivered(self, batch: Path) -> None:
        """Remember that a batch is in the bucket; the one before it is needed no longer."""
        earlier = list(self.path.glob("*.done"))
        batch.rename(batch.with_suffix(".done"))
        sync_folder(self.path)
        for path in earlier:
            path.unlink()

    def remove(self) -> None:
        """Remove the folder: everything is in the bucket and nothing more will come."""
        for path in self.path.iterdir():
            if path.name != "lock":
                path.unlink()
        # The lock last: a folder without one would be nobody's for ever.
        (self.path / "lock").unlink()
        self.path.rmdir()
        os.close(self._lock)

    def let_go(self) -> None:
        """Leave the folder for another process to deliver."""
        os.close(self._lock)

    def _last_record(self, sealer: Seals) -> AccessRecord | None:
        made = sorted([*self.path.glob("*.batch"), *self.path.glob("*.done")], key=lambda path: path.stem)
        return sealer.open(made[-1].read_bytes(), AccessBatch).records[-1] if made else None

    def _last_number(self) -> int:
        return max((int(path.stem) for path in self.path.glob("[0-9]*.*") if path.stem.isdigit()), default=0)


def read_segment(path: Path) -> Iterator[AccessRecord]:
    """Yield the events of a segment up to a torn end: what lies behind was never acknowledged."""
    data = path.read_bytes()
    at = 0
    while at + _FRAME.size <= len(data):
        length, checksum = _FRAME.unpack_from(data, at)
        at += _FRAME.size
        body = data[at : at + length]
        if len(body) != length or zlib.crc32(body) != checksum:
            return
        try:
            yield AccessRecord.FromString(body)
        except DecodeError:
            return
        at += length


def orphans(folder: Path, own: str) -> list[Path]:
    """Return the folders of other writers, dead or alive."""
    return sorted(path.parent for path in folder.glob("*/lock") if path.parent.name != own)


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_durably(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    sync_folder(path.parent)
