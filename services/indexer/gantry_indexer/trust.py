"""Redis is untrusted: a request is believed only if the object store vouches for its key.

The seal says that one of ours wrote the request; a sealed message could still be replayed
from another deployment's dump, or name an object that was refused. So the key has to lie
under a journal entry or a manifest that exists, in the partition that the record says.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from gantry.index.v1.index_pb2 import IndexRequest
from gantry.reception.v1.reception_pb2 import Outcome
from gantry_dicom.errors import NotFound
from gantry_objectstore.errors import BadKey, BadSeal
from gantry_objectstore.keys import journal_key, manifest_key, parse_object_key
from gantry_objectstore.records import read_journal, read_manifest
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.store import ObjectStore

# A batch's record is believed so long: a journal entry may become a manifest that refuses lines.
KEPT_SECONDS = 20.0
KEPT_BATCHES = 4_096


@dataclass(frozen=True, slots=True)
class _Voucher:
    """What a batch's record says."""

    partition: str
    refused: frozenset[str]
    read_at: float


class Trust:
    """Asks the object store, once a batch and a while, which keys are known to it."""

    def __init__(self, store: ObjectStore, sealer: Sealer) -> None:
        self._store = store
        self._sealer = sealer
        self._vouchers: dict[str, _Voucher] = {}

    async def doubts(self, requests: Sequence[IndexRequest]) -> list[str]:
        """Return for each request why it is not believed; empty for those that are.

        Raises ``Unavailable`` when the object store does not answer.
        """
        batches = {request.reception.batch: request.partition for request in requests}
        stale = time.monotonic() - KEPT_SECONDS
        missing = [
            (batch, partition)
            for batch, partition in batches.items()
            if (known := self._vouchers.get(batch)) is None or known.read_at < stale
        ]
        found = await asyncio.gather(*(self._read(batch, partition) for batch, partition in missing))
        vouchers = {batch: self._vouchers.get(batch) for batch in batches}
        vouchers |= {batch: voucher for (batch, _), voucher in zip(missing, found, strict=True)}
        self._keep(vouchers)
        return [_doubt(request, vouchers[request.reception.batch]) for request in requests]

    async def _read(self, batch: str, partition: str) -> _Voucher | None:
        """Return what the batch's journal entry or manifest says; ``None`` when there is none."""
        now = time.monotonic()
        try:
            entry = await read_journal(self._store, journal_key(batch), self._sealer)
        except NotFound:
            pass  # swept or closed: then there is a manifest
        except (BadKey, BadSeal):
            return None
        else:
            return _Voucher(entry.partition, frozenset(), now)
        try:
            manifest = await read_manifest(self._store, manifest_key(partition, batch), self._sealer)
        except (NotFound, BadKey, BadSeal):
            return None
        refused = frozenset(
            line.object_key for line in manifest.receptions if line.outcome == Outcome.OUTCOME_REFUSED
        )
        return _Voucher(manifest.partition, refused, now)

    def _keep(self, vouchers: dict[str, _Voucher | None]) -> None:
        if len(self._vouchers) > KEPT_BATCHES:
            self._vouchers.clear()
        self._vouchers.update({batch: voucher for batch, voucher in vouchers.items() if voucher is not None})


def _doubt(request: IndexRequest, voucher: _Voucher | None) -> str:
    reception = request.reception
    try:
        place = parse_object_key(reception.object_key)
    except BadKey:
        return "bad-key"
    if (place.partition, place.batch, place.ordinal) != (
        request.partition,
        reception.batch,
        reception.ordinal,
    ):
        return "key-contradicts-request"
    if voucher is None:
        return "no-journal-entry-or-manifest"
    if voucher.partition != request.partition:
        return "partition-contradicts-record"
    if reception.object_key in voucher.refused or reception.outcome == Outcome.OUTCOME_REFUSED:
        return "refused-at-reception"
    return ""
