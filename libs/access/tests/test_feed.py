"""The snapshot in force: loaded from the bucket, hinted, and let go when too old."""

import asyncio
import signal

import pytest
from gantry.access.v1.access_pb2 import ApplicationEntity, PolicySnapshot, Revocation
from gantry_access.errors import StalePolicy
from gantry_access.feed import FeedSettings, PolicyFeed
from gantry_access.floor import VersionFloor
from gantry_access.point import rules_point
from gantry_access.policy import Action, Principal, Resource
from gantry_access.snapshots import POLICY_CHANNEL, publish_snapshot, snapshot_key
from gantry_dicom.errors import NotAllowed, NotFound, Unavailable
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.settings import StoreSettings
from gantry_objectstore.store import open_store
from gantry_testing import servers
from redis.asyncio import Redis

SEALER = Sealer({"a": b"k" * 32}, "a")
NOW = 1_800_000_000.0


class Clocks:
    def __init__(self):
        self.wall, self.steady = NOW, 1000.0

    def pass_(self, seconds):
        self.wall += seconds
        self.steady += seconds


@pytest.fixture
async def store(tmp_path):
    opened = open_store(f"file://{tmp_path}", options=StoreSettings())
    yield opened
    await opened.close()


def snapshot(version, *, published=NOW, good_for=600.0, **fields):
    return PolicySnapshot(
        version=version, published_at_us=int(published * 1e6), good_for_us=int(good_for * 1e6), **fields
    )


def feed_of(store, clocks, floor=None, **settings):
    return PolicyFeed(
        store,
        SEALER,
        floor=floor,
        settings=FeedSettings(**settings),
        clock=lambda: clocks.steady,
        wall_clock=lambda: clocks.wall,
    )


def is_open(feed):
    try:
        feed.current()
    except StalePolicy:
        return False
    return True


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_nothing_is_in_force_until_a_snapshot_is_loaded(store):
    feed = feed_of(store, Clocks())
    await feed.refresh()
    assert not is_open(feed)
    await publish_snapshot(store, SEALER, snapshot(1))
    await feed.refresh()
    assert feed.current().version == 1


@pytest.mark.parametrize(("good_for", "max_age", "lasts"), [(600, 0, 600), (600, 60, 60), (60, 600, 60)])
async def test_a_snapshot_is_in_force_until_its_age_or_the_setting_and_then_nothing_is(
    store, good_for, max_age, lasts
):
    clocks = Clocks()
    await publish_snapshot(store, SEALER, snapshot(1, published=NOW - 10, good_for=good_for))
    feed = feed_of(store, clocks, max_age=max_age)
    await feed.refresh()
    assert is_open(feed)
    clocks.pass_(lasts - 10.5)
    assert is_open(feed)
    clocks.pass_(1)
    assert not is_open(feed)
    # What was in force is not what makes it so again; a new snapshot is.
    await feed.refresh()
    assert not is_open(feed)
    await publish_snapshot(store, SEALER, snapshot(2, published=clocks.wall))
    await feed.refresh()
    assert is_open(feed)


async def test_a_snapshot_that_is_good_for_no_time_is_never_in_force(store):
    await publish_snapshot(store, SEALER, snapshot(1, good_for=0))
    feed = feed_of(store, Clocks())
    await feed.refresh()
    assert not is_open(feed)


async def test_a_start_with_an_old_snapshot_fails_closed(store):
    clocks = Clocks()
    await publish_snapshot(store, SEALER, snapshot(1, published=NOW - 601))
    feed = feed_of(store, clocks)
    await feed.refresh()
    assert not is_open(feed)


async def test_setting_the_wall_clock_back_makes_no_snapshot_young_again(store):
    clocks = Clocks()
    await publish_snapshot(store, SEALER, snapshot(1))
    feed = feed_of(store, clocks)
    await feed.refresh()
    clocks.pass_(601)
    clocks.wall = NOW
    assert not is_open(feed)


async def test_versions_never_go_back_and_forged_ones_change_nothing(store):
    feed = feed_of(store, Clocks())
    await publish_snapshot(store, SEALER, snapshot(5))
    await feed.refresh()
    await publish_snapshot(store, SEALER, snapshot(4))
    await publish_snapshot(store, Sealer({"a": b"x" * 32}, "a"), snapshot(6, open_registration=True))
    await feed.refresh()
    assert feed.current().version == 5


async def test_a_start_does_not_go_back_behind_what_was_seen_before(store, tmp_path):
    floor = VersionFloor(tmp_path / "access" / "policy-version")
    await publish_snapshot(store, SEALER, snapshot(5))
    await publish_snapshot(store, SEALER, snapshot(6, revocations=[Revocation(token_id="j")]))
    first = feed_of(store, Clocks(), floor)
    await first.refresh()
    assert (first.current().version, floor.read()) == (6, 6)
    again = feed_of(store, Clocks(), floor)
    await again.refresh()
    assert again.current().version == 6

    await store.delete(snapshot_key(6))
    rolled_back = feed_of(store, Clocks(), floor)
    await rolled_back.refresh()
    assert not is_open(rolled_back)
    await publish_snapshot(store, SEALER, snapshot(7))
    await rolled_back.refresh()
    assert (rolled_back.current().version, floor.read()) == (7, 7)


@pytest.mark.parametrize("spoil", ["", "six", "1e9"])
async def test_a_floor_that_cannot_be_read_is_none_and_is_written_anew(store, tmp_path, spoil):
    floor = VersionFloor(tmp_path / "policy-version")
    floor.path.write_text(spoil)
    await publish_snapshot(store, SEALER, snapshot(5))
    feed = feed_of(store, Clocks(), floor)
    await feed.refresh()
    assert (feed.current().version, floor.read()) == (5, 5)


async def test_a_floor_never_sinks_and_a_folder_that_cannot_be_written_stops_nothing(tmp_path):
    floor = VersionFloor(tmp_path / "policy-version")
    for version in (3, 2):
        floor.rise(version)
    assert floor.read() == 3
    (tmp_path / "file").touch()
    nowhere = VersionFloor(tmp_path / "file" / "policy-version")
    nowhere.rise(1)
    assert nowhere.read() == 0


class Down:
    async def put(self, key, data, *, create=False):
        raise Unavailable("down")

    async def get(self, key):
        raise Unavailable("down")

    async def list(self, prefix):
        raise Unavailable("down")
        yield

    async def list_folders(self, prefix):
        raise Unavailable("down")


async def test_a_start_without_the_bucket_is_a_start_that_allows_nothing():
    feed = PolicyFeed(Down(), SEALER)
    await feed.start()
    try:
        assert not is_open(feed)
        point = rules_point(feed)
        for ask in (
            lambda: point.bearer("token", ""),
            lambda: point.bearer(None, ""),
            lambda: point.entity("CT1", ""),
            lambda: point.require(Principal("x"), Action.SEARCH, Resource("main")),
        ):
            with pytest.raises(StalePolicy):
                ask()
    finally:
        await feed.close()


async def test_a_loss_of_the_bucket_leaves_what_is_in_force(store):
    clocks = Clocks()
    await publish_snapshot(store, SEALER, snapshot(1))
    feed = feed_of(store, clocks)
    await feed.refresh()
    feed._store = Down()
    await feed.refresh()
    assert is_open(feed)


async def test_a_hint_brings_a_revocation_long_before_the_next_poll(store, redis_url):
    feed = PolicyFeed(
        store,
        SEALER,
        redis_url=redis_url,
        settings=FeedSettings(poll=3600, poll_without_hints=3600),
        wall_clock=lambda: NOW,
    )
    await publish_snapshot(store, SEALER, snapshot(1))
    await feed.start()
    redis = Redis.from_url(redis_url)
    try:
        async with asyncio.timeout(10):
            while not (await redis.pubsub_numsub(POLICY_CHANNEL))[0][1]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await publish_snapshot(store, SEALER, snapshot(2, revocations=[Revocation(token_id="j")]))
        await redis.publish(POLICY_CHANNEL, "2")
        await until(lambda: feed.current().version == 2)
    finally:
        await redis.aclose()
        await feed.close()


@pytest.mark.parametrize("way", ["ends", "hangs"])
async def test_the_bucket_is_asked_at_once_when_redis_is_lost(store, tmp_path, way):
    server = servers.start_valkey(tmp_path / "valkey")
    feed = PolicyFeed(
        store,
        SEALER,
        redis_url=server.url,
        settings=FeedSettings(poll=3600, poll_without_hints=3600),
        wall_clock=lambda: NOW,
    )
    await publish_snapshot(store, SEALER, snapshot(1))
    try:
        await feed.start()
        await until(lambda: feed._hears_hints)
        await feed.refresh()
        await publish_snapshot(store, SEALER, snapshot(2))
        # Nobody hints at it.
        server.child.signal(signal.SIGSTOP if way == "hangs" else signal.SIGKILL)
        await until(lambda: feed.current().version == 2)
    finally:
        await feed.close()
        server.kill()


async def test_without_hints_the_bucket_is_asked_more_often(store):
    feed = PolicyFeed(
        store,
        SEALER,
        redis_url="redis://127.0.0.1:1/0",
        settings=FeedSettings(poll=3600, poll_without_hints=0.05),
        wall_clock=lambda: NOW,
    )
    await feed.start()
    try:
        await publish_snapshot(store, SEALER, snapshot(1))
        await until(lambda: is_open(feed))
    finally:
        await feed.close()


async def test_the_point_hides_partitions_where_the_caller_may_do_nothing(store):
    entity = ApplicationEntity(ae_title="CT1", partition="main", may_store=True)
    await publish_snapshot(store, SEALER, snapshot(1, application_entities=[entity]))
    feed = feed_of(store, Clocks())
    await feed.refresh()
    point = rules_point(feed)
    caller = point.entity("CT1", "10.0.0.1")
    assert point.require(caller, Action.STORE, Resource("main")).rule == "entity:store@main"
    with pytest.raises(NotAllowed):
        point.require(caller, Action.SEARCH, Resource("main"))
    with pytest.raises(NotFound):
        point.require(caller, Action.STORE, Resource("other"))
