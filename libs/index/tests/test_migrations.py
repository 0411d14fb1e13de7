from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest
from gantry_dicom.errors import Unavailable
from gantry_index import migrate as module
from gantry_index.migrate import current_revision, migrate, revisions

CATALOGUE = """
SELECT 'column', table_name, column_name, data_type, is_nullable, coalesce(column_default, '')
FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'
UNION ALL
SELECT 'index', tablename, indexname, indexdef, '', '' FROM pg_indexes WHERE schemaname = 'public'
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', ''
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT 'option', oid::regclass::text, array_to_string(reloptions, ','), '', '', ''
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND reloptions IS NOT NULL
ORDER BY 1, 2, 3, 4
"""


def catalogue(dsn: str) -> list[tuple[str, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(CATALOGUE).fetchall()


@pytest.fixture
def empty_dsn(postgres_server) -> Iterator[str]:
    name = f"empty_{uuid4().hex[:12]}"
    yield postgres_server.create_database(name)
    postgres_server.drop_database(name)


def test_a_fresh_database_gets_the_newest_schema(empty_dsn):
    assert current_revision(empty_dsn) is None
    assert migrate(empty_dsn) == revisions()[-1]
    assert current_revision(empty_dsn) == revisions()[-1]
    tables = {row[1] for row in catalogue(empty_dsn) if row[0] == "column"}
    assert {"reception", "patient", "study", "series", "instance", "segment", "outbox"} <= tables


def test_migrating_again_changes_nothing(empty_dsn):
    migrate(empty_dsn)
    before = catalogue(empty_dsn)
    with psycopg.connect(empty_dsn) as connection:
        connection.execute("INSERT INTO outbox (payload) VALUES ('x')")
    migrate(empty_dsn)
    assert catalogue(empty_dsn) == before
    with psycopg.connect(empty_dsn) as connection:
        assert connection.execute("SELECT count(*) FROM outbox").fetchone() == (1,)


def test_a_database_of_a_newer_release_is_left_as_it_is(empty_dsn):
    migrate(empty_dsn)
    with psycopg.connect(empty_dsn) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    before = catalogue(empty_dsn)
    assert migrate(empty_dsn) == "9999"
    assert current_revision(empty_dsn) == "9999"
    assert catalogue(empty_dsn) == before


def test_eight_runs_at_once_make_one_schema(empty_dsn):
    with ThreadPoolExecutor(8) as threads:
        reached = list(threads.map(migrate, [empty_dsn] * 8))
    assert reached == [revisions()[-1]] * 8
    assert current_revision(empty_dsn) == revisions()[-1]


def test_a_database_migrated_step_by_step_equals_a_fresh_one(empty_dsn, postgres_server):
    for revision in revisions():
        migrate(empty_dsn, revision)
    name = f"fresh_{uuid4().hex[:12]}"
    fresh = postgres_server.create_database(name)
    migrate(fresh)
    assert catalogue(empty_dsn) == catalogue(fresh)
    postgres_server.drop_database(name)


def test_a_failed_run_leaves_nothing_half_done(empty_dsn):
    with psycopg.connect(empty_dsn) as connection:
        connection.execute("CREATE TABLE outbox (something_else int)")
    with pytest.raises(Exception, match="outbox"):
        migrate(empty_dsn)
    tables = {row[1] for row in catalogue(empty_dsn)}
    assert tables == {"outbox"}


@pytest.fixture
def held_table(empty_dsn, monkeypatch):
    """A table that the first migration makes too, in a transaction of somebody else."""
    monkeypatch.setattr(module, "_LOCK_TIMEOUT", "100ms")
    with psycopg.connect(empty_dsn) as other:
        other.execute("CREATE TABLE alembic_version (version_num varchar(32) NOT NULL)")
        yield other


def test_a_run_waits_only_briefly_for_a_lock(empty_dsn, held_table):
    with pytest.raises(Unavailable):
        migrate(empty_dsn, attempts=1)
    assert current_revision(empty_dsn) is None


def test_a_run_tries_again_when_the_lock_is_free(empty_dsn, held_table, monkeypatch):
    waits = []
    monkeypatch.setattr(module.time, "sleep", lambda seconds: waits.append(seconds) or held_table.rollback())
    assert migrate(empty_dsn) == revisions()[-1]
    assert waits == [1]


def test_a_run_that_met_a_writer_with_its_tables_in_another_order_is_tried_again(empty_dsn, monkeypatch):
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    runs = iter([psycopg.errors.DeadlockDetected(), None])
    upgrade = module.command.upgrade

    def upgrade_or_fail(config, revision):
        if error := next(runs):
            raise error
        upgrade(config, revision)

    monkeypatch.setattr(module.command, "upgrade", upgrade_or_fail)
    assert migrate(empty_dsn) == revisions()[-1]


def test_a_database_that_does_not_answer_is_said_so(free_port):
    with pytest.raises(Unavailable):
        migrate(f"postgresql://gantry@127.0.0.1:{free_port}/index")


def test_the_command_migrates(empty_dsn):
    run = [sys.executable, "-m", "gantry_index", "migrate", "--dsn", empty_dsn]
    for _ in range(2):
        done = subprocess.run(run, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"index schema at {revisions()[-1]}\n"


def test_the_command_fails_plainly_without_a_database(free_port):
    dsn = f"postgresql://gantry@127.0.0.1:{free_port}/index"
    run = [sys.executable, "-m", "gantry_index", "migrate", "--dsn", dsn]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "cannot be migrated" in done.stderr
    assert "Traceback" not in done.stderr
