"""The outbox relay: at least once, in order, one at a time."""

from __future__ import annotations

import asyncio

from gantry.events.v1.events_pb2 import EventKind, IndexEvent
from gantry_dicom.errors import Unavailable
from gantry_messaging.connections import connect
from gantry_messaging.names import BODY, EVENTS
from gantry_messaging.outbox import OutboxRelay


class ListOutbox:
    """An outbox in memory; ``broken`` counts how many removals fail."""

    def __init__(self, rows, *, ours=True, broken=0):
        self.rows = dict(rows)
        self.ours = ours
        self.broken = broken

    async def become_relay(self):
        return self.ours

    async def oldest(self, limit):
        return sorted(self.rows.items())[:limit]

    async def remove(self, sequences):
        if self.broken:
            self.broken -= 1
            raise Unavailable("the database went away")
        for sequence in sequences:
            del self.rows[sequence]


def rows(count, start=1):
    event = IndexEvent(kind=EventKind.EVENT_KIND_INSTANCES_INDEXED, partition="main")
    return {n: event.SerializeToString() for n in range(start, start + count)}


async def sequences(redis_url, seals):
    async with connect(redis_url) as redis:
        entries = await redis.xrange(EVENTS)
    return [seals.open(fields[BODY], IndexEvent).sequence for _, fields in entries]


async def test_events_leave_in_order_and_the_outbox_empties(redis_url, seals, until):
    outbox = ListOutbox(rows(25))
    relay = OutboxRelay(outbox, redis_url, seals, limit=10, poll=0.05)
    running = asyncio.create_task(relay.run())
    await until(lambda: not outbox.rows)
    outbox.rows.update(rows(3, start=26))
    relay.nudge()
    await until(lambda: not outbox.rows)
    running.cancel()
    await relay.close()
    assert await sequences(redis_url, seals) == list(range(1, 29))


async def test_a_crash_before_the_removal_repeats_events_and_loses_none(redis_url, seals, until):
    outbox = ListOutbox(rows(4), broken=1)
    relay = OutboxRelay(outbox, redis_url, seals, poll=0.05)
    running = asyncio.create_task(relay.run())
    await until(lambda: not outbox.rows)
    running.cancel()
    await relay.close()
    assert await sequences(redis_url, seals) == [1, 2, 3, 4, 1, 2, 3, 4]


async def test_only_the_holder_of_the_lock_relays(redis_url, seals):
    relay = OutboxRelay(ListOutbox(rows(4), ours=False), redis_url, seals)
    assert await relay.relay_once() == 0
    await relay.close()
    assert await sequences(redis_url, seals) == []


async def test_events_wait_in_the_outbox_while_redis_is_down(seals, free_port):
    outbox = ListOutbox(rows(4))
    relay = OutboxRelay(outbox, f"redis://127.0.0.1:{free_port}/0", seals, poll=0.02)
    running = asyncio.create_task(relay.run())
    await asyncio.sleep(0.2)
    assert not running.done()
    running.cancel()
    await relay.close()
    assert len(outbox.rows) == 4


async def test_the_event_stream_is_trimmed(redis_url, seals):
    relay = OutboxRelay(ListOutbox(rows(2000)), redis_url, seals, limit=2000, stream_length=100)
    await relay.relay_once()
    await relay.close()
    found = await sequences(redis_url, seals)
    assert len(found) < 400
    assert found[-1] == 2000
