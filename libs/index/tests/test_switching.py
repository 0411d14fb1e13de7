"""An index built beside the one in use takes its place."""

from __future__ import annotations

import psycopg
import pytest
from gantry_dicom.errors import BadRequest, NotFound
from gantry_index.migrate import migrate
from gantry_index.switching import ensure_database, sibling, switch


@pytest.fixture
def fresh(postgres_server, index_dsn):
    """The name of a second, migrated database beside ``index_dsn``."""
    name = f"{psycopg.conninfo.conninfo_to_dict(index_dsn)['dbname']}_new"
    dsn = sibling(index_dsn, name)
    assert ensure_database(dsn)
    assert not ensure_database(dsn), "it is there"
    migrate(dsn)
    yield name
    postgres_server.drop_database(name)


def mark(dsn, payload):
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE mark (name text)")
        connection.execute("INSERT INTO mark VALUES (%s)", [payload])
        connection.execute("INSERT INTO outbox (payload) VALUES (%s)", [payload.encode()])


def read(dsn, table):
    with psycopg.connect(dsn) as connection:
        return connection.execute(f"SELECT * FROM {table}").fetchall()


def test_who_is_connected_finds_the_new_index_under_the_old_name_and_no_old_news(
    postgres_server, index_dsn, fresh
):
    mark(index_dsn, "old")
    mark(sibling(index_dsn, fresh), "new")
    with psycopg.connect(index_dsn, autocommit=True) as held:
        kept = switch(index_dsn, fresh)
        with pytest.raises(psycopg.OperationalError):
            held.execute("SELECT 1")
    try:
        assert read(index_dsn, "mark") == [("new",)]
        assert read(index_dsn, "outbox") == []
        old = sibling(index_dsn, kept)
        assert read(old, "mark") == [("old",)]
        assert len(read(old, "outbox")) == 1, "what was not told yet is kept"
    finally:
        postgres_server.drop_database(kept)


def test_without_a_new_index_the_one_in_use_stays(index_dsn):
    with pytest.raises(NotFound):
        switch(index_dsn, "nowhere")
    assert read(index_dsn, "outbox") == []


@pytest.mark.parametrize("dsn", ["postgresql://localhost/postgres", "host=localhost", "no such thing"])
def test_a_name_that_is_no_index_is_refused(dsn):
    with pytest.raises(BadRequest):
        ensure_database(dsn)


def test_another_database_is_named_by_a_url_as_services_take_it():
    dsn = "postgresql://me:secret@db:5432/index?sslmode=require"
    assert sibling(dsn, "a/b") == "postgresql://me:secret@db:5432/a%2Fb?sslmode=require"
    with pytest.raises(BadRequest):
        sibling("host=db dbname=index", "other")
