"""Runs the SQL file of a revision."""

from __future__ import annotations

from pathlib import Path

import psycopg
import sqlalchemy

_FOLDER = Path(__file__).parent / "sql"


def run_sql(connection: sqlalchemy.Connection, name: str) -> None:
    """Run ``sql/<name>`` of the index in the current transaction."""
    run_file(connection, _FOLDER / name)


def run_file(connection: sqlalchemy.Connection, file: Path) -> None:
    """Run a file in the current transaction, as it is (several statements, ``%`` included)."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise TypeError("migrations run on psycopg")
    driver.execute(file.read_bytes())
