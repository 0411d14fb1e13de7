"""Each alert that faults can bring about here fires in a real Prometheus, and ends when they end.

The chart's own rules are evaluated, every duration in them shortened sixty times; thresholds that
are times are shortened by name. Metrics are those that the services of a real stack show.
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial

import httpx
import psycopg
import pytest
import redis
from gantry_dicom.errors import GantryError
from gantry_objectstore.keys import journal_key, new_batch_id
from gantry_testing.dimse import VERIFICATION, Sender, echo, store_all
from gantry_testing.prometheus import Prometheus, hastened
from gantry_testing.recording import outgoing
from gantry_testing.stack import Stack
from gantry_testing.synthetic import generate_study
from gantry_testing.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.prometheus]

# Another transfer syntax than the stored one: a job for a process.
JPEG_LS = "multipart/related; type=image/jls; transfer-syntax=1.2.840.10008.1.2.4.80"
POISON = generate_study(900, "MR", size=(16, 16))[0]
CONTEXTS = [(VERIFICATION, "1.2.840.10008.1.2")]
LIMITS = {
    "gantry_journal_oldest_age_seconds) > 900": "gantry_journal_oldest_age_seconds) > 5",
    "gantry_journal_entries) > 2000": "gantry_journal_entries) > 0",
    'stream="index.live"}) > 120': 'stream="index.live"}) > 2',
    "gantry_outbox_oldest_age_seconds) > 300": "gantry_outbox_oldest_age_seconds) > 2",
    "gantry_commitments_open) > 20": "gantry_commitments_open) > 0",
    'le="1.0"': 'le="0.001"',
    # An outage of seconds is to be seen.
    'le="10.0"': 'le="1.0"',
    # A process that was lost takes seconds to start again, on a busy machine.
    'outcome=~"timeout|memory|crashed"}[15m]': 'outcome=~"timeout|memory|crashed"}[120m]',
}
ENVIRONMENT = {
    "GANTRY_FAULTS": "1",
    "GANTRY_FAULT_RAISE_SOP_UIDS": POISON.sop_uid,
    "GANTRY_SWEEP_SECONDS": "1",
    "GANTRY_FEED_AFTER_SECONDS": "2",
    "GANTRY_FEED_AGAIN_SECONDS": "5",
    "GANTRY_SCRUB_EVERY_DAYS": "0",
    "GANTRY_SCRUB_SECONDS": "2",
    "GANTRY_REPAIR_ATTEMPTS": "0",
    "GANTRY_MAXIMUM_ASSOCIATIONS_PER_TITLE": "2",
    # Too little for any picture.
    "GANTRY_PIXEL_SECONDS": "0.001",
}
numbers = iter(range(901, 10_000))


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("broken"), store="s3", environment=ENVIRONMENT) as running:
        yield running


@pytest.fixture(scope="module")
def prometheus(stack, tmp_path_factory, rule_files):
    folder = tmp_path_factory.mktemp("prometheus")
    rules = []
    for path in rule_files:
        text = path.read_text()
        rules.append(folder / path.name)
        limits = {old: new for old, new in LIMITS.items() if old in text}
        rules[-1].write_text(hastened(text, 60, limits))
    assert all(any(old in path.read_text() for path in rule_files) for old in LIMITS)
    targets = {name: stack.health_url(name).removeprefix("http://") for name in stack.services}
    with Prometheus(folder, targets, rules) as running:
        yield running


@pytest.fixture(autouse=True)
def healed(stack, prometheus):
    """Start each test from a stack on which everything has been seen to work."""
    (instance,) = fresh()
    store_all(stack.peer, [outgoing(instance)])
    wait_for(lambda: is_shown(stack, instance), "an instance in the index", 120)
    wait_for(lambda: len(prometheus.query("up == 1")) == len(stack.services), "scrapes")
    return instance


def fresh(modality="MR", **more):
    return generate_study(next(numbers), modality, size=(16, 16), **more)


def is_shown(stack, instance):
    with suppress(httpx.HTTPError, GantryError), stack.web(timeout=5) as web:
        return bool(web.search("/instances", SOPInstanceUID=instance.sop_uid))
    return False


def send(stack, count=1):
    for _ in range(count):
        with suppress(OSError, GantryError):
            store_all(stack.peer, [outgoing(instance) for instance in fresh()])


@contextmanager
def again_and_again(work, pause=0.2):
    """Do ``work`` every moment in a thread while the block runs."""
    stopping = threading.Event()

    def run():
        while not stopping.wait(pause):
            with suppress(OSError, GantryError, httpx.HTTPError):
                work()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def wait_firing(prometheus, *names, seconds=90):
    seen = set()

    def all_seen():
        seen.update(prometheus.firing())
        return seen >= set(names)

    wait_for(all_seen, f"{names} to fire", seconds)


def wait_silent(prometheus, *names, seconds=120):
    wait_for(lambda: not prometheus.firing() & set(names), f"{names} to end", seconds)


def search(stack):
    with stack.web(timeout=5) as web:
        web.http.get(f"{web.base_url}/studies")


def test_nothing_fires_on_a_stack_that_is_well(stack, prometheus):
    with again_and_again(lambda: send(stack)), again_and_again(lambda: search(stack)):
        started = time.monotonic()
        seen = set()
        wait_for(lambda: seen.update(prometheus.firing()) or time.monotonic() - started > 10, "ten seconds")
    # Journal entries there always are, and thirty seconds are not fifteen minutes.
    assert seen <= {"GantryJournalDeep", "GantryJournalOld"}


def test_a_service_that_is_gone(stack, prometheus):
    stack.kill("gateway")
    wait_firing(prometheus, "GantryServiceGone", "GantryServiceDown")
    stack.start_service("gateway")
    wait_silent(prometheus, "GantryServiceGone", "GantryServiceDown")


def test_a_database_that_is_down(stack, prometheus):
    stack.postgres.kill()
    with again_and_again(lambda: search(stack)), again_and_again(lambda: send(stack), 1.0):
        wait_firing(
            prometheus,
            *("GantryDatabaseUnavailable", "GantryIndexingPaused", "GantryStreamOld", "GantryDicomwebErrors"),
            *("GantryJournalOld", "GantryJournalDeep"),
        )
    stack.restart_postgres()
    # What was received meanwhile took longer than it may.
    wait_firing(prometheus, "GantrySearchableLate")
    wait_silent(prometheus, "GantryDatabaseUnavailable", "GantryIndexingPaused", "GantryStreamOld")


def test_a_queue_that_is_down(stack, prometheus):
    stack.valkey.kill()
    with psycopg.connect(stack.index_dsn) as connection:
        # An event of some time ago that cannot leave.
        connection.execute("INSERT INTO outbox (payload) VALUES ('')")
    wait_firing(prometheus, "GantryQueueUnreachable", "GantryOutboxOld")
    stack.valkey.start()
    wait_silent(prometheus, "GantryQueueUnreachable", "GantryOutboxOld")


def test_an_object_store_that_is_down(stack, prometheus):
    stack.s3.kill()
    with again_and_again(lambda: send(stack)):
        wait_firing(prometheus, "GantryObjectStoreFailing", "GantryStoresFailing", seconds=180)
    stack.s3.start()
    wait_silent(prometheus, "GantryObjectStoreFailing")


def test_an_instance_that_cannot_be_indexed(stack, prometheus):
    store_all(stack.peer, [outgoing(POISON)])
    wait_firing(prometheus, "GantryInstancesQuarantined")


def test_a_journal_entry_that_we_did_not_write(stack, prometheus):
    key = journal_key(new_batch_id())

    async def change(work):
        store = stack.open_store()
        try:
            await work(store)
        finally:
            await store.close()

    asyncio.run(change(lambda store: store.put(key, [b"junk"])))
    # It is looked at when it is old enough to be a dead receiver's.
    wait_firing(prometheus, "GantryRecordsNotBelieved", seconds=240)
    asyncio.run(change(lambda store: store.delete(key)))


def test_an_object_that_has_vanished(stack, prometheus, healed):
    with psycopg.connect(stack.index_dsn) as connection:
        (key,) = connection.execute(
            "SELECT object_key FROM instance WHERE sop_uid = %s", [healed.sop_uid]
        ).fetchone()

    async def lose():
        store = stack.open_store()
        try:
            await store.delete(key)
        finally:
            await store.close()

    asyncio.run(lose())
    wait_firing(prometheus, "GantryObjectsLostOrDamaged", seconds=180)


def test_a_request_on_the_stream_that_we_did_not_write(stack, prometheus):
    redis.Redis.from_url(stack.valkey.url).xadd("index.live", {"m": b"junk"})
    wait_firing(prometheus, "GantryIndexRequestsForged")


def test_a_deletion_that_nobody_carries_out(stack, prometheus, healed):
    stack.kill("indexer-worker")
    with stack.web() as web:
        web.http.delete(f"{web.base_url}/studies/{healed.study_uid}", timeout=30)
    wait_firing(prometheus, "GantryAmendmentsWaiting")
    stack.start_service("indexer-worker")
    wait_silent(prometheus, "GantryAmendmentsWaiting")


def test_connections_to_the_database_that_are_used_up(stack, prometheus):
    with (
        psycopg.connect(stack.index_dsn) as connection,
        ThreadPoolExecutor(20) as pool,
        again_and_again(lambda: list(pool.map(lambda _: search(stack), range(20)))),
    ):
        connection.execute("LOCK TABLE study IN ACCESS EXCLUSIVE MODE")
        try:
            wait_firing(prometheus, "GantryDatabasePoolExhausted")
        finally:
            connection.rollback()


def test_a_device_that_connects_too_often(stack, prometheus):
    # Two associations are what one title may have.
    with (
        Sender(stack.peer, CONTEXTS),
        Sender(stack.peer, CONTEXTS),
        again_and_again(partial(echo, stack.peer)),
    ):
        wait_firing(prometheus, "GantryAssociationsTurnedAway", "GantryModalityFailing")


def test_pictures_that_cannot_be_made_or_come_slowly(stack, prometheus, healed):
    path = f"/studies/{healed.study_uid}/series/{healed.series_uid}/instances/{healed.sop_uid}"

    def look():
        with stack.web(timeout=10) as web:
            web.http.get(f"{web.base_url}{path}/frames/1")
            web.http.get(f"{web.base_url}{path}/frames/1", headers={"Accept": JPEG_LS})

    with again_and_again(look, 0.05):
        wait_firing(prometheus, "GantryPixelWorkersDying", "GantryImagesSlow", seconds=180)
