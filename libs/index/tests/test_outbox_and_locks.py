"""The outbox relay's side of the database, and the advisory lock under it."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from gantry_dicom.errors import Unavailable
from gantry_index.locks import SWEEPER, AdvisoryLock
from gantry_index.outbox import OutboxTable


async def test_one_of_two_holds_the_lock_until_it_lets_go(index_dsn):
    one, other = AdvisoryLock(index_dsn, SWEEPER), AdvisoryLock(index_dsn, SWEEPER)
    assert await one.hold()
    assert await one.hold()
    assert not await other.hold()
    await one.release()
    assert await other.hold()
    await other.release()


async def test_several_tasks_may_ask_for_one_lock_at_once(index_dsn):
    lock = AdvisoryLock(index_dsn, SWEEPER)
    assert await asyncio.gather(*(lock.hold() for _ in range(5))) == [True] * 5
    await lock.release()


async def test_a_lock_whose_session_was_ended_is_known_to_be_lost(index_dsn):
    lock = AdvisoryLock(index_dsn, SWEEPER)
    assert await lock.hold()
    pid = lock.connection.get_server_pid()
    admin = await asyncpg.connect(index_dsn)
    await admin.execute("SELECT pg_terminate_backend($1)", pid)
    await admin.close()
    with pytest.raises(Unavailable):
        await lock.hold()
    assert await lock.hold()
    await lock.release()


async def test_without_a_database_the_lock_is_unavailable(free_port):
    with pytest.raises(Unavailable):
        await AdvisoryLock(f"postgresql://nobody@127.0.0.1:{free_port}/none", SWEEPER).hold()


async def test_outbox_rows_come_oldest_first_and_go_when_removed(index_dsn):
    connection = await asyncpg.connect(index_dsn)
    await connection.executemany("INSERT INTO outbox (payload) VALUES ($1)", [(b"a",), (b"b",), (b"c",)])
    table = OutboxTable(index_dsn)
    assert await table.become_relay()
    rows = await table.oldest(2)
    assert [payload for _, payload in rows] == [b"a", b"b"]
    await table.remove([sequence for sequence, _ in rows])
    assert [payload for _, payload in await table.oldest(10)] == [b"c"]
    await table.close()
    await connection.close()


async def test_the_outbox_is_unavailable_when_its_session_ends(index_dsn):
    table = OutboxTable(index_dsn)
    assert await table.become_relay()
    connection = await asyncpg.connect(index_dsn)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    with pytest.raises(Unavailable):
        await table.oldest(1)
    assert await table.become_relay()
    await table.close()
    await connection.close()
