"""``python -m gantry_index migrate``: the schema's one command."""

from __future__ import annotations

import argparse
import os
import sys

from gantry_dicom.errors import GantryError
from gantry_telemetry import configure

from gantry_index.migrate import migrate


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="gantry_index", description="Care for the index database.")
    commands = parser.add_subparsers(dest="command", required=True)
    upgrade = commands.add_parser("migrate", help="bring the schema up to date; safe to run again")
    upgrade.add_argument(
        "--dsn",
        default=os.environ.get("GANTRY_INDEX_DSN"),
        help="connection string (default: GANTRY_INDEX_DSN)",
    )
    options = parser.parse_args(arguments)
    if not options.dsn:
        parser.error("no database named: set GANTRY_INDEX_DSN or give --dsn")
    configure("index-migrate", os.environ.get("GANTRY_LOG_LEVEL", "INFO"))
    try:
        revision = migrate(options.dsn)
    except GantryError as error:
        print(f"error: {error.detail}", file=sys.stderr)  # noqa: T201 - a command's answer
        return 1
    print(f"index schema at {revision}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
