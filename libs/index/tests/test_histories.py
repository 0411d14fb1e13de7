"""The index depends on what was received, not on the order, the chunks or the number of writers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import groupby

import pytest
from gantry.index.v1.index_pb2 import VERDICT_STATE_INDEXED
from gantry_index.aggregates import differences
from gantry_index.pools import IndexPool, Purpose, open_pool
from gantry_index.records import ConflictPolicy, InstanceRecord
from gantry_index.writer import IndexWriter
from gantry_testing.index_records import index_record
from gantry_testing.index_state import index_state
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Entry = tuple[InstanceRecord, ConflictPolicy]


@st.composite
def receptions(draw: st.DrawFn) -> list[Entry]:
    """Receptions in their true order: few instances, so that many of them meet."""
    entries = []
    for order in range(draw(st.integers(2, 14))):
        study = draw(st.sampled_from(["1.1", "1.2"]))
        sop = draw(st.sampled_from(["9.1", "9.2", "9.3"]))
        # The third instance lies in a series that both studies have, the others may move.
        series = "7.7" if sop == "9.3" else f"{study}.{draw(st.integers(1, 2))}"
        record = index_record(
            order=order,
            study=study,
            series=series,
            sop=sop,
            content=draw(st.sampled_from(["a", "b"])),
            patient_id=draw(st.sampled_from(["100", "100", "200", None])),
            patient_name=f"Name^{order}" if draw(st.booleans()) else "Same^Name",
            modality=draw(st.sampled_from(["CT", "CT", "MR", None])),
            study_description=draw(st.sampled_from(["one", "two"])),
            accession_number=draw(st.sampled_from(["A", "A", "A", "B"])),
            meta_length=300 + order,
        )
        entries.append((record, draw(st.sampled_from([*ConflictPolicy, ConflictPolicy.KEEP_FIRST]))))
    return entries


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[list[Entry], list[list[Entry]]]:
    """Receptions, and the same ones permuted, some repeated, and cut into chunks."""
    entries = draw(receptions())
    repeated = entries + draw(st.lists(st.sampled_from(entries), max_size=4))
    shuffled = draw(st.permutations(repeated))
    chunks, start = [], 0
    while start < len(shuffled):
        size = draw(st.integers(1, 5))
        chunks.append(list(shuffled[start : start + size]))
        start += size
    return entries, chunks


async def write(pools: Sequence[IndexPool], chunks: Sequence[Sequence[Entry]]) -> None:
    waiting = iter(chunks)

    async def work(writer: IndexWriter) -> None:
        for chunk in waiting:
            for policy, entries in groupby(chunk, key=lambda entry: entry[1]):
                await writer.index_chunk([record for record, _ in entries], policy=policy)

    async with asyncio.TaskGroup() as tasks:
        for pool in pools:
            tasks.create_task(work(IndexWriter(pool)))
    assert [difference async for difference in differences(pools[0])] == []


async def compare(
    dsn: str, pools: Sequence[IndexPool], entries: Sequence[Entry], chunks: Sequence[Sequence[Entry]]
) -> None:
    await forget(pools[0])
    await write(pools[:1], [[entry] for entry in entries])
    in_order = await index_state(dsn)
    await forget(pools[0])
    await write(pools, chunks)
    assert await index_state(dsn) == in_order


async def forget(pool: IndexPool) -> None:
    for table in ("study", "patient", "segment", "instance", "reception", "finding", "outbox"):
        await pool.execute(f"DELETE FROM {table}")


@pytest.fixture(scope="module")
def history_dsn(postgres_server, index_template):
    yield postgres_server.create_database("histories", index_template)
    postgres_server.drop_database("histories")


@pytest.fixture(scope="module")
def loop_of_histories():
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def two_pools(history_dsn, loop_of_histories):
    async def opened() -> list[IndexPool]:
        return [open_pool(history_dsn, purpose=Purpose.WRITE) for _ in range(2)]

    async def close(pools: list[IndexPool]) -> None:
        for pool in pools:
            await pool.close()

    pools = loop_of_histories.run(opened())
    yield pools
    loop_of_histories.run(close(pools))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=arrivals())
def test_any_order_of_arrival_gives_the_same_index(history_dsn, loop_of_histories, two_pools, history):
    entries, chunks = history
    loop_of_histories.run(compare(history_dsn, two_pools, entries, chunks))


async def test_twenty_first_images_at_once_make_one_patient_and_one_study(index_dsn):
    pool = open_pool(index_dsn, purpose=Purpose.WRITE)
    writer = IndexWriter(pool)
    for turn in range(10):
        await forget(pool)
        results = await asyncio.gather(
            *(
                writer.index_chunk([index_record(order=n, sop=f"1.{turn}.{n}", series=f"2.{n % 3}")])
                for n in range(20)
            )
        )
        assert {verdict.state for [verdict] in results} == {VERDICT_STATE_INDEXED}
        counts = await pool.fetchrow(
            "SELECT (SELECT count(*) FROM patient), (SELECT count(*) FROM study),"
            " (SELECT count(*) FROM series), (SELECT count(*) FROM instance),"
            " (SELECT instance_count FROM study), (SELECT series_count FROM study)"
        )
        assert tuple(counts) == (1, 1, 3, 20, 20, 3)
    await pool.close()


async def test_many_writers_of_the_same_instances_neither_deadlock_nor_collide(index_dsn):
    entries = [
        [
            index_record(
                order=100 * writer + n,
                study=f"1.{n % 3}",
                series=f"1.{n % 3}.1",
                sop=f"9.{n}",
                content=f"{(writer + n) % 3}",
                patient_id=f"P{n % 2}",
            )
            for n in range(12)
        ]
        for writer in range(8)
    ]
    pool = open_pool(index_dsn, purpose=Purpose.WRITE)
    writer = IndexWriter(pool)
    await asyncio.gather(*(writer.index_chunk(chunk[:: (-1) ** n]) for n, chunk in enumerate(entries)))
    state = await index_state(index_dsn)
    assert [difference async for difference in differences(pool)] == []
    await forget(pool)
    for chunk in entries:
        await writer.index_chunk(chunk)
    assert await index_state(index_dsn) == state
    await pool.close()


async def test_one_sop_uid_brought_into_two_studies_at_once_is_always_flagged(index_dsn):
    pool = open_pool(index_dsn, purpose=Purpose.WRITE)
    writer = IndexWriter(pool)
    for turn in range(20):
        await asyncio.gather(
            *(
                writer.index_chunk(
                    [index_record(order=2 * turn + n, study=f"1.{n}", series=f"8.{turn}", sop=f"9.{turn}")]
                )
                for n in range(2)
            )
        )
    kinds = await pool.fetch("SELECT kind, count(*) FROM finding GROUP BY kind ORDER BY kind")
    assert [tuple(row) for row in kinds] == [("instance-in-studies", 40), ("series-in-studies", 40)]
    await pool.close()
