"""Access records: durable before they are answered for, chained, sealed, and missed when gone."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from gantry.access.v1.access_pb2 import (
    ACCESS_KIND_REFUSAL,
    ACCESS_KIND_RETRIEVE,
    ACCESS_KIND_SEARCH,
    ACCESS_KIND_STORE,
    AccessBatch,
    AccessRecord,
)
from gantry_access import audit
from gantry_access.audit import AccessLog, AuditSettings
from gantry_access.audit_chain import CLOSED, OPENED, Link, chain, read_records, verify
from gantry_access.audit_spool import SpoolFolder, frame, read_segment
from gantry_access.errors import AccessLogBroken, AccessLogFull
from gantry_dicom.errors import Unavailable
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.settings import StoreSettings
from gantry_objectstore.store import open_store
from hypothesis import given
from hypothesis import strategies as st

SEALER = Sealer({"a": b"k" * 32}, "a")


@pytest.fixture
async def store(tmp_path):
    opened = open_store(f"file://{tmp_path / 'store'}", options=StoreSettings())
    yield opened
    await opened.close()


@pytest.fixture
async def make_log(tmp_path, store):
    logs = []

    async def make(to=None, **settings):
        made = AccessLog(
            "test", to or store, SEALER, AuditSettings(tmp_path / "spool", **({"window": 3600} | settings))
        )
        await made.start()
        logs.append(made)
        return made

    yield make
    for made in logs:
        await made.close()


def retrieve(log, *sop_uids, study="1.2", who="ann", **more):
    return log.record(
        ACCESS_KIND_RETRIEVE,
        principal=who,
        operation="/studies/{study}",
        outcome="clinician@main",
        partition="main",
        study_uid=study,
        sop_uids=sop_uids,
        **more,
    )


async def records_of(store):
    return [record async for _, record in read_records(store, SEALER)]


async def test_one_record_for_a_caller_study_and_operation_with_all_its_instances(store, make_log):
    log = await make_log()
    waits = [retrieve(log, f"1.2.{n % 5}") for n in range(20)]
    waits += [
        retrieve(log, "1.2.7", "1.2.0"),
        retrieve(log, "9.1", study="9"),
        retrieve(log, "1.2.1", who="ben"),
    ]
    await asyncio.gather(*(asyncio.wrap_future(wait) for wait in waits if wait))
    assert await log.flush()
    await log.close()
    found = await records_of(store)
    assert [(r.principal, r.study_instance_uid, list(r.sop_instance_uids)) for r in found[1:-1]] == [
        ("ann", "1.2", [f"1.2.{n}" for n in (0, 1, 2, 3, 4, 7)]),
        ("ann", "9", ["9.1"]),
        ("ben", "1.2", ["1.2.1"]),
    ]
    assert (found[0].operation, found[-1].operation, found[-1].outcome) == (OPENED, CLOSED, "ended")
    result = await verify(store, SEALER)
    assert (result.records, result.problems, result.unclosed) == (5, [], [])


async def test_what_was_waited_for_is_in_the_spool_on_disk(tmp_path, make_log):
    log = await make_log()
    await asyncio.wrap_future(retrieve(log, "1.2.3"))
    (segment,) = (tmp_path / "spool" / log.writer).glob("*.events")
    assert [list(event.sop_instance_uids) for event in read_segment(segment)][1:] == [["1.2.3"]]
    assert retrieve(log, "1.2.3") is None


async def test_what_nobody_waits_for_is_on_the_disk_soon_all_the_same(tmp_path, make_log, monkeypatch):
    monkeypatch.setattr(audit, "_LAZY_SECONDS", 0.05)
    log = await make_log()
    stored = log.record(ACCESS_KIND_STORE, principal="ct", operation="C-STORE", outcome="ok", durable=False)
    assert stored is None
    (segment,) = (tmp_path / "spool" / log.writer).glob("*.events")
    deadline = time.monotonic() + 10
    while not any(event.principal == "ct" for event in read_segment(segment)):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_after_a_window_the_same_access_is_a_new_record(store, make_log):
    log = await make_log()
    for _ in range(2):
        await asyncio.wrap_future(retrieve(log, "1.2.3"))
        assert await log.flush()
    assert [r.study_instance_uid for r in await records_of(store)] == ["", "1.2", "1.2"]
    result = await verify(store, SEALER)
    assert (result.batches, result.problems, result.unclosed) == (2, [], [log.writer])


async def test_threads_and_windows_lose_nothing(store, make_log):
    log = await make_log()

    def work(worker):
        for n in range(200):
            wait = retrieve(log, f"1.{worker}.{n}", study=f"1.{worker}")
            if wait:
                wait.result(10)

    with ThreadPoolExecutor(4) as pool:
        running = [asyncio.get_running_loop().run_in_executor(pool, work, n) for n in range(4)]
        while not all(task.done() for task in running):
            await log.flush()
    await log.close()
    uids = {uid for record in await records_of(store) for uid in record.sop_instance_uids}
    assert uids == {f"1.{worker}.{n}" for worker in range(4) for n in range(200)}
    result = await verify(store, SEALER)
    assert (result.problems, result.unclosed) == ([], [])


class Broken:
    def __init__(self, store):
        self.store, self.down = store, True

    def __getattr__(self, name):
        return getattr(self.store, name)

    async def put(self, key, data, *, create=False):
        if self.down:
            raise Unavailable("down")
        await self.store.put(key, data, create=create)


async def test_while_the_bucket_is_away_records_wait_and_beyond_the_bound_nothing_is_allowed(store, make_log):
    broken = Broken(store)
    log = await make_log(broken, spool_bytes=20_000)
    n = 0
    with pytest.raises(AccessLogFull):  # noqa: PT012
        while n < 10_000:
            wait = retrieve(log, f"1.2.{n}")
            if n % 50 == 0:
                await asyncio.wrap_future(wait)
                assert not await log.flush()
            n += 1
    assert n > 50
    with pytest.raises(AccessLogFull):
        retrieve(log, "1.2.3.4")
    broken.down = False
    assert await log.flush()
    await asyncio.wrap_future(retrieve(log, "1.2.3.4"))
    await log.close()
    uids = {uid for record in await records_of(store) for uid in record.sop_instance_uids}
    assert uids == {f"1.2.{i}" for i in range(n)} | {"1.2.3.4"}
    assert (await verify(store, SEALER)).problems == []


async def test_a_disk_that_cannot_be_written_allows_nothing_until_it_can(make_log, monkeypatch):
    log = await make_log()

    def full(_descriptor, _data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(audit, "_write_all", full)
        with pytest.raises(AccessLogBroken):
            await asyncio.wrap_future(retrieve(log, "1.2.3"))
    # It was not written: it must not pass for known.
    await asyncio.wrap_future(retrieve(log, "1.2.3"))


async def test_a_log_that_is_not_open_allows_nothing(tmp_path, store, make_log):
    log = AccessLog("test", store, SEALER, AuditSettings(tmp_path / "spool"))
    with pytest.raises(AccessLogBroken):
        retrieve(log, "1")
    log = await make_log()
    await log.close()
    with pytest.raises(AccessLogBroken):
        retrieve(log, "1")
    (tmp_path / "file").write_text("")
    with pytest.raises(AccessLogBroken):
        await AccessLog("test", store, SEALER, AuditSettings(tmp_path / "file")).start()


CHILD = """
import asyncio, os, sys
from pathlib import Path
from gantry.access.v1.access_pb2 import ACCESS_KIND_RETRIEVE
from gantry_access.audit import AccessLog, AuditSettings
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.settings import StoreSettings
from gantry_objectstore.store import open_store

async def main(root):
    store = open_store((root / "store").as_uri(), options=StoreSettings())
    log = AccessLog("child", store, Sealer({"a": b"k" * 32}, "a"), AuditSettings(root / "spool", window=3600))
    await log.start()
    for n in range(1_000_000):
        wait = log.record(ACCESS_KIND_RETRIEVE, principal="ann", operation="o", outcome="x", study_uid="1",
                          sop_uids=[f"1.{n}"])
        await asyncio.wrap_future(wait)
        print(n, flush=True)
        if n % 20 == 10:
            await log.flush()

asyncio.run(main(Path(sys.argv[1])))
"""


async def uids_of(store):
    return {uid for record in await records_of(store) for uid in record.sop_instance_uids}


@pytest.mark.parametrize("after", [3, 37])
async def test_a_killed_writers_records_are_delivered_by_the_next_one(tmp_path, store, make_log, after):
    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
    answered = [int(child.stdout.readline()) for _ in range(after)]
    child.send_signal(signal.SIGKILL)
    answered += [int(line) for line in child.stdout.read().split()]
    child.wait()
    log = await make_log()
    await log.flush()
    # The log has begun with it by itself, and leaves to one at a time what a dead writer left.
    expected = {f"1.{n}" for n in answered}
    async with asyncio.timeout(30):
        while not await uids_of(store) >= expected:
            await log._deliver_left_behind()
            await asyncio.sleep(0.02)
    await log.close()
    result = await verify(store, SEALER)
    assert (result.problems, result.unclosed, result.writers) == ([], [], 2)
    assert list((tmp_path / "spool").iterdir()) == []


async def test_a_living_writers_folder_is_left_alone(tmp_path, make_log):
    first, second = await make_log(), await make_log()
    await asyncio.wrap_future(retrieve(first, "1"))
    await second._deliver_left_behind()
    assert list((tmp_path / "spool" / first.writer).glob("*.events"))


async def test_what_was_delivered_is_not_taken_again(tmp_path):
    spool = SpoolFolder.make(tmp_path / "w")
    assert SpoolFolder.take(tmp_path / "w") is None
    spool.let_go()
    again = SpoolFolder.take(tmp_path / "w")
    again.remove()
    assert SpoolFolder.take(tmp_path / "w") is None
    assert list(tmp_path.iterdir()) == []


async def test_a_torn_end_of_a_segment_is_left_out(tmp_path):
    whole = frame(AccessRecord(principal="a")) + frame(AccessRecord(principal="b"))
    for cut in range(len(whole)):
        (tmp_path / "x").write_bytes(whole[:cut])
        assert len(list(read_segment(tmp_path / "x"))) == (cut >= len(whole) // 2)
    (tmp_path / "x").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert [event.principal for event in read_segment(tmp_path / "x")] == ["a"]


async def test_a_segment_that_is_a_batch_already_becomes_no_second_one(tmp_path):
    spool = SpoolFolder.make(tmp_path / "w")
    os.write(descriptor := spool.open_segment(), frame(AccessRecord(principal="a")))
    os.close(descriptor)
    (segment,) = spool.segments()
    kept = segment.read_bytes()
    spool.make_batch(segment, SEALER)
    segment.write_bytes(kept)  # as after a crash between the two steps
    spool.make_batch(segment, SEALER)
    assert (len(spool.batches()), spool.end(SEALER).sequence) == (1, 1)


async def damaged(store, tmp_path, make_log, spoil):
    log = await make_log()
    for n in range(3):
        await asyncio.wrap_future(retrieve(log, f"1.{n}"))
        await log.flush()
    await log.close()
    files = sorted((tmp_path / "store" / "audit" / log.writer).iterdir())
    assert (len(files), (await verify(store, SEALER)).problems) == (4, [])
    spoil(files)
    return await verify(store, SEALER), files


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda f: f[1].unlink(), "missing"),
        (lambda f: f[0].unlink(), "missing"),
        (lambda f: f[1].write_bytes(f[2].read_bytes()), "elsewhere"),
        (lambda f: f[1].write_bytes(f[1].read_bytes()[:-1]), "seal"),
        (lambda f: f[1].write_bytes(_changed(f[1].read_bytes())), "does not follow"),
        (lambda f: (f[1].parent / f"{99:020d}").write_bytes(f[1].read_bytes()), "elsewhere"),
    ],
    ids=["gap", "no start", "moved", "cut", "written again with a key", "copied"],
)
async def test_damage_is_found(store, tmp_path, make_log, spoil, problem):
    result, _ = await damaged(store, tmp_path, make_log, spoil)
    assert any(problem in found.what for found in result.problems)


async def test_a_missing_end_is_told(store, tmp_path, make_log):
    result, files = await damaged(store, tmp_path, make_log, lambda f: f[-1].unlink())
    assert (result.problems, result.unclosed) == ([], [files[0].parent.name])


def _changed(sealed):
    batch = SEALER.open(sealed, AccessBatch)
    batch.records[0].principal = "somebody else"
    return SEALER.seal(batch)


async def test_refusals_need_no_wait_and_a_scan_does_not_fill_the_spool(store, make_log):
    log = await make_log()
    for n in range(3000):
        assert not log.record(
            ACCESS_KIND_REFUSAL, principal=f"AE{n}", operation="C-STORE", outcome="no", durable=False
        )
    await log.flush()
    assert len(await records_of(store)) == 1001
    log.record(
        ACCESS_KIND_STORE, principal="ann", operation="STOW", outcome="ok", durable=False, sop_uids=["1"]
    )
    log.record(ACCESS_KIND_SEARCH, principal="ann", operation="/studies", outcome="ok").result(10)


def _accesses(records):
    return {
        (r.principal, r.operation, r.study_instance_uid, uid) for r in records for uid in r.sop_instance_uids
    }


events = st.lists(
    st.builds(
        AccessRecord,
        principal=st.sampled_from("ab"),
        study_instance_uid=st.sampled_from(["1", "2"]),
        operation=st.sampled_from("xy"),
        sop_instance_uids=st.lists(st.sampled_from(["1.1", "1.2", "1.3"]), max_size=3),
    )
)


@given(events, events)
def test_a_chain_merges_windows_and_keeps_every_instance(first, second):
    records, end = chain(first, Link())
    more, last = chain(second, end)
    assert [r.sequence for r in [*records, *more]] == list(range(1, last.sequence + 1))
    for made, came in ((records, first), (more, second)):
        assert {
            (r.principal, r.operation, r.study_instance_uid, u) for r in made for u in r.sop_instance_uids
        } == {(e.principal, e.operation, e.study_instance_uid, u) for e in came for u in e.sop_instance_uids}
        keys = [(r.principal, r.operation, r.study_instance_uid) for r in made]
        assert len(keys) == len(set(keys))


async def test_the_cost_of_an_access_that_the_window_has_is_microseconds(make_log):
    log = await make_log()
    await asyncio.wrap_future(retrieve(log, "1.2.3"))
    started = time.perf_counter()
    for _ in range(2000):
        assert retrieve(log, "1.2.3") is None
    assert (time.perf_counter() - started) / 2000 < 100e-6
