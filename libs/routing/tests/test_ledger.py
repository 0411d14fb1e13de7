"""Jobs in the bucket: made once, found while they are open, forgotten in time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from gantry.routing.v1.routing_pb2 import JOB_STATE_DONE, JOB_STATE_WAITING, RouteJob
from gantry_dicom.errors import NotFound
from gantry_objectstore.errors import BadSeal
from gantry_objectstore.keys import OPEN_JOB_PREFIX, job_key, open_job_key
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.store import open_store
from gantry_routing.documents import job_document
from gantry_routing.ledger import JobLedger, job_name


class LateStore:
    """A store whose clock can be put forward."""

    def __init__(self, inner):
        self._inner = inner
        self.ahead = timedelta()

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def now(self):
        return await self._inner.now() + self.ahead


@pytest.fixture
async def store(file_url):
    store = LateStore(open_store(file_url))
    yield store
    await store.close()


@pytest.fixture
def ledger(store):
    return JobLedger(store, Sealer.from_text("test:" + "a5" * 32))


def job(study="1.1"):
    return RouteJob(
        job=job_name("r", "main", study, "", "01"),
        rule="r",
        partition="main",
        study_instance_uid=study,
        destination="ai",
        state=JOB_STATE_WAITING,
    )


async def opened(ledger):
    return [one.study_instance_uid async for one in ledger.open_jobs()]


async def test_the_same_arrival_never_makes_two_jobs(ledger):
    first = job()
    assert await ledger.create(first)
    first.attempts = 3
    await ledger.update(first)
    assert not await ledger.create(job())
    assert (await ledger.read("main", first.job)).attempts == 3
    assert await opened(ledger) == ["1.1"]


def test_every_part_of_what_a_job_does_is_in_its_name():
    names = {
        job_name(*words)
        for words in [
            ("r", "main", "1.1", "", "01"),
            ("s", "main", "1.1", "", "01"),
            ("r", "second", "1.1", "", "01"),
            ("r", "main", "1.2", "", "01"),
            ("r", "main", "1.1", "1.1.1", "01"),
            ("r", "main", "1.1", "", "02"),
        ]
    }
    assert len(names) == 6


async def test_what_has_ended_is_open_no_longer_and_goes_in_time(store, ledger):
    one, other = job("1.1"), job("1.2")
    for each in (one, other):
        await ledger.create(each)
    one.state = JOB_STATE_DONE
    await ledger.update(one)
    assert await ledger.forget_notes(60) == 1
    assert await opened(ledger) == ["1.2"]
    store.ahead = timedelta(days=40)
    assert await ledger.forget_jobs(30 * 86400) == 1
    with pytest.raises(NotFound):
        await ledger.read("main", one.job)
    assert [each.study_instance_uid for each in await ledger.jobs("main", 10)] == ["1.2"]


async def test_a_note_without_a_job_goes_when_its_writer_must_be_dead(store, ledger):
    await store.put(open_job_key("main", job().job), b"open\n")
    assert await opened(ledger) == []
    assert await ledger.forget_notes(60) == 1
    store.ahead = timedelta(seconds=61)
    assert await ledger.forget_notes(60) == 0
    assert [info.key async for info in store.list(OPEN_JOB_PREFIX)] == []


async def test_a_job_at_anothers_place_is_not_believed(store, ledger):
    mine, other = job("1.1"), job("1.2")
    await ledger.create(mine)
    await store.put(job_key("main", other.job), await store.get(job_key("main", mine.job)))
    with pytest.raises(BadSeal):
        await ledger.read("main", other.job)


def test_people_read_states_and_times():
    shown = job_document(job())
    assert (shown["state"], shown["series"], shown["trouble"]) == ("waiting", None, None)
    assert shown["created"] is None
