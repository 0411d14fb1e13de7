"""The real servers tests run against, set for speed instead of durability."""

from __future__ import annotations

from pathlib import Path

from gantry_embedded.postgres import PostgresServer
from gantry_embedded.s3 import S3Server
from gantry_embedded.valkey import ValkeyServer
from gantry_index.migrate import migrate

TEMPLATE_DATABASE = "gantry_template"


def start_postgres(folder: Path) -> PostgresServer:
    """Start PostgreSQL without syncing."""
    return PostgresServer(folder, durable=False).start()


def start_valkey(folder: Path) -> ValkeyServer:
    """Start Valkey without its append-only file."""
    return ValkeyServer(folder, durable=False).start()


def start_s3(folder: Path) -> S3Server:
    """Start SeaweedFS with the bucket ``gantry``."""
    return S3Server(folder).start()


def make_index_template(server: PostgresServer) -> str:
    """Create the database every test's index is copied from; returns its name."""
    migrate(server.create_database(TEMPLATE_DATABASE))
    return TEMPLATE_DATABASE
