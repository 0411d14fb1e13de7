"""What is destroyed, what forbids it, and what is left when the process dies in the middle."""

from __future__ import annotations

import time
from datetime import timedelta
from io import BytesIO

import pytest
from gantry.amendment.v1.amendment_pb2 import (
    AMENDMENT_KIND_HIDE,
    AMENDMENT_KIND_PURGE,
    AMENDMENT_KIND_RESTORE,
    AmendedReception,
    Amendment,
)
from gantry.index.v1.index_pb2 import VERDICT_STATE_DUPLICATE, VERDICT_STATE_INDEXED
from gantry.retention.v1.retention_pb2 import (
    HOLD_SCOPE_PATIENT,
    HOLD_SCOPE_STUDY,
    Hold,
    HoldLift,
)
from gantry_dicom.errors import Conflict, NotFound, Unavailable
from gantry_index.amendments import apply_amendment
from gantry_index.purging import gone_keys
from gantry_objectstore.amendments import read_amendment, write_amendment
from gantry_objectstore.certificates import CertificateLedger, name_of
from gantry_objectstore.histories import read_history
from gantry_objectstore.holds import Held, HoldLedger
from gantry_objectstore.keys import amendment_scope, header_key, parse_amendment_key
from gantry_objectstore.retention_keys import PURGING_PREFIX
from gantry_storage.retention import purging as module
from gantry_storage.retention.purging import Orderer, PurgeTerms, Purging
from pydicom import dcmread

ADMIN = Orderer("admin", "a request of the patient")
DAY = 86_400


class Archive:
    """A study in the store and the index, with an indexer that applies amendments at once."""

    def __init__(self, store, sealer, pool, database, receptions):
        self.store, self.sealer, self.pool, self.database = store, sealer, pool, database
        self.receptions = receptions
        self.study_uid = receptions[0].study_instance_uid
        self.keys = sorted(line.object_key for line in receptions)
        self.holds = HoldLedger(store, sealer)
        self.certificates = CertificateLedger(store, sealer)
        terms = PurgeTerms(timedelta(days=30), timedelta(days=35), ("file:///objects",), ("s3://replica",))
        self.purging = Purging(store, sealer, pool, self.apply, terms)

    async def apply(self, key):
        amendment = await read_amendment(self.store, key, self.sealer)
        await apply_amendment(self.pool, amendment, parse_amendment_key(key).scope)
        return True

    async def amend(self, kind, **fields):
        amendment = Amendment(
            partition="main", study_instance_uid=self.study_uid, kind=kind, principal="doctor", **fields
        )
        await self.apply(await write_amendment(self.store, amendment, self.sealer))
        return amendment

    async def delete(self, *receptions, days_ago=0, **fields):
        return await self.amend(
            AMENDMENT_KIND_HIDE,
            reason="a mistake",
            made_at_us=round((time.time() - days_ago * DAY) * 1e6),
            receptions=[
                AmendedReception(
                    object_key=line.object_key,
                    series_instance_uid=line.series_instance_uid,
                    sop_instance_uid=line.sop_instance_uid,
                )
                for line in receptions or self.receptions
            ],
            **fields,
        )

    async def hold(self, **fields):
        known = {"scope": HOLD_SCOPE_STUDY, "study_instance_uid": self.study_uid} | fields
        return await self.holds.place(Hold(partition="main", reason="court", **known))

    async def lift(self, hold):
        await self.holds.lift(HoldLift(partition="main", hold=hold.hold, reason="over"))

    async def purge(self, **options):
        return await self.purging.purge("main", self.study_uid, ADMIN, **options)

    async def there(self):
        found = []
        for key in self.keys:
            try:
                await self.store.head(key)
            except NotFound:
                continue
            found.append(key)
        return found

    async def notes(self):
        return [info.key async for info in self.store.list(PURGING_PREFIX)]


@pytest.fixture
async def archive(parts, store, sealer, front, database):
    *receptions, twin = await front.store(1, 2, 3, 1)
    await front.receiver.close()
    for line in (*receptions, twin):
        await database.execute(
            "INSERT INTO reception (object_key, partition, store_id, order_key, study_uid, series_uid,"
            " sop_uid, sop_class_uid, transfer_syntax_uid, size, meta_length, data_set_digest, state,"
            " source, received_at)"
            " VALUES ($1, 'main', 's', $1, $2, $3, $4, '', '', $5, $6, $7, $8, '', now())",
            *(line.object_key, line.study_instance_uid, line.series_instance_uid, line.sop_instance_uid),
            *(line.size, line.meta_length, line.data_set_digest),
            VERDICT_STATE_DUPLICATE if line is twin else VERDICT_STATE_INDEXED,
        )
    archive = Archive(store, sealer, parts.pool, database, receptions)
    archive.twin = twin
    return archive


async def test_what_was_deleted_goes_after_its_grace_with_a_certificate(archive):
    deletion = await archive.delete(days_ago=31)
    [certificate] = await archive.purge()
    assert await archive.there() == []
    assert await archive.notes() == []
    assert await gone_keys(archive.pool, archive.keys) == set(archive.keys)
    assert certificate == await archive.certificates.read("main", name_of(certificate))
    assert await archive.certificates.newest("main", 10, archive.study_uid) == [certificate]
    assert await archive.certificates.newest("main", 10, "1.2") == []
    assert (certificate.deleted_by, certificate.ordered_by) == ("doctor", "admin")
    assert (certificate.deletion_revision, certificate.purge_revision) == (deletion.revision, 2)
    lines = {line.object_key: line for line in archive.receptions}
    for one in certificate.objects:
        line = lines.pop(one.object_key)
        assert (one.size, one.data_set_digest, one.copies) == (line.size, line.data_set_digest, 1)
        assert one.sop_instance_uid == line.sop_instance_uid
    assert lines == {}
    kept = certificate.backups_until_us - certificate.ended_at_us
    assert (kept, list(certificate.backups)) == (35 * DAY * 10**6, ["s3://replica"])
    with pytest.raises(NotFound):
        await archive.purge(without_grace=True)


async def test_nothing_goes_within_the_grace_unless_an_administrator_says_so(archive):
    await archive.delete(days_ago=29)
    with pytest.raises(NotFound):
        await archive.purge()
    assert len(await archive.there()) == 3
    await archive.purge(without_grace=True)
    assert await archive.there() == []


async def test_a_clock_that_has_jumped_ahead_ends_no_grace(archive, monkeypatch):
    await archive.delete(days_ago=1)
    a_year_on = time.time() + 365 * DAY
    with monkeypatch.context() as patch:
        patch.setattr(module.time, "time", lambda: a_year_on)
        with pytest.raises(NotFound):
            await archive.purge()
    assert len(await archive.there()) == 3


async def test_what_was_not_deleted_or_was_restored_stays(archive):
    with pytest.raises(NotFound):
        await archive.purge(without_grace=True)
    await archive.delete(days_ago=90)
    await archive.amend(AMENDMENT_KIND_RESTORE, undoes=1)
    await archive.delete(archive.receptions[0], days_ago=90)
    await archive.purge()
    assert await archive.there() == sorted(line.object_key for line in archive.receptions[1:])


@pytest.mark.parametrize("kind", ["study", "patient"])
async def test_a_hold_forbids_it_until_it_is_lifted(archive, kind):
    await archive.delete(days_ago=90)
    fields = {}
    if kind == "patient":
        data = await archive.store.get(archive.keys[0])
        fields = {"scope": HOLD_SCOPE_PATIENT, "patient_id": patient_in(data)}
    hold = await archive.hold(**fields)
    with pytest.raises(Held, match=hold.hold):
        await archive.purge(without_grace=True)
    assert len(await archive.there()) == 3
    history = await read_history(archive.store, archive.sealer, "main", amendment_scope(archive.study_uid))
    assert [each.kind for each in history] == [AMENDMENT_KIND_HIDE]
    await archive.lift(hold)
    await archive.purge()
    assert await archive.there() == []


async def test_a_hold_that_comes_in_the_middle_stops_it_and_the_rest_goes_when_it_is_lifted(
    archive, monkeypatch
):
    await archive.delete(days_ago=90)
    monkeypatch.setattr(module, "_GROUP", 1)
    placed = []
    destroy = module.destroy

    async def place_then_destroy(store, key):
        copies = await destroy(store, key)
        if not placed:
            placed.append(await archive.hold())
        return copies

    monkeypatch.setattr(module, "destroy", place_then_destroy)
    with pytest.raises(Held):
        await archive.purge()
    assert len(await archive.there()) == 2
    assert await archive.purging.resume() == 1
    assert len(await archive.there()) == 2
    await archive.lift(placed[0])
    assert await archive.purging.resume() == 0
    assert await archive.there() == []
    [certificate] = await archive.certificates.newest("main", 10)
    assert sorted(one.object_key for one in certificate.objects) == archive.keys
    assert sorted(one.copies for one in certificate.objects) == [0, 1, 1]


@pytest.mark.parametrize("dies_at", ["first-object", "certificate"])
async def test_a_process_that_dies_in_the_middle_leaves_what_the_next_one_finishes(
    archive, monkeypatch, dies_at
):
    await archive.delete(days_ago=90)

    async def die(*_):
        raise Unavailable("killed")

    with monkeypatch.context() as patch:
        if dies_at == "first-object":
            patch.setattr(module, "destroy", die)
        else:
            patch.setattr(CertificateLedger, "write", die)
        with pytest.raises(Unavailable):
            await archive.purge()
    # Whoever restores now is too late, and sees nothing half there.
    await archive.amend(AMENDMENT_KIND_RESTORE, undoes=1)
    assert await archive.purging.resume() == 0
    assert await archive.there() == []
    assert await archive.notes() == []
    [certificate] = await archive.certificates.newest("main", 10)
    assert len(certificate.objects) == 3
    assert await archive.purging.resume() == 0


async def test_who_asks_again_after_a_crash_gets_the_certificate_of_what_was_begun(archive, monkeypatch):
    await archive.delete(archive.receptions[0], days_ago=90)

    async def die(*_):
        raise Unavailable("killed")

    with monkeypatch.context() as patch:
        patch.setattr(CertificateLedger, "write", die)
        with pytest.raises(Unavailable):
            await archive.purge()
    await archive.delete(archive.receptions[1], days_ago=90)
    certificates = await archive.purge()
    assert [one.object_key for each in certificates for one in each.objects] == [
        line.object_key for line in archive.receptions[:2]
    ]
    assert await archive.purging.resume() == 0
    with pytest.raises(NotFound):
        await archive.purge()


async def test_one_who_restores_in_the_same_moment_wins_or_loses_but_never_by_half(archive, monkeypatch):
    await archive.delete(days_ago=90)
    write = module.write_amendment

    async def restored_first(store, amendment, sealer):
        if amendment.kind == AMENDMENT_KIND_PURGE:
            await archive.amend(AMENDMENT_KIND_RESTORE, undoes=1)
        return await write(store, amendment, sealer)

    monkeypatch.setattr(module, "write_amendment", restored_first)
    assert await archive.purge() == []
    assert len(await archive.there()) == 3
    assert await gone_keys(archive.pool, archive.keys) == set()


async def test_a_note_that_leads_nowhere_goes(archive, store):
    await archive.delete(days_ago=90)
    monkey = module.purging_key("main", amendment_scope(archive.study_uid), 1)
    await store.put(monkey, b"purging\n")
    assert await archive.purging.resume() == 1
    store.wait(601)
    assert await archive.purging.resume() == 0
    assert len(await archive.there()) == 3


async def test_nothing_goes_while_index_or_manifest_say_otherwise(archive):
    await archive.delete(days_ago=90)
    await archive.database.execute("UPDATE reception SET state = 2 WHERE object_key = $1", archive.keys[0])
    with pytest.raises(Unavailable):
        await archive.purge()
    assert len(await archive.there()) == 3
    assert await archive.notes() == []


async def test_corrected_headers_go_with_their_object(archive):
    header = header_key(archive.keys[0], b"corrected", 10)
    await archive.store.put(header, b"corrected")
    await archive.delete(days_ago=90)
    await archive.purge()
    with pytest.raises(NotFound):
        await archive.store.head(header)


async def test_a_duplicate_goes_only_when_its_survivor_is_whole(archive):
    first = archive.receptions[0]
    whole = await archive.store.get(first.object_key)
    await archive.delete(archive.twin, days_ago=90, policy="duplicates")
    await archive.store.put(first.object_key, whole[:-1] + b"\xff")
    with pytest.raises(Conflict, match="not whole"):
        await archive.purge()
    await archive.store.delete(first.object_key)
    with pytest.raises(Conflict, match="not whole"):
        await archive.purge()
    await archive.store.head(archive.twin.object_key)
    await archive.store.put(first.object_key, whole)
    [certificate] = await archive.purge()
    assert [one.object_key for one in certificate.objects] == [archive.twin.object_key]
    assert await archive.there() == archive.keys


async def test_a_duplicate_stays_when_nothing_is_shown_in_its_place(archive):
    await archive.delete(archive.twin, days_ago=90, policy="duplicates")
    await archive.delete(archive.receptions[0])
    with pytest.raises(Conflict, match="nothing is shown"):
        await archive.purge()


def patient_in(data):
    return str(dcmread(BytesIO(data)).PatientID)
