"""``python -m gantry_storage worker|replay|rebuild|scrub|bucket``."""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime

from gantry_dicom.errors import Unavailable
from gantry_objectstore.keys import check_partition

from gantry_storage.entrypoints import bucket, replay, scrub, worker
from gantry_storage.settings import StorageSettings

# Before any batch, with the slack of a replay.
BEGINNING = datetime(1970, 1, 2, tzinfo=UTC)


def main() -> None:
    """Run the service, or one replay."""
    parser = argparse.ArgumentParser(prog="gantry-storage", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("worker", help="sweep until told to stop")
    command = commands.add_parser("replay", help="index again what the index lost")
    anew = commands.add_parser("rebuild", help="index everything that the bucket holds, into an empty index")
    anew.add_argument("--until", type=_moment, help="ISO 8601; the index as it was then")
    anew.add_argument("--window", type=_count, default=16, help="chunks of 64 under way at a time (16)")
    anew.add_argument("--partition", type=check_partition, help="only this partition")
    command.add_argument("--since", type=_moment, required=True, help="ISO 8601; without an offset in UTC")
    command.add_argument("--partition", type=check_partition, help="only this partition")
    again = commands.add_parser("scrub", help="read every object again and compare; ends with 1 on findings")
    again.add_argument("--partition", type=check_partition, help="only this partition")
    again.add_argument("--since", type=_moment, help="ISO 8601; only what was received from that day on")
    again.add_argument("--rate", type=float, default=0.0, metavar="BYTES", help="a second at most (no limit)")
    again.add_argument("--repair", action="store_true", help="mend what can be mended, as the worker does")
    kept = commands.add_parser("bucket", help="the bucket's settings as JSON; ends with 1 when any is wrong")
    which = kept.add_mutually_exclusive_group()
    which.add_argument("--verify", action="store_true", help="only look (the default)")
    which.add_argument("--apply", action="store_true", help="set what is wrong")
    arguments = parser.parse_args()
    settings = StorageSettings()
    if arguments.command == "worker":
        worker.run(settings)
        return
    if arguments.command == "bucket":
        sys.exit(1 if bucket.run(settings, change=arguments.apply) else 0)
    if arguments.command == "scrub":
        chosen = {"scrub_bytes_per_second": arguments.rate, "scrub_objects_per_second": 0.0}
        if not arguments.repair:
            chosen["repair_attempts"] = 0
        try:
            found = scrub.run(settings.model_copy(update=chosen), arguments.partition, arguments.since)
        except Unavailable as error:
            sys.stderr.write(f"ended early: {error.detail}\n")
            sys.exit(2)
        sys.exit(1 if found else 0)
    begun = time.monotonic()
    if arguments.command == "rebuild":
        report = replay.run(
            settings, BEGINNING, arguments.partition, until=arguments.until, window=arguments.window
        )
    else:
        report = replay.run(settings, arguments.since, arguments.partition)
    seconds = time.monotonic() - begun
    sys.stdout.write(
        f"{report.manifests} manifests with {report.lines} lines; {report.replayed} had no verdict\n"
    )
    if arguments.command == "rebuild":
        sys.stdout.write(f"{seconds:.1f} s, {report.replayed / seconds:.0f} instances/s\n")


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("at least one")
    return count


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


if __name__ == "__main__":
    main()
