"""Ranges, budgets and URLs."""

import asyncio
import threading
from pathlib import Path

import pytest
from gantry_dicom.errors import OutOfResources
from gantry_objectstore.budget import ByteBudget
from gantry_objectstore.errors import SettingsError
from gantry_objectstore.files import FileStore
from gantry_objectstore.ranges import cut, spans_of
from gantry_objectstore.s3 import S3Store
from gantry_objectstore.settings import StoreSettings
from gantry_objectstore.store import open_store
from hypothesis import given
from hypothesis import strategies as st

DATA = bytes(number % 251 for number in range(3000))
ranges = st.lists(
    st.tuples(st.integers(0, 2999), st.integers(0, 900)).filter(lambda each: sum(each) <= len(DATA)),
    max_size=30,
)


@given(ranges=ranges, gap=st.integers(0, 300), longest=st.integers(1, 1500))
def test_every_range_is_cut_out_of_few_spans(ranges: list[tuple[int, int]], gap: int, longest: int) -> None:
    spans = spans_of(ranges, gap, longest)
    found = [DATA[start:end] for start, end in spans]
    assert [cut(spans, found, *each) for each in ranges] == [
        DATA[offset : offset + length] for offset, length in ranges
    ]
    assert all(end - start <= max(longest, max(length for _, length in ranges)) for start, end in spans)


def test_neighbours_are_read_together_and_far_ones_are_not() -> None:
    assert spans_of([(100, 50), (0, 90), (1000, 1)], 10, 500) == [(0, 150), (1000, 1001)]
    assert spans_of([(0, 300), (300, 300)], 10, 500) == [(0, 300), (300, 600)]


def test_a_budget_refuses_what_it_does_not_have() -> None:
    budget = ByteBudget(10)
    budget.take(7)
    with pytest.raises(OutOfResources):
        budget.take(4)
    budget.give(7)
    budget.take(10)
    assert budget.used == 10


async def test_waiters_get_their_bytes_in_order() -> None:
    budget = ByteBudget(10)
    order: list[int] = []

    async def hold(amount: int) -> None:
        async with budget.hold(amount):
            order.append(amount)
            await asyncio.sleep(0)

    budget.take(10)
    tasks = [asyncio.create_task(hold(amount)) for amount in (9, 3, 1, 50)]
    await asyncio.sleep(0)
    assert order == []
    budget.give(10)
    await asyncio.gather(*tasks)
    assert order == [9, 3, 1, 50]  # the one that asks for too much gets everything
    assert budget.used == 0


async def test_a_cancelled_waiter_takes_nothing_with_it() -> None:
    budget = ByteBudget(10)

    async def hold() -> None:
        async with budget.hold(5):
            pass

    budget.take(10)
    first, second = asyncio.create_task(hold()), asyncio.create_task(hold())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    budget.give(5)
    second.cancel()  # granted in this very moment
    await asyncio.gather(first, second, return_exceptions=True)
    assert budget.used == 5
    budget.take(5)


def test_a_budget_is_shared_between_event_loops() -> None:
    budget = ByteBudget(4)
    peak: list[int] = []

    async def work() -> None:
        for _ in range(50):
            async with budget.hold(3):
                peak.append(budget.used)
                await asyncio.sleep(0)

    threads = [threading.Thread(target=lambda: asyncio.run(work())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(peak) == 200
    assert max(peak) <= 4
    assert budget.used == 0


def test_urls_open_the_store_they_name(tmp_path: Path) -> None:
    files = open_store((tmp_path / "with space").as_uri())
    assert isinstance(files, FileStore)
    assert files.root == tmp_path / "with space"
    s3 = open_store(
        "s3://bucket/a/prefix?endpoint=http://127.0.0.1:1&region=eu-west-1&style=virtual",
        options=StoreSettings("a", "b"),
    )
    assert isinstance(s3, S3Store)
    assert (s3.bucket, s3.prefix, s3.endpoint) == ("bucket", "a/prefix", "http://127.0.0.1:1")
    assert (s3.region, s3.virtual_hosts) == ("eu-west-1", True)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "file://host/x",
        "file:x",
        "http://x",
        "s3://",
        "s3://b?endpont=x",
        "s3://b?style=x",
        "/x",
        "file:///x?y=z",
    ],
)
def test_urls_that_name_no_store_are_refused(url: str) -> None:
    with pytest.raises(SettingsError):
        open_store(url)


def test_credentials_come_from_the_environment_and_never_show() -> None:
    settings = StoreSettings.from_environment({"GANTRY_S3_ACCESS_KEY": "a", "GANTRY_S3_SECRET_KEY": "hidden"})
    assert (settings.access_key, settings.secret_key) == ("a", "hidden")
    assert "hidden" not in repr(settings)
