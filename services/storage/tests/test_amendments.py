"""Amendments that wait: asked for until the index has them, whatever died in between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from gantry.amendment.v1.amendment_pb2 import AMENDMENT_KIND_HIDE, Amendment
from gantry_objectstore.amendments import write_amendment
from gantry_objectstore.keys import (
    WAITING_PREFIX,
    amendment_key,
    amendment_scope,
    parse_amendment_key,
    waiting_key,
)
from gantry_storage import amendments as module
from gantry_storage.amendments import Amendments


class Index:
    """An indexer in memory; it applies what it is asked for unless Redis is away or the task is lost."""

    def __init__(self):
        self.applied = {}
        self.waiting = set()
        self.asked = []
        self.lose = 0
        self.redis = True

    async def is_applied(self, partition, scope, revision):
        return self.applied.get((partition, scope), 0) >= revision

    async def is_waiting(self, place, amendment):
        return (place.partition, amendment.study_instance_uid) in self.waiting

    async def send(self, key):
        if not self.redis:
            return False
        self.asked.append(key)
        if self.lose:
            self.lose -= 1
            return True
        place = parse_amendment_key(key)
        self.applied[place.partition, place.scope] = place.revision
        return True


@pytest.fixture
def index():
    return Index()


@pytest.fixture
def amendments(store, sealer, index):
    return Amendments(store, sealer, index.is_applied, index.is_waiting, index.send, leave_alone=150.0)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(module, "ASK_AGAIN_SECONDS", 0.05)


async def write(store, sealer, study="1.2.3", partition="main", made_at=None):
    record = Amendment(partition=partition, study_instance_uid=study, kind=AMENDMENT_KIND_HIDE)
    if made_at is not None:
        record.made_at_us = round(made_at.timestamp() * 1e6)
    return await write_amendment(store, record, sealer)


async def notes(store):
    return [info.key async for info in store.list(WAITING_PREFIX)]


async def test_a_fresh_one_is_left_to_its_writer_an_older_one_asked_for_and_then_forgotten(
    store, sealer, index, amendments
):
    key = await write(store, sealer)
    assert await amendments.sweep() == 1
    assert index.asked == []
    store.wait(11)
    assert await amendments.sweep() == 1
    assert index.asked == [key]
    assert await amendments.sweep() == 0
    assert await notes(store) == []


async def test_one_whose_task_redis_lost_is_asked_for_again(store, sealer, index, amendments):
    await write(store, sealer)
    store.wait(11)
    index.redis = False
    await amendments.sweep()
    index.redis, index.lose = True, 1
    await amendments.sweep()
    await amendments.sweep()
    assert len(index.asked) == 2
    assert await amendments.sweep() == 0


async def test_one_whose_receptions_wait_to_be_indexed_again_is_not_done(store, sealer, index, amendments):
    key = await write(store, sealer)
    await index.send(key)
    index.waiting.add(("main", "1.2.3"))
    store.wait(11)
    assert await amendments.sweep() == 1
    assert index.asked == [key, key]
    index.waiting.clear()
    assert await amendments.sweep() == 0


async def test_a_note_that_leads_nowhere_goes_when_its_writer_must_be_dead(store, amendments):
    await store.put(waiting_key("main", amendment_scope("1.2.3"), 1), b"waiting\n")
    assert await amendments.sweep() == 1
    store.wait(151)
    assert await amendments.sweep() == 0
    assert await notes(store) == []


async def test_a_forged_one_is_never_asked_for_and_its_note_stays_for_a_person(
    store, sealer, index, amendments
):
    scope = amendment_scope("1.2.3")
    await store.put(waiting_key("main", scope, 1), b"waiting\n")
    await store.put(amendment_key("main", scope, 1), b"forged")
    store.wait(1000)
    assert await amendments.sweep() == 1
    assert index.asked == []


async def test_a_replay_brings_all_of_them_and_passes_over_what_is_forged(store, sealer, index, amendments):
    keys = [await write(store, sealer, study) for study in ("1.1", "1.2", "1.2")]
    other = await write(store, sealer, "1.1", "other")
    await store.put(amendment_key("main", amendment_scope("6.6"), 1), b"forged")
    index.lose = 1
    assert await amendments.replay() == 3
    assert {keys[0], keys[2], other} <= set(index.asked)
    assert not any("6.6" in key for key in index.asked)
    index.asked.clear()
    assert await amendments.replay("other") == 1
    assert index.asked == []


async def test_an_index_of_a_moment_gets_what_was_decided_before_it(store, sealer, index, amendments):
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    for days in (-2, -1, 1):
        await write(store, sealer, made_at=moment + timedelta(days=days))
    await write(store, sealer, "1.2.4", made_at=moment)
    assert await amendments.replay(until=moment) == 1
    assert index.applied == {("main", amendment_scope("1.2.3")): 2}
