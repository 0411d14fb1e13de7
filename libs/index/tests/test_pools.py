"""Connections while PostgreSQL is down, gone, stopped or no longer the primary."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import asyncpg
import psycopg
import pytest
from gantry_dicom.errors import Unavailable
from gantry_embedded.postgres import PostgresServer
from gantry_index.pools import IndexPool, PoolSettings, Purpose, open_pool
from gantry_index.writer import IndexWriter
from gantry_testing.index_records import index_record

QUICK = PoolSettings(
    max_size=2, connect_timeout=1.0, acquire_timeout=1.5, statement_timeout=1.0, lock_timeout=0.5
)


@pytest.fixture
def own_server(tmp_path_factory):
    """A server of the test's own, which it may ill-treat; migrated database ``index``."""
    with PostgresServer(tmp_path_factory.mktemp("own"), durable=False) as server:
        yield server


async def becomes(pool: IndexPool, *, reachable: bool) -> bool:
    for _ in range(500):
        if await pool.is_reachable() == reachable:
            return True
        await asyncio.sleep(0.01)
    return False


async def test_a_pool_opens_without_a_server_and_says_that_there_is_none(free_port):
    pool = open_pool(f"postgresql://gantry@127.0.0.1:{free_port}/index", settings=QUICK)
    with pytest.raises(Unavailable):
        await pool.fetch("SELECT 1")
    assert not await pool.is_reachable()
    await pool.close()


async def test_a_pool_meets_a_server_that_comes_and_goes(own_server):
    pool = open_pool(own_server.dsn, settings=QUICK)
    assert (await pool.fetchrow("SELECT 1 AS one"))["one"] == 1
    own_server.kill()
    with pytest.raises(Unavailable):
        await pool.fetch("SELECT 1")
    own_server.start()
    assert (await pool.fetchrow("SELECT 2 AS two"))["two"] == 2
    await pool.close()


async def test_a_stopped_server_costs_a_bounded_wait(own_server):
    pool = open_pool(own_server.dsn, settings=QUICK)
    async with pool.acquire() as connection:
        pid = connection.get_server_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await pool.fetch("SELECT 1")
        assert time.monotonic() - started < 6
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (await pool.fetchrow("SELECT 1 AS one"))["one"] == 1
    await pool.close()


async def test_something_that_accepts_and_says_nothing_costs_a_bounded_wait():
    connected = []
    server = await asyncio.start_server(lambda _reader, writer: connected.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    pool = open_pool(f"postgresql://gantry@127.0.0.1:{port}/index", settings=QUICK)
    started = time.monotonic()
    with pytest.raises(Unavailable):
        await pool.fetch("SELECT 1")
    assert time.monotonic() - started < 4
    await pool.close()
    for writer in connected:
        writer.close()
    server.close()


async def test_a_connection_ended_by_the_server_is_unavailable_once(index_dsn):
    pool = open_pool(index_dsn, settings=QUICK)

    async def lose() -> None:
        async with pool.acquire() as connection:
            with psycopg.connect(index_dsn, autocommit=True) as admin:
                admin.execute("SELECT pg_terminate_backend(%s)", [connection.get_server_pid()])
            await connection.fetch("SELECT 1")

    with pytest.raises(Unavailable):
        await lose()
    assert (await pool.fetchrow("SELECT 1 AS one"))["one"] == 1
    await pool.close()


async def test_a_long_statement_is_ended(index_dsn):
    pool = open_pool(index_dsn, settings=QUICK)
    with pytest.raises(Unavailable, match="57014"):
        await pool.fetch("SELECT pg_sleep(30)")
    assert (await pool.fetchrow("SELECT 1 AS one"))["one"] == 1
    await pool.close()


async def test_a_row_lock_of_another_session_is_waited_for_within_bounds(index_dsn):
    pool = open_pool(index_dsn, purpose=Purpose.WRITE, settings=QUICK)
    await pool.execute("INSERT INTO outbox (payload) VALUES ('x')")
    with psycopg.connect(index_dsn) as other:
        other.execute("SELECT 1 FROM outbox FOR UPDATE")
        with pytest.raises(Unavailable, match="55P03"):
            await pool.execute("DELETE FROM outbox")
    await pool.close()


async def test_a_database_that_takes_no_connections_for_a_while_is_unavailable(index_dsn):
    pool = open_pool(index_dsn, settings=QUICK)
    server, name = index_dsn.rsplit("/", 1)
    with psycopg.connect(f"{server}/postgres", autocommit=True) as other:
        other.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
        with pytest.raises(Unavailable, match="55000"):
            await pool.fetch("SELECT 1")
        other.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")
    assert (await pool.fetchrow("SELECT 1 AS one"))["one"] == 1
    await pool.close()


async def test_errors_of_the_statement_itself_stay_what_they_are(index_dsn):
    pool = open_pool(index_dsn, settings=QUICK)
    with pytest.raises(asyncpg.SyntaxOrAccessError):
        await pool.fetch("SELEC 1")
    with pytest.raises(asyncpg.DataError):
        await pool.fetch("SELECT $1::integer", "no number")
    await pool.close()


async def test_a_caller_that_goes_away_leaves_a_usable_pool(index_dsn):
    pool = open_pool(index_dsn, settings=PoolSettings(max_size=1))
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await pool.fetch("SELECT pg_sleep(5)")
    assert (await pool.fetchrow("SELECT 1 AS one"))["one"] == 1
    await pool.close()


@pytest.mark.parametrize("purpose", list(Purpose))
async def test_a_demoted_server_is_left_and_the_promoted_one_found(own_server, purpose):
    settings = PoolSettings(max_size=2, recheck_after=0.0)
    pool = open_pool(own_server.dsn, purpose=purpose, settings=settings)
    await pool.fetch("SELECT 1")
    with psycopg.connect(own_server.dsn, autocommit=True) as admin:
        admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        admin.execute("SELECT pg_reload_conf()")
        assert await becomes(pool, reachable=False)  # connections that were open notice
        with pytest.raises(Unavailable):  # and new ones are not made to it
            await pool.fetch("SELECT 1")
        admin.execute("SET default_transaction_read_only = off")
        admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
        admin.execute("SELECT pg_reload_conf()")
    assert await becomes(pool, reachable=True)
    await pool.close()


async def test_a_write_on_a_read_only_server_is_unavailable(index_dsn):
    pool = open_pool(index_dsn, purpose=Purpose.WRITE)

    async def write_after_demotion() -> None:
        async with pool.acquire() as connection:
            await connection.execute("SET default_transaction_read_only = on")
            await connection.execute("INSERT INTO outbox (payload) VALUES ('x')")

    with pytest.raises(Unavailable, match="25006"):
        await write_after_demotion()
    await pool.execute("INSERT INTO outbox (payload) VALUES ('x')")
    await pool.close()


async def test_read_pools_plan_each_search_for_itself(index_dsn):
    read, write = open_pool(index_dsn), open_pool(index_dsn, purpose=Purpose.WRITE)
    assert (await read.fetchrow("SHOW plan_cache_mode"))[0] == "force_custom_plan"
    assert (await write.fetchrow("SHOW plan_cache_mode"))[0] == "force_generic_plan"
    await read.close()
    await write.close()


async def test_a_chunk_is_all_or_nothing_when_its_connection_dies(index_dsn, pool, writer):
    records = [index_record(order=n, sop=f"1.{n}") for n in range(3)]
    with psycopg.connect(index_dsn) as other:
        other.execute("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE")  # the chunk waits at its end
        chunk = asyncio.create_task(writer.index_chunk(records))
        with psycopg.connect(index_dsn, autocommit=True) as admin:
            for _ in range(1000):
                if admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE wait_event_type = 'Lock' AND datname = current_database()"
                ).fetchall():
                    break
                await asyncio.sleep(0.01)
        with pytest.raises(Unavailable):
            await chunk
    assert await pool.fetch("SELECT 1 FROM reception UNION ALL SELECT 1 FROM study") == []
    await writer.index_chunk(records)
    assert (await pool.fetchrow("SELECT instance_count FROM study"))["instance_count"] == 3


async def test_a_cancelled_chunk_leaves_nothing_behind(index_dsn, pool, writer):
    with psycopg.connect(index_dsn) as other:
        other.execute("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await writer.index_chunk([index_record()])
    [verdict] = await IndexWriter(pool).index_chunk([index_record()])
    assert verdict.state == 2
    assert (await pool.fetchrow("SELECT instance_count FROM study"))["instance_count"] == 1
