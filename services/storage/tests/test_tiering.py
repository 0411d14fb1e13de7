"""Studies in a cold store and back: whole, readable all the time, and let go of where they were."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from gantry.amendment.v1.amendment_pb2 import Amendment
from gantry_dicom.errors import BadRequest, CannotProcess, NotFound, Unavailable
from gantry_index.amendments import apply_amendment
from gantry_index.tiers import note_looked_at, placed_objects
from gantry_index.writer import IndexWriter
from gantry_objectstore.keys import parse_amendment_key
from gantry_objectstore.retention_keys import MOVING_PREFIX
from gantry_objectstore.store import open_store
from gantry_objectstore.tiers import TieredStore
from gantry_storage.retention.policies import Move, Retention, StudyFacts, destination
from gantry_storage.retention.purging import Orderer
from gantry_storage.tiering import moving
from gantry_storage.tiering.moving import Mover
from gantry_storage.tiering.planning import MovePlanner
from gantry_testing.index_records import index_record

ADMIN = Orderer("admin", "needed again")


class Archive:
    """A study in two stores' archive, with an indexer that applies amendments at once."""

    def __init__(self, hot, cold, sealer, pool, lines):
        self.hot, self.cold, self.sealer, self.pool = hot, cold, sealer, pool
        self.store = TieredStore("primary", hot, {"cold": cold})
        self.keys = [line.object_key for line in lines]
        self.study_uid = lines[0].study_instance_uid
        self.mover = self.mover_with(self.apply)

    def mover_with(self, send):
        stores = {"primary": self.hot, "cold": self.cold}
        return Mover(self.store, stores, self.sealer, self.pool, send, timedelta(days=7))

    async def apply(self, key):
        amendment = self.sealer.open(await self.store.get(key), Amendment)
        await apply_amendment(self.pool, amendment, parse_amendment_key(key).scope)
        return True

    async def move(self, to="cold"):
        return await self.mover.move("main", self.study_uid, to, ADMIN)

    async def places(self):
        return {one.store_id for one in await placed_objects(self.pool, "main", self.study_uid)}

    async def lies_in(self):
        found = []
        for name, store in (("hot", self.hot), ("cold", self.cold)):
            keys = {info.key async for info in store.list("o/")}
            assert keys in (set(), set(self.keys))
            found += [name] if keys else []
        return found

    async def bytes(self):
        return [await self.store.get(key) for key in self.keys]


@pytest.fixture
async def archive(parts, store, sealer, front, tmp_path):
    lines = await front.store(1, 2, 3)
    await front.receiver.close()
    records = [replace(index_record(order=n), reception=line) for n, line in enumerate(lines)]
    for line in lines:
        line.store_id = "primary"
    await IndexWriter(parts.pool).index_chunk(records)
    cold = open_store((tmp_path / "cold").as_uri())
    yield Archive(store, cold, sealer, parts.pool, lines)
    await cold.close()


async def test_a_study_moves_whole_is_read_from_either_store_and_leaves_the_first_after_its_grace(
    archive, store
):
    before = await archive.bytes()
    moved = await archive.move()
    assert (moved.objects, moved.bytes) == (3, sum(map(len, before)))
    assert await archive.places() == {"cold"}
    assert await archive.lies_in() == ["hot", "cold"]
    assert await archive.mover.let_go() == 1
    assert await archive.lies_in() == ["hot", "cold"]
    store.wait(8 * 86_400)
    assert await archive.mover.let_go() == 0
    assert await archive.lies_in() == ["cold"]
    assert await archive.bytes() == before
    assert (await archive.move()).objects == 0


async def test_a_recall_brings_it_back_and_counts_as_a_look(archive, store):
    before = await archive.bytes()
    await archive.move()
    store.wait(8 * 86_400)
    await archive.mover.let_go()
    recalled = await archive.mover.recall("main", archive.study_uid, ADMIN)
    assert recalled.objects == 3
    assert await archive.places() == {"primary"}
    store.wait(8 * 86_400)
    await archive.mover.let_go()
    assert await archive.lies_in() == ["hot"]
    assert await archive.bytes() == before
    rows = await archive.pool.fetch("SELECT day FROM study_access")
    assert [row["day"] for row in rows] == [datetime.now(UTC).date()]


async def test_a_recall_within_the_grace_leaves_the_study_where_it_was_called_to(archive, store):
    await archive.move()
    await archive.mover.recall("main", archive.study_uid, ADMIN)
    store.wait(8 * 86_400)
    assert await archive.mover.let_go() == 0
    assert await archive.lies_in() == ["hot"]


async def test_what_is_not_whole_stays_and_what_became_bad_is_not_let_go_of(archive, store):
    whole = await archive.hot.get(archive.keys[0])
    await archive.hot.put(archive.keys[0], whole[:-1] + b"\xff")
    with pytest.raises(CannotProcess):
        await archive.move()
    assert await archive.places() == {"primary"}
    await archive.hot.put(archive.keys[0], whole)
    await archive.move()
    await archive.cold.put(archive.keys[0], whole[:-1] + b"\xff")
    store.wait(8 * 86_400)
    assert await archive.mover.let_go() == 1
    assert await archive.hot.get(archive.keys[0]) == whole


async def test_a_copy_that_a_recall_counts_on_is_not_let_go_of_whenever_it_comes(archive, store, monkeypatch):
    """Another process may bring a study back while this one reads the copy that was to stay."""
    await archive.move()
    store.wait(8 * 86_400)
    other = archive.mover_with(archive.apply)
    real = moving._is_whole
    recalled = []

    async def is_whole(place, line):
        if not recalled:
            recalled.append(line.object_key)
            await other.recall("main", archive.study_uid, ADMIN)
        return await real(place, line)

    with monkeypatch.context() as patch:
        patch.setattr(moving, "_is_whole", is_whole)
        assert await archive.mover.let_go() >= 1
    assert await archive.places() == {"primary"}
    assert "hot" in await archive.lies_in()
    assert len(await archive.bytes()) == 3


async def test_a_store_that_keeps_something_else_is_not_trusted(archive, monkeypatch):
    async def spoil(key, source):
        async for _ in source:
            pass
        await archive.cold.put(key, b"something else")
        return 1

    with monkeypatch.context() as patch:
        patch.setattr(archive.cold, "put_large", spoil)
        with pytest.raises(Unavailable):
            await archive.move()
    assert await archive.places() == {"primary"}
    await archive.move()
    assert await archive.places() == {"cold"}


async def test_only_what_is_there_goes_to_a_store_that_is_there(archive):
    with pytest.raises(BadRequest):
        await archive.move("tape")
    with pytest.raises(NotFound):
        await archive.mover.move("main", "1.2.3.4", "cold", ADMIN)
    assert [info async for info in archive.store.list(MOVING_PREFIX)] == []


async def test_rules_move_what_nobody_looked_at_for_long(archive):
    rule = {"name": "old", "to": "cold", "after_days": 1, "counted_from": "received"}
    retention = Retention.model_validate({"moves": [rule], "settle_days": 0})
    planner = MovePlanner(archive.pool, archive.mover, retention, ("primary", "cold"))
    assert (await planner.plan()).studies == 0
    await archive.pool.execute("UPDATE study SET first_received_at = first_received_at - interval '9 days'")
    await archive.pool.execute("UPDATE instance SET received_at = received_at - interval '9 days'")
    plan = await planner.plan()
    assert (plan.studies, plan.instances, plan.by_rule) == (1, 3, {"old": 1})
    await note_looked_at(archive.pool, [("main", archive.study_uid)], datetime.now(UTC).date())
    assert (await planner.plan()).studies == 0
    await archive.pool.execute("DELETE FROM study_access")
    assert (await planner.run()).studies == 1
    assert await archive.places() == {"cold"}
    assert (await planner.run()).studies == 0
    with pytest.raises(BadRequest, match="tape"):
        MovePlanner(archive.pool, archive.mover, retention.model_copy(update={"moves": (tape(),)}), ("cold",))


def tape():
    return Move(name="tape", to="tape", after_days=1)


def test_a_study_is_due_when_date_reception_and_last_look_are_all_long_ago():
    retention = Retention(moves=(Move(name="old", to="cold", after_days=100),), settle_days=30)
    now = datetime(2026, 6, 1, tzinfo=UTC)

    def due(study_days, received_days, looked_days=None):
        def ago(days):
            return now - timedelta(days=days)

        facts = StudyFacts(
            partition="main",
            modalities=["CT"],
            sources=[],
            study_date=ago(study_days).date(),
            received_at=ago(received_days),
            birth_date=date(1970, 1, 1),
            looked_at=None if looked_days is None else ago(looked_days).date(),
        )
        return destination(retention, facts, now) is not None

    assert due(200, 40)
    assert not due(50, 40)
    assert not due(200, 20)
    assert due(200, 150, 120)
    assert not due(200, 150, 50)
