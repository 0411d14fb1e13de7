"""Runs the SQL file of a revision."""

from __future__ import annotations

from pathlib import Path

import psycopg
import sqlalchemy

_FOLDER = Path(__file__).parent / "sql"


def run_sql(connection: sqlalchemy.Connection, name: str) -> None:
    """Run ``sql/<name>`` in the current transaction, as it is (several statements, ``%`` included)."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise TypeError("migrations run on psycopg")
    driver.execute((_FOLDER / name).read_bytes())
