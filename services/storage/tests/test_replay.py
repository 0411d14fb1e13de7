"""Replay of manifests after a failover or restore of the index."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from gantry.reception.v1.reception_pb2 import Manifest, Outcome, Reception
from gantry_dicom.errors import Unavailable
from gantry_objectstore.keys import BatchIds, object_key
from gantry_objectstore.records import write_manifest
from gantry_storage import replay
from gantry_storage.replay import Replay

NOW = datetime(2026, 3, 2, 0, 30, tzinfo=UTC)


async def manifest(store, sealer, opened, count=3, *, partition="main", outcomes=None):
    batch = BatchIds(lambda: opened.timestamp()).new()
    lines = [
        Reception(
            object_key=object_key(partition, batch, ordinal),
            batch=batch,
            ordinal=ordinal,
            outcome=(outcomes or {}).get(ordinal, Outcome.OUTCOME_ACKNOWLEDGED),
        )
        for ordinal in range(1, count + 1)
    ]
    await write_manifest(store, Manifest(batch=batch, partition=partition, receptions=lines), sealer)
    return [line.object_key for line in lines]


class Index:
    """Verdicts in memory; a sent chunk is decided unless it is lost, or deciding is ``held``."""

    def __init__(self, decided=()):
        self.decided = set(decided)
        self.manifests = {}
        self.sent = []
        self.lose = 0
        self.most_under_way = 0
        self.down = 0

    async def undecided(self, keys):
        if self.down:
            self.down -= 1
            raise Unavailable("the database is away")
        return set(keys) - self.decided

    async def send(self, key, first, count):
        self.sent.append((key, first, count))
        self.most_under_way = max(self.most_under_way, 1)
        if self.lose:
            self.lose -= 1
            return True
        lines = self.manifests[key.rsplit("/", 1)[-1]]
        self.decided |= set(lines[first : first + count])
        return True

    def knows(self, keys):
        self.manifests[keys[0].split("/")[3]] = keys
        return keys


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(replay, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(replay, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(replay, "RESEND_SECONDS", 0.05)


async def no_amendments(_partition, _until):
    return 0


def replay_of(store, sealer, index, **options):
    return Replay(store, sealer, index.undecided, index.send, no_amendments, **options)


async def test_what_the_index_lost_is_indexed_again_and_the_rest_left(store, sealer):
    index = Index()
    lost = index.knows(await manifest(store, sealer, NOW))
    kept = index.knows(await manifest(store, sealer, NOW + timedelta(minutes=1)))
    index.decided |= set(kept)
    report = await replay_of(store, sealer, index).run(NOW - timedelta(minutes=5))
    assert set(lost) <= index.decided
    assert len(index.sent) == 1
    assert (report.manifests, report.lines, report.replayed) == (2, 6, 3)


async def test_only_batches_since_then_with_an_hours_slack_are_replayed(store, sealer):
    index = Index()
    index.knows(await manifest(store, sealer, NOW - timedelta(hours=3)))
    near = index.knows(await manifest(store, sealer, NOW - timedelta(minutes=50)))
    later = index.knows(await manifest(store, sealer, NOW + timedelta(days=2)))
    await replay_of(store, sealer, index).run(NOW)
    assert index.decided == {*near, *later}


async def test_one_partition_can_be_replayed_alone(store, sealer):
    index = Index()
    index.knows(await manifest(store, sealer, NOW, partition="one"))
    two = index.knows(await manifest(store, sealer, NOW, partition="two"))
    await replay_of(store, sealer, index).run(NOW, "two")
    assert index.decided == set(two)


async def test_refused_lines_and_unanswered_ones_without_object_are_not_replayed(store, sealer):
    index = Index()
    keys = index.knows(
        await manifest(
            store,
            sealer,
            NOW,
            outcomes={1: Outcome.OUTCOME_REFUSED, 2: Outcome.OUTCOME_UNANSWERED},
        )
    )
    index.decided.add(keys[2])
    report = await replay_of(store, sealer, index).run(NOW)
    assert index.sent == []
    assert report.replayed == 0


async def test_a_lost_chunk_is_sent_again(store, sealer):
    index = Index()
    index.knows(await manifest(store, sealer, NOW))
    index.lose = 2
    await replay_of(store, sealer, index).run(NOW)
    assert len(index.sent) == 3


async def test_a_second_run_goes_on_where_the_first_one_ended(store, sealer):
    index = Index()
    for minute in range(6):
        index.knows(await manifest(store, sealer, NOW + timedelta(minutes=minute), count=100))
    # The first run dies with the window full and nothing decided any more.
    index.lose = 10_000
    first = asyncio.create_task(replay_of(store, sealer, index, window=2).run(NOW))
    async with asyncio.timeout(30):
        # The same two again and again: it did not send all twelve chunks.
        while len(index.sent) < 6:  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.01)
    first.cancel()
    assert len({(key, start) for key, start, _ in index.sent}) == 2
    index.lose = 0
    index.sent.clear()
    report = await replay_of(store, sealer, index, window=2).run(NOW)
    assert report.replayed == 600
    assert await replay_of(store, sealer, index).run(NOW) == replay.ReplayReport(6, 600, 0)


async def test_outages_of_the_database_are_waited_out(store, sealer):
    index = Index()
    keys = index.knows(await manifest(store, sealer, NOW))
    index.down = 3
    await replay_of(store, sealer, index).run(NOW)
    assert index.decided == set(keys)


async def test_an_index_of_a_moment_lacks_what_came_later(store, sealer):
    index = Index()
    batch = BatchIds(NOW.timestamp).new()
    lines = [
        Reception(
            object_key=object_key("main", batch, ordinal),
            batch=batch,
            ordinal=ordinal,
            outcome=Outcome.OUTCOME_ACKNOWLEDGED,
            # Every third comes after the moment.
            received_at_us=round(NOW.timestamp() * 1e6) + (1 if ordinal % 3 == 0 else -1),
        )
        for ordinal in range(1, 8)
    ]
    await write_manifest(store, Manifest(batch=batch, partition="main", receptions=lines), sealer)
    keys = index.knows([line.object_key for line in lines])
    asked = []

    async def amendments(partition, until):
        asked.append((partition, until))
        return 0

    whole = Replay(store, sealer, index.undecided, index.send, amendments)
    report = await whole.run(NOW - timedelta(days=1), until=NOW)
    assert index.decided == {key for number, key in enumerate(keys, 1) if number % 3}
    assert report.replayed == 5
    assert asked == [(None, NOW)]
