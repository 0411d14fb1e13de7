"""Objects in more than one store: the one they are received into, and others for what is cold.

A key is the same in every store, so whoever reads one need not know where it is: it is looked for
where it was received, then elsewhere, and remembered. Only received objects ever lie elsewhere;
records, journal and notes are always in the first store.
"""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from urllib.parse import urlsplit

from gantry_dicom.errors import NotFound

from gantry_objectstore.errors import SettingsError
from gantry_objectstore.keys import OBJECT_PREFIX
from gantry_objectstore.protocol import STREAM_CHUNK_BYTES, Buffer, Data, ObjectInfo, ObjectStore
from gantry_objectstore.settings import StoreSettings
from gantry_objectstore.store import open_store

# Keys of which it is remembered in which store they were found last.
_REMEMBERED = 100_000
_AVAILABILITIES = ("ONLINE", "NEARLINE", "OFFLINE")
_ONLINE = _AVAILABILITIES[0]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Tier:
    """A store beside the first: its id, how well its objects can be had (PS3.3 C.4.23.1.1), its URL."""

    store_id: str
    availability: str
    url: str


def parse_tiers(text: str, first: str) -> tuple[Tier, ...]:
    """Return the tiers of ``id:AVAILABILITY:url;id:...``; ``first`` is the id of the first store.

    Raises ``SettingsError``.
    """
    found: list[Tier] = []
    for item in filter(None, (part.strip() for part in text.split(";"))):
        store_id, _, rest = item.partition(":")
        availability, _, url = rest.partition(":")
        known = {first, *(tier.store_id for tier in found)}
        if not store_id or store_id in known or availability not in _AVAILABILITIES:
            raise SettingsError("tiers are id:ONLINE|NEARLINE|OFFLINE:url;... with different ids")
        if urlsplit(url).scheme not in ("file", "s3"):
            raise SettingsError("the store of a tier is s3://... or file:///...")
        found.append(Tier(store_id, availability, url))
    return tuple(found)


def availabilities(tiers: Sequence[Tier], first: str) -> dict[str, str]:
    """Return how well objects can be had by store id; empty without tiers: everything is online then."""
    return {first: _ONLINE, **{tier.store_id: tier.availability for tier in tiers}} if tiers else {}


def open_tiers(
    url: str, store_id: str, tiers: Sequence[Tier], *, options: StoreSettings | None = None
) -> ObjectStore:
    """Return the store at ``url``, with the tiers behind it when there are any. Raises ``SettingsError``.

    The credentials of ``options`` are those of every store.
    """
    store = open_store(url, options=options)
    if not tiers:
        return store
    others = {tier.store_id: open_store(tier.url, options=options) for tier in tiers}
    return TieredStore(store_id, store, others)


def stores_of(store: ObjectStore) -> builtins.list[ObjectStore]:
    """Return the stores that a store consists of, the first one first."""
    return list(store.stores.values()) if isinstance(store, TieredStore) else [store]


class TieredStore:
    """One object store made of several."""

    def __init__(self, store_id: str, first: ObjectStore, others: Mapping[str, ObjectStore]) -> None:
        self.stores: dict[str, ObjectStore] = {store_id: first, **others}
        self._first = first
        self._found: dict[str, ObjectStore] = {}

    async def put(self, key: str, data: Data, *, create: bool = False) -> None:
        """See ``ObjectStore``."""
        await self._first.put(key, data, create=create)
        # What was just put is what is read, also where another store has an object of this name.
        self._found.pop(key, None)

    async def put_large(self, key: str, source: AsyncIterable[Buffer]) -> int:
        """See ``ObjectStore``."""
        return await self._first.put_large(key, source)

    async def get(self, key: str) -> bytes:
        """See ``ObjectStore``."""
        return await self._where_it_is(key, lambda store: store.get(key))

    async def get_prefix(self, key: str, length: int) -> bytes:
        """See ``ObjectStore``."""
        return await self._where_it_is(key, lambda store: store.get_prefix(key, length))

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """See ``ObjectStore``."""
        return await self._where_it_is(key, lambda store: store.get_range(key, offset, length))

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> builtins.list[bytes]:
        """See ``ObjectStore``."""
        return await self._where_it_is(key, lambda store: store.get_ranges(key, ranges))

    async def stream(
        self, key: str, offset: int = 0, length: int | None = None, chunk: int = STREAM_CHUNK_BYTES
    ) -> AsyncIterator[bytes]:
        """See ``ObjectStore``."""
        candidates = self._candidates(key)
        for number, store in enumerate(candidates):
            begun = False
            try:
                async for piece in store.stream(key, offset, length, chunk):
                    if not begun:
                        self._remember(key, store)
                    begun = True
                    yield piece
            except NotFound:
                if begun or number == len(candidates) - 1:
                    raise
            else:
                return

    async def head(self, key: str) -> ObjectInfo:
        """See ``ObjectStore``."""
        return await self._where_it_is(key, lambda store: store.head(key))

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """See ``ObjectStore``; of a received object that lies in two stores while it moves, one is given."""
        if not _may_lie_elsewhere(prefix):
            async for info in self._first.list(prefix):
                yield info
            return
        seen: set[str] = set()
        for store in self.stores.values():
            async for info in store.list(prefix if store is self._first else prefix or OBJECT_PREFIX):
                if info.key not in seen:
                    seen.add(info.key)
                    yield info

    async def list_folders(self, prefix: str) -> Sequence[str]:
        """See ``ObjectStore``."""
        found = set(await self._first.list_folders(prefix))
        if prefix.startswith(OBJECT_PREFIX):
            for store in self.stores.values():
                found |= set(await store.list_folders(prefix))
        return sorted(found)

    async def delete(self, key: str) -> None:
        """See ``ObjectStore``; a received object goes from every store."""
        for store in self.stores.values() if _may_lie_elsewhere(key) else [self._first]:
            await store.delete(key)
        self._found.pop(key, None)

    async def now(self) -> datetime:
        """See ``ObjectStore``."""
        return await self._first.now()

    async def close(self) -> None:
        """See ``ObjectStore``."""
        for store in self.stores.values():
            await store.close()

    async def _where_it_is(self, key: str, read: Callable[[ObjectStore], Awaitable[T]]) -> T:
        candidates = self._candidates(key)
        for store in candidates[:-1]:
            try:
                found = await read(store)
            except NotFound:
                continue
            self._remember(key, store)
            return found
        found = await read(candidates[-1])
        self._remember(key, candidates[-1])
        return found

    def _candidates(self, key: str) -> builtins.list[ObjectStore]:
        if not _may_lie_elsewhere(key):
            return [self._first]
        found = self._found.get(key)
        if found is None:
            return list(self.stores.values())
        return [found, *(store for store in self.stores.values() if store is not found)]

    def _remember(self, key: str, store: ObjectStore) -> None:
        if store is self._first:
            self._found.pop(key, None)
            return
        if len(self._found) >= _REMEMBERED:
            self._found.clear()
        self._found[key] = store


def _may_lie_elsewhere(key: str) -> bool:
    """Whether a key or prefix is of received objects, or of everything."""
    return key.startswith(OBJECT_PREFIX) or not key
