"""The second phase of a deletion: what was hidden long enough is destroyed, for ever.

The order makes every death of the process harmless. A note under ``x/`` leads to the purge until its
certificate exists; the amendment that makes it final comes before the first byte goes, so that whoever
restores at that moment has either won (nothing is destroyed) or lost (nothing comes back half). Holds
are asked before that amendment and again behind it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from gantry.amendment.v1.amendment_pb2 import AMENDMENT_KIND_HIDE, AMENDMENT_KIND_PURGE, Amendment
from gantry.reception.v1.reception_pb2 import Reception
from gantry.retention.v1.retention_pb2 import Certificate, DestroyedObject
from gantry_dicom.errors import Conflict, GantryError, NotFound, Unavailable
from gantry_index.pools import IndexPool
from gantry_index.purging import still_shown, survivors_of
from gantry_objectstore.amendments import write_amendment
from gantry_objectstore.aside import copies_aside
from gantry_objectstore.certificates import CertificateLedger
from gantry_objectstore.destruction import destroy, rules_that_delete
from gantry_objectstore.histories import read_history, read_lines
from gantry_objectstore.holds import HoldLedger
from gantry_objectstore.keys import AmendmentKey, amendment_scope, header_folder
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.retention_keys import (
    PURGING_PREFIX,
    certificate_name,
    parse_purging_key,
    purging_folder,
    purging_key,
)
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.tombstones import tombstones
from gantry_reception.patients import patients_named
from gantry_telemetry.logs import get_logger

from gantry_storage.retention.instruments import PURGED, PURGED_BYTES, PURGES_OPEN, UNSAFE_RULES
from gantry_storage.retention.policies import DUPLICATES
from gantry_storage.retention.survivors import refuse_doubtful

log = get_logger(__name__)

_NOTE = b"purging\n"
# Objects destroyed at a time, and of one purge between two looks at the holds.
_PARALLEL = 8
_GROUP = 200

# Asks the indexer for the amendment at a key; tells whether Redis took it.
SendAmendment = Callable[[str], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class PurgeTerms:
    """How long a deletion can be undone, how long backups keep what is gone, and where both lie."""

    grace: timedelta
    backups_kept: timedelta
    stores: tuple[str, ...]
    backups: tuple[str, ...] = ()
    # A note whose purge was not begun by then leads nowhere.
    leave_alone: timedelta = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Orderer:
    """Who wants a purge, and why."""

    principal: str
    reason: str


class Purging:
    """Destroys what deletions have hidden. Every method raises ``Unavailable`` when something is down."""

    def __init__(
        self, store: ObjectStore, sealer: Sealer, pool: IndexPool, send: SendAmendment, terms: PurgeTerms
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._pool = pool
        self._send = send
        self._terms = terms
        self._holds = HoldLedger(store, sealer)
        self._certificates = CertificateLedger(store, sealer)
        # One thing at a time: what one purge has begun, another must not take for interrupted.
        self._turn = asyncio.Lock()

    async def purge(
        self, partition: str, study_uid: str, orderer: Orderer, *, without_grace: bool = False
    ) -> list[Certificate]:
        """Destroy what is hidden of a study and return the certificates; purges that were begun first.

        Only deletions whose grace is over, unless ``without_grace``. Raises ``NotFound`` when there
        are none, ``Held``, ``Conflict`` when bucket or index speak against it, and ``BadSeal``.
        """
        await self.refuse_unsafe_bucket()
        scope = amendment_scope(study_uid)
        async with self._turn:
            finished: list[Certificate] = []
            for info in [info async for info in self._store.list(purging_folder(partition, scope))]:
                finished += await self._finish_open(parse_purging_key(info.key)) or []
            history = await read_history(self._store, self._sealer, partition, scope)
            standing = tombstones(history)
            # Of two clocks the one that is behind: one that has jumped ahead must not end a grace.
            now = min(time.time(), (await self._store.now()).timestamp())
            latest = now - (0 if without_grace else self._terms.grace.total_seconds())
            due = [
                each
                for each in history
                if each.kind == AMENDMENT_KIND_HIDE
                and each.made_at_us <= latest * 1e6
                and standing.hidden_by(each.revision)
            ]
            if not due and not finished:
                raise NotFound("nothing of the study is deleted and out of its grace")
            certificates = [await self._purge(history, deletion, orderer) for deletion in due]
        return finished + [certificate for certificate in certificates if certificate is not None]

    async def resume(self) -> int:
        """Go on with purges that were begun; return how many are still open.

        While the bucket could bypass holds, all of them are.
        """
        notes = [info async for info in self._store.list(PURGING_PREFIX)]
        PURGES_OPEN.set(len(notes))
        try:
            if notes:
                await self.refuse_unsafe_bucket()
        except Conflict:
            return len(notes)
        staying = 0
        for info in notes:
            age = await self._store.now() - info.last_modified
            try:
                async with self._turn:
                    is_over = await self._take_up(parse_purging_key(info.key), age)
            except Unavailable:
                raise
            except GantryError as error:
                log.warning("purge_waits", reason=error.detail)
                is_over = False
            if is_over:
                await self._store.delete(info.key)
            else:
                staying += 1
        PURGES_OPEN.set(staying)
        return staying

    async def refuse_unsafe_bucket(self) -> None:
        """Raise ``Conflict`` when a rule of the bucket deletes what a hold may cover."""
        rules = await rules_that_delete(self._store)
        UNSAFE_RULES.set(len(rules))
        if rules:
            log.error("bucket_rules_bypass_holds", count=len(rules))
            names = ", ".join(rules)
            raise Conflict(
                f"nothing is destroyed while lifecycle rules of the bucket delete objects: {names}"
            )

    async def _purge(
        self, history: Sequence[Amendment], deletion: Amendment, orderer: Orderer
    ) -> Certificate | None:
        partition, study_uid = deletion.partition, deletion.study_instance_uid
        keys = tombstones(history).hidden_by(deletion.revision)
        lines = await read_lines(self._store, self._sealer, partition, keys)
        shown = await still_shown(self._pool, keys)
        if shown:
            raise Unavailable("the index does not know the deletion yet")
        await self._refuse_held(deletion, history, lines)
        if deletion.policy == DUPLICATES:
            await refuse_doubtful(self._store, lines, await survivors_of(self._pool, keys))
        note = purging_key(partition, amendment_scope(study_uid), deletion.revision)
        await self._store.put(note, _NOTE)
        purge = Amendment(
            partition=partition,
            study_instance_uid=study_uid,
            kind=AMENDMENT_KIND_PURGE,
            principal=orderer.principal,
            reason=orderer.reason,
            made_at_us=time.time_ns() // 1000,
            purges=deletion.revision,
            policy=deletion.policy,
        )
        await self._send(await write_amendment(self._store, purge, self._sealer))
        certificate = await self._finish(deletion, purge.revision)
        await self._store.delete(note)
        return certificate

    async def _take_up(self, place: AmendmentKey, age: timedelta) -> bool:
        """Finish the purge that a note leads to; tell whether the note can go."""
        return await self._finish_open(place) is not None or age > self._terms.leave_alone

    async def _finish_open(self, place: AmendmentKey) -> list[Certificate] | None:
        """Finish the purge that a note leads to; ``None`` when it was never begun."""
        history = await read_history(self._store, self._sealer, place.partition, place.scope)
        deletion = next((each for each in history if each.revision == place.revision), None)
        purges = [
            each for each in history if each.kind == AMENDMENT_KIND_PURGE and each.purges == place.revision
        ]
        if deletion is None or not purges:
            return None
        certificates = []
        for purge in purges:
            name = certificate_name(place.scope, purge.revision)
            if not await self._certificates.has(place.partition, name, purge.made_at_us):
                certificates.append(await self._finish(deletion, purge.revision))
        return [certificate for certificate in certificates if certificate is not None]

    async def _finish(self, deletion: Amendment, revision: int) -> Certificate | None:
        """Destroy what the purge ``revision`` makes final, and certify it; ``None`` when that is nothing."""
        partition, study_uid = deletion.partition, deletion.study_instance_uid
        scope = amendment_scope(study_uid)
        history = await read_history(self._store, self._sealer, partition, scope)
        purge = next(each for each in history if each.revision == revision)
        keys = tombstones(history).purged_by(revision)
        if not keys:
            return None  # somebody restored it in that moment
        lines = await read_lines(self._store, self._sealer, partition, keys)
        begun_at_us = time.time_ns() // 1000
        destroyed: list[DestroyedObject] = []
        for first in range(0, len(keys), _GROUP):
            await self._refuse_held(deletion, history, {key: lines[key] for key in keys[first:]})
            group = keys[first : first + _GROUP]
            destroyed += await self._destroy([lines[key] for key in group])
        ended = time.time_ns() // 1000
        kept = self._terms.backups_kept
        certificate = Certificate(
            partition=partition,
            study_instance_uid=study_uid,
            deletion_revision=deletion.revision,
            purge_revision=revision,
            deleted_by=deletion.principal,
            deletion_reason=deletion.reason,
            deleted_at_us=deletion.made_at_us,
            ordered_by=purge.principal,
            order_reason=purge.reason,
            policy=deletion.policy,
            begun_at_us=begun_at_us,
            ended_at_us=ended,
            objects=destroyed,
            stores=self._terms.stores,
            backups=self._terms.backups,
            backups_until_us=ended + round(kept.total_seconds() * 1e6) if kept else 0,
        )
        await self._certificates.write(certificate, purge.made_at_us)
        PURGED.inc(len(destroyed))
        PURGED_BYTES.inc(sum(one.size for one in destroyed))
        log.info("study_purged", partition=partition, study_instance_uid=study_uid, count=len(destroyed))
        return certificate

    async def _refuse_held(
        self, deletion: Amendment, history: Sequence[Amendment], lines: dict[str, Reception]
    ) -> None:
        partition = deletion.partition
        patients = (
            await patients_named(self._store, self._sealer, partition, lines.values(), history)
            if await self._holds.has_patient_holds(partition)
            else set()
        )
        studies = {deletion.study_instance_uid, *(line.study_instance_uid for line in lines.values())}
        for study_uid in sorted(studies):
            await self._holds.refuse_held(partition, study_uid, patients)

    async def _destroy(self, lines: Sequence[Reception]) -> list[DestroyedObject]:
        slots = asyncio.Semaphore(_PARALLEL)

        async def one(line: Reception) -> DestroyedObject:
            async with slots:
                # Corrected headers say of the patient what the object says.
                headers = [info.key async for info in self._store.list(header_folder(line.object_key))]
                # And so may damaged bytes that a repair has put aside.
                for key in [*headers, *await copies_aside(self._store, line.object_key)]:
                    await destroy(self._store, key)
                copies = await destroy(self._store, line.object_key)
            return DestroyedObject(
                object_key=line.object_key,
                series_instance_uid=line.series_instance_uid,
                sop_instance_uid=line.sop_instance_uid,
                sop_class_uid=line.sop_class_uid,
                size=line.size,
                data_set_digest=line.data_set_digest,
                copies=copies,
            )

        return list(await asyncio.gather(*map(one, lines)))
