"""The sweeper: batches whose receiver is gone get a manifest, and nobody else's do."""

from __future__ import annotations

import asyncio

import pytest
from gantry.reception.v1.reception_pb2 import JournalEntry, ManifestWriter, Outcome
from gantry_dicom.errors import Conflict
from gantry_objectstore.keys import journal_key, manifest_key, new_batch_id, object_key
from gantry_objectstore.records import read_journal, read_manifest, write_journal
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.store import open_store
from gantry_storage import recovery
from gantry_storage.bootstrap import make_parts
from gantry_storage.entrypoints.worker import sweep
from gantry_testing.builders import file_of, identified

LEASE, MARGIN = 120.0, 30.0
ACKNOWLEDGED, REFUSED = Outcome.OUTCOME_ACKNOWLEDGED, Outcome.OUTCOME_REFUSED


async def manifest_of(store, sealer, batch, partition="main"):
    return await read_manifest(store, manifest_key(partition, batch), sealer)


async def test_a_dead_receivers_batch_gets_the_manifest_it_would_have_written(parts, store, sealer, front):
    receptions = await front.store(1, 2, 3)
    await front.die()
    store.wait(LEASE + MARGIN + 1)
    assert await parts.sweeper.sweep() == 1
    manifest = await manifest_of(store, sealer, receptions[0].batch)
    assert manifest.writer == ManifestWriter.MANIFEST_WRITER_SWEEPER
    assert manifest.partition == "main"
    for line, reception in zip(manifest.receptions, receptions, strict=True):
        expected = type(line)()
        expected.CopyFrom(reception)
        # What only the receiver knew, or the object's date says otherwise.
        expected.ClearField("source")
        expected.received_at_us = line.received_at_us
        assert line == expected


async def test_a_batch_is_left_alone_during_its_lease_and_margin(parts, store, sealer, front):
    await front.store(1)
    store.wait(LEASE + MARGIN - 1)
    assert await parts.sweeper.sweep() == 0
    store.wait(2)
    assert await parts.sweeper.sweep() == 1
    await front.die()


async def test_a_batch_with_a_manifest_is_left_alone_for_ever(parts, store, sealer, front):
    (reception,) = await front.store(1)
    await front.receiver.close()
    store.wait(10 * LEASE)
    assert await parts.sweeper.sweep() == 0
    manifest = await manifest_of(store, sealer, reception.batch)
    assert manifest.writer == ManifestWriter.MANIFEST_WRITER_RECEIVER


async def test_what_the_gate_refuses_by_now_was_acknowledged_all_the_same(parts, store, sealer, front):
    (good,) = await front.store(1)
    await front.die()
    broken = object_key("main", good.batch, 2)
    await store.put(broken, file_of(identified(2))[:-3])
    store.wait(LEASE + MARGIN + 1)
    await parts.sweeper.sweep()
    manifest = await manifest_of(store, sealer, good.batch)
    assert [(line.object_key, line.outcome) for line in manifest.receptions] == [
        (good.object_key, ACKNOWLEDGED),
        (broken, ACKNOWLEDGED),
    ]
    assert list(manifest.receptions[1].warnings) == ["gate-failed", "truncated"]


async def test_an_object_that_breaks_the_gate_stays_acknowledged_and_spares_its_neighbours(
    parts, store, sealer, front, monkeypatch
):
    receptions = await front.store(1, 2, 3)
    await front.die()

    def fragile(buffer):
        if bytes(receptions[1].sop_instance_uid, "ascii") in buffer:
            raise RecursionError
        return admit(buffer)

    admit = recovery.admit
    monkeypatch.setattr(recovery, "admit", fragile)
    store.wait(LEASE + MARGIN + 1)
    await parts.sweeper.sweep()
    lines = (await manifest_of(store, sealer, receptions[0].batch)).receptions
    assert [line.outcome for line in lines] == [ACKNOWLEDGED] * 3
    assert [list(line.warnings) for line in lines] == [[], ["gate-failed"], []]


async def test_two_sweepers_at_once_write_one_manifest(settings, parts, store, sealer, front):
    receptions = await front.store(*range(1, 6))
    await front.die()
    store.wait(LEASE + MARGIN + 1)
    rival = make_parts(settings, store=store)
    await asyncio.gather(parts.sweeper.sweep(), rival.sweeper.sweep())
    manifest = await manifest_of(store, sealer, receptions[0].batch)
    assert len(manifest.receptions) == 5
    await rival.publisher.close()
    await rival.pool.close()


async def test_an_empty_batch_gets_an_empty_manifest(parts, store, sealer):
    batch = new_batch_id()
    await write_journal(store, JournalEntry(batch=batch, partition="main"), sealer)
    store.wait(LEASE + MARGIN + 1)
    assert await parts.sweeper.sweep() == 1
    assert not (await manifest_of(store, sealer, batch)).receptions


async def test_a_late_object_is_in_the_manifest_of_the_entry_that_names_it(
    journal_of, parts, store, sealer, front, monkeypatch
):
    # The process ends before it writes another manifest.
    monkeypatch.setattr(front.receiver._manifests, "submit", lambda manifest: None)
    placement = await front.place(1)
    front.clock.now += LEASE
    reception = await front.receiver.acknowledge(placement)
    late = [key for key in await journal_of(store) if key != journal_key(reception.batch)]
    assert len(late) == 1
    entry = await read_journal(store, late[0], sealer)
    await front.die()
    store.wait(LEASE + MARGIN + 1)
    await parts.sweeper.sweep()
    manifest = await manifest_of(store, sealer, entry.batch)
    assert [line.object_key for line in manifest.receptions] == [reception.object_key]
    assert manifest.receptions[0].batch == reception.batch


async def test_the_sweeper_and_a_live_batch_lose_nothing_between_them(
    decide, journal_of, parts, store, sealer, front, database
):
    """Design review 1.1: an object put while, and acknowledged after, its batch is swept."""
    early = await front.store(1, 2, 3)
    slow = await front.place(4)
    # The process stands still for three leases; the sweeper takes the batch meanwhile.
    front.clock.now += 3 * LEASE
    store.wait(3 * LEASE)
    await parts.sweeper.sweep()
    await decide(database, early)
    await decide(database, [slow.line.reception])
    await parts.finishing.run_once()
    assert await journal_of(store) == []
    # It goes on, and answers success.
    reception = await front.receiver.acknowledge(slow)
    assert reception.object_key == slow.line.reception.object_key
    entries = [await read_journal(store, key, sealer) for key in await journal_of(store)]
    assert [list(entry.late_object_keys) for entry in entries] == [[reception.object_key]]
    await front.receiver.close()


async def test_a_forged_journal_entry_is_left_and_stops_nobody(journal_of, parts, store, sealer, front):
    (reception,) = await front.store(1)
    await front.die()
    batch = new_batch_id()
    stranger = Sealer.from_text("test:" + "00" * 32)
    await write_journal(store, JournalEntry(batch=batch, partition="main"), stranger)
    await store.put("j/zz/no-batch", b"")
    store.wait(LEASE + MARGIN + 1)
    assert await parts.sweeper.sweep() == 1
    assert journal_key(batch) in await journal_of(store)
    assert (await manifest_of(store, sealer, reception.batch)).receptions


async def test_manifests_are_written_while_postgresql_and_redis_are_down(
    settings, store, sealer, front, free_port
):
    (reception,) = await front.store(1)
    await front.die()
    store.wait(LEASE + MARGIN + 1)
    nowhere = {
        "index_dsn": f"postgresql://nobody@127.0.0.1:{free_port}/none",
        "redis_url": f"redis://127.0.0.1:{free_port}/0",
    }
    parts = make_parts(settings.model_copy(update=nowhere), store=store)
    await sweep(parts)
    assert len((await manifest_of(store, sealer, reception.batch)).receptions) == 1
    await parts.publisher.close()
    await parts.pool.close()


async def test_the_other_of_two_processes_does_not_sweep(settings, parts, store, front):
    await front.store(1)
    await front.die()
    store.wait(LEASE + MARGIN + 1)
    rival = make_parts(settings, store=store)
    assert await rival.lock.hold()
    await sweep(parts)
    assert await parts.sweeper.sweep() == 1
    await rival.lock.release()
    await rival.publisher.close()
    await rival.pool.close()


async def test_the_same_holds_on_s3(late_store, s3_url, settings, sealer, front, monkeypatch):
    settings = settings.model_copy(update={"store_url": s3_url})
    store = late_store(open_store(s3_url))
    front.receiver._store = store
    receptions = await front.store(1, 2)
    await front.die()
    parts = make_parts(settings, store=store)
    assert await parts.sweeper.sweep() == 0
    store.wait(LEASE + MARGIN + 2)
    assert await parts.sweeper.sweep() == 1
    lines = (await manifest_of(store, sealer, receptions[0].batch)).receptions
    assert [line.data_set_digest for line in lines] == [line.data_set_digest for line in receptions]
    with pytest.raises(Conflict):
        await store.put(manifest_key("main", receptions[0].batch), b"another", create=True)
    await parts.close()
