"""Batches with a manifest: feeding the window and letting the journal entry go."""

from __future__ import annotations

import pytest
from gantry.index.v1.index_pb2 import IndexRequest
from gantry.reception.v1.reception_pb2 import JournalEntry, Lane, Manifest, Outcome, Reception
from gantry_dicom.errors import Unavailable
from gantry_dicom.refusals import Refusal
from gantry_messaging.connections import connect
from gantry_messaging.names import BODY, INDEX_BULK, INDEX_LIVE, INDEX_REPLAY
from gantry_objectstore.keys import BatchIds, manifest_key, object_key
from gantry_objectstore.records import write_journal, write_manifest
from gantry_storage.bootstrap import make_parts

IDS = BatchIds()


async def fed(settings, sealer):
    """Return the requests on the replay stream, in order."""
    async with connect(settings.redis_url) as redis:
        entries = await redis.xrange(INDEX_REPLAY)
    return [sealer.open(fields[BODY], IndexRequest) for _, fields in entries]


async def closed_batch(store, sealer, count, *, partition="main", lane=Lane.LANE_LIVE, outcome=None):
    """Put journal entry and manifest of a batch, without its objects."""
    batch = IDS.new()
    lines = [
        Reception(
            object_key=object_key(partition, batch, ordinal),
            batch=batch,
            ordinal=ordinal,
            lane=lane,
            outcome=outcome or Outcome.OUTCOME_ACKNOWLEDGED,
        )
        for ordinal in range(1, count + 1)
    ]
    await write_journal(store, JournalEntry(batch=batch, partition=partition), sealer)
    await write_manifest(store, Manifest(batch=batch, partition=partition, receptions=lines), sealer)
    return lines


async def test_lines_without_a_verdict_are_fed_and_the_entry_stays(
    journal_of, settings, parts, store, sealer, front
):
    receptions = await front.store(1, 2)
    await front.receiver.close()
    assert await parts.finishing.run_once() == 0
    requests = await fed(settings, sealer)
    assert [request.reception.object_key for request in requests] == [line.object_key for line in receptions]
    assert all(request.reception.lane == Lane.LANE_REPLAY for request in requests)
    assert all(not request.HasField("header") for request in requests)
    assert len(await journal_of(store)) == 1


async def test_the_entry_goes_when_every_line_has_a_standing_verdict(
    decide, journal_of, parts, store, sealer, front, database
):
    receptions = await front.store(1, 2)
    await front.receiver.close()
    await decide(database, receptions[:1])
    assert await parts.finishing.run_once() == 0
    await decide(database, receptions[1:])
    assert await parts.finishing.run_once() == 1
    assert await journal_of(store) == []
    # The manifest stays for ever.
    assert (await store.head(manifest_key("main", receptions[0].batch))).size > 0


async def test_a_pending_verdict_is_none(decide, journal_of, parts, store, front, database):
    receptions = await front.store(1)
    await front.receiver.close()
    await decide(database, receptions)
    await database.execute("UPDATE reception SET state = 1")
    assert await parts.finishing.run_once() == 0
    assert len(await journal_of(store)) == 1


async def test_an_open_batch_is_not_touched_however_decided(
    decide, journal_of, parts, store, front, database
):
    receptions = await front.store(1)
    await decide(database, receptions)
    assert await parts.finishing.run_once() == 0
    assert len(await journal_of(store)) == 1
    await front.die()


async def test_refused_lines_are_neither_fed_nor_waited_for(
    journal_of, settings, parts, store, sealer, front
):
    """Design review 1.4: what was refused never comes back."""
    placement = await front.place(1)
    await front.receiver.refuse(placement, Refusal.STUDY_MISMATCH)
    await front.receiver.close()
    assert await parts.finishing.run_once() == 1
    assert await fed(settings, sealer) == []
    assert await journal_of(store) == []


async def test_an_unanswered_line_without_an_object_needs_no_verdict(settings, parts, store, sealer):
    await closed_batch(store, sealer, 1, outcome=Outcome.OUTCOME_UNANSWERED)
    # Its put may still be under way while its receiver's lease lasts.
    assert await parts.finishing.run_once() == 0
    store.wait(settings.lease_seconds + settings.sweep_margin_seconds + 1)
    assert await parts.finishing.run_once() == 1
    assert await fed(settings, sealer) == []


async def test_an_unanswered_line_with_an_object_is_fed(settings, parts, store, sealer, front):
    placement = await front.place(1)
    await front.receiver.abandon(placement)
    await front.receiver.close()
    assert await parts.finishing.run_once() == 0
    assert len(await fed(settings, sealer)) == 1


async def test_what_was_fed_is_not_fed_again_at_once(settings, parts, store, sealer):
    await closed_batch(store, sealer, 3)
    await parts.finishing.run_once()
    await parts.finishing.run_once()
    assert len(await fed(settings, sealer)) == 3


async def test_young_entries_are_left_to_the_live_stream(settings, store, sealer):
    parts = make_parts(settings.model_copy(update={"feed_after_seconds": 45.0}), store=store)
    await closed_batch(store, sealer, 3)
    await parts.finishing.run_once()
    assert await fed(settings, sealer) == []
    store.wait(50)
    await parts.finishing.run_once()
    assert len(await fed(settings, sealer)) == 3
    await parts.publisher.close()
    await parts.pool.close()


async def test_the_window_bounds_what_lies_on_all_streams(settings, store, sealer, monkeypatch):
    monkeypatch.setattr("gantry_storage.feeding.PATIENCE_SECONDS", 0.3)
    parts = make_parts(settings.model_copy(update={"feed_window": 100}), store=store)
    for _ in range(8):
        await closed_batch(store, sealer, 40)
    await parts.finishing.run_once()
    # The last slice may reach beyond the window, no more.
    assert 100 <= len(await fed(settings, sealer)) < 100 + 64
    async with connect(settings.redis_url) as redis:
        await redis.delete(INDEX_REPLAY)
        for _ in range(100):
            await redis.xadd(INDEX_LIVE, {b"x": b"y"})
    await parts.finishing.run_once()
    assert await fed(settings, sealer) == []
    await parts.publisher.close()
    await parts.pool.close()


async def test_a_migration_that_fills_the_streams_does_not_keep_out_what_is_live(
    settings, store, sealer, monkeypatch
):
    monkeypatch.setattr("gantry_storage.feeding.PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr("gantry_storage.feeding.HELD_LINES", 50)
    parts = make_parts(settings.model_copy(update={"feed_window": 100}), store=store)
    for _ in range(2):
        await closed_batch(store, sealer, 40, lane=Lane.LANE_BULK)
    live = await closed_batch(store, sealer, 3)
    async with connect(settings.redis_url) as redis:
        for _ in range(200):
            await redis.xadd(INDEX_BULK, {b"x": b"y"})
    await parts.finishing.run_once()
    requests = await fed(settings, sealer)
    assert [request.reception.object_key for request in requests] == [line.object_key for line in live]
    await parts.publisher.close()
    await parts.pool.close()


async def test_live_goes_before_bulk_before_replay_and_partitions_take_turns(settings, parts, store, sealer):
    for lane in (Lane.LANE_REPLAY, Lane.LANE_BULK, Lane.LANE_LIVE):
        for partition in ("one", "two"):
            await closed_batch(store, sealer, 100, partition=partition, lane=lane)
    await parts.finishing.run_once()
    requests = await fed(settings, sealer)
    batches = [request.reception.batch for request in requests]
    assert len(batches) == 600
    # Batches were made in the order replay, bulk, live; they are fed the other way round.
    thirds = [set(batches[start : start + 200]) for start in (0, 200, 400)]
    assert min(thirds[0]) > max(thirds[1]) > min(thirds[1]) > max(thirds[2])
    first = [request.partition for request in requests[:200]]
    assert first == ["one"] * 64 + ["two"] * 64 + ["one"] * 36 + ["two"] * 36


async def test_without_redis_finished_batches_are_still_let_go(
    decide, settings, store, sealer, database, free_port
):
    parts = make_parts(
        settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port}/0"}), store=store
    )
    await closed_batch(store, sealer, 2)
    await decide(database, await closed_batch(store, sealer, 2))
    assert await parts.finishing.run_once() == 1
    await parts.publisher.close()
    await parts.pool.close()


async def test_without_the_database_nothing_is_let_go(journal_of, settings, store, sealer, free_port):
    dsn = f"postgresql://nobody@127.0.0.1:{free_port}/none"
    parts = make_parts(settings.model_copy(update={"index_dsn": dsn}), store=store)
    await closed_batch(store, sealer, 2)
    with pytest.raises(Unavailable):
        await parts.finishing.run_once()
    assert len(await journal_of(store)) == 1
    await parts.publisher.close()
    await parts.pool.close()
