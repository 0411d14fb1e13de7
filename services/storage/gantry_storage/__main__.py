"""``python -m gantry_storage worker|replay``."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

from gantry_objectstore.keys import check_partition

from gantry_storage.entrypoints import replay, worker
from gantry_storage.settings import StorageSettings


def main() -> None:
    """Run the service, or one replay."""
    parser = argparse.ArgumentParser(prog="gantry-storage", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("worker", help="sweep until told to stop")
    command = commands.add_parser("replay", help="index again what the index lost")
    command.add_argument("--since", type=_moment, required=True, help="ISO 8601; without an offset in UTC")
    command.add_argument("--partition", type=check_partition, help="only this partition")
    arguments = parser.parse_args()
    settings = StorageSettings()
    if arguments.command == "worker":
        worker.run(settings)
        return
    report = replay.run(settings, arguments.since, arguments.partition)
    sys.stdout.write(
        f"{report.manifests} manifests with {report.lines} lines; {report.replayed} had no verdict\n"
    )


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


if __name__ == "__main__":
    main()
