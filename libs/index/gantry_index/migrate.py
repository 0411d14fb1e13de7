"""Brings a database to the newest schema; the only way a schema is made.

Revisions are SQL files run by Alembic. Several runs at once are safe (an advisory lock
lets them pass one by one), and a run that finds nothing to do does nothing. A statement
waits only briefly for a table lock, so that a long search before it cannot make every
other query queue behind the migration; the run is then tried again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import psycopg
import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from gantry_dicom.errors import Unavailable
from gantry_telemetry.logs import get_logger

log = get_logger(__name__)

_LOCK_TIMEOUT = "5s"
# A revision that locks several tables can meet a writer that has them in another order.
_LOCKED = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
_WAIT_FOR_OTHER_RUN_SECONDS = 600.0
_BETWEEN_ATTEMPTS_SECONDS = 0.1
_CONNECT_TIMEOUT = 5


@dataclass(frozen=True, slots=True)
class Schema:
    """The revisions of one kind of database: an Alembic folder, and the number of its advisory lock."""

    name: str
    folder: Path
    lock: int


# The lock is "gantryix" as a number.
INDEX = Schema("index", Path(__file__).parent / "migrations", 0x67616E7472796978)


def migrate(dsn: str, revision: str = "head", *, schema: Schema = INDEX, attempts: int = 5) -> str:
    """Upgrade the database of ``dsn`` to ``revision``; returns the revision it now has.

    A database that a newer release has migrated is left as it is: its schema serves this release too
    (docs/upgrading.md), and whoever puts the older code back runs its migration first.
    Blocks; run it in a thread from asynchronous code. Raises ``Unavailable`` when the
    database does not answer, or when other work holds a table longer than all attempts.
    """
    for attempt in range(1, attempts):
        try:
            return _run(dsn, revision, schema)
        except _LockedError:
            log.warning("migration_waits_for_lock", attempt=attempt)
            time.sleep(attempt)  # lets the queries that were queued behind us pass
    return _run(dsn, revision, schema)


class _LockedError(Unavailable):
    """Another session held a lock longer than a statement of ours may wait, or waited for ours."""


def current_revision(dsn: str) -> str | None:
    """Return the revision of the database, ``None`` before the first migration. Raises ``Unavailable``."""
    engine = _engine(dsn)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    except (sqlalchemy.exc.OperationalError, psycopg.OperationalError) as error:
        raise Unavailable("the database does not answer") from error
    finally:
        engine.dispose()


def revisions(schema: Schema = INDEX) -> list[str]:
    """Return every revision this release knows, oldest first."""
    scripts = ScriptDirectory.from_config(_config(schema)).walk_revisions()
    return [script.revision for script in scripts][::-1]


def _run(dsn: str, revision: str, schema: Schema) -> str:
    engine = _engine(dsn)
    try:
        with engine.connect() as connection:
            # Session level and outside the migration's transactions: held to the end of the run.
            _wait_for_other_runs(connection, schema)
            connection.exec_driver_sql(f"SET lock_timeout = '{_LOCK_TIMEOUT}'")
            before = MigrationContext.configure(connection).get_current_revision()
            connection.commit()
            if before is not None and before > revisions(schema)[-1]:
                log.warning("database_newer_than_code", kind=schema.name, version=before)
                return before
            config = _config(schema)
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            connection.commit()
            reached = MigrationContext.configure(connection).get_current_revision()
    except (sqlalchemy.exc.OperationalError, psycopg.OperationalError) as error:
        cause = getattr(error, "orig", error)  # what psycopg raised, wrapped or not
        kind = _LockedError if isinstance(cause, _LOCKED) else Unavailable
        raise kind(f"the {schema.name} database cannot be migrated now") from error
    finally:
        engine.dispose()  # ends the session, and the lock with it
    log.info("database_migrated", kind=schema.name, version=reached)
    return reached or ""


def _wait_for_other_runs(connection: sqlalchemy.Connection, schema: Schema) -> None:
    """Take the schema's lock, asking again and again.

    Waiting inside a statement would hold a snapshot, which an index that is made concurrently by
    the run before waits for in turn.
    """
    deadline = time.monotonic() + _WAIT_FOR_OTHER_RUN_SECONDS
    while not connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({schema.lock})").scalar():
        connection.commit()
        if time.monotonic() > deadline:
            raise Unavailable(f"another run holds the {schema.name} database")
        time.sleep(_BETWEEN_ATTEMPTS_SECONDS)


def _engine(dsn: str) -> sqlalchemy.Engine:
    return sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(
            dsn, connect_timeout=_CONNECT_TIMEOUT, application_name="gantry-migrate"
        ),
        poolclass=sqlalchemy.pool.NullPool,
    )


def _config(schema: Schema) -> Config:
    config = Config()
    config.set_main_option("script_location", str(schema.folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
