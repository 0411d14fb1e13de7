"""What this library needs of the object store and of seals; ``gantry_objectstore`` has both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from google.protobuf.message import Message

M = TypeVar("M", bound=Message)


class Listed(Protocol):
    """An object in a listing."""

    @property
    def key(self) -> str:
        """Return the whole key."""
        ...

    @property
    def last_modified(self) -> datetime:
        """Return when it was written last, by the store's own clock (UTC)."""
        ...


class Store(Protocol):
    """Objects under keys, as ``gantry_objectstore.protocol.ObjectStore`` has them."""

    async def put(self, key: str, data: bytes, *, create: bool = False) -> None:
        """Store an object; with ``create`` raises ``Conflict`` where one is already."""
        ...

    async def get(self, key: str) -> bytes:
        """Return an object. Raises ``NotFound``."""
        ...

    async def delete(self, key: str) -> None:
        """Delete an object; one that is not there is fine."""
        ...

    def list(self, prefix: str) -> AsyncIterator[Listed]:
        """Yield what lies under ``prefix``, in no order to rely on."""
        ...

    async def list_folders(self, prefix: str) -> Sequence[str]:
        """Return the names of the next segment under ``prefix``."""
        ...


class Seals(Protocol):
    """Seals records and opens them again, as ``gantry_objectstore.sealing.Sealer`` does."""

    def seal(self, message: Message) -> bytes:
        """Return the sealed record."""
        ...

    def open(self, data: bytes, kind: type[M]) -> M:
        """Return the record. Raises ``Conflict`` when the seal is not ours."""
        ...
