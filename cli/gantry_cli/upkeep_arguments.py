"""The command line of findings, quarantine and conflicts."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import datetime

from gantry_cli.retention_arguments import Commands, Shared

Moment = Callable[[str], datetime]


def add_upkeep_commands(commands: Commands, shared: Shared, moment: Moment) -> None:
    """Add ``findings``, ``quarantine`` and ``conflicts``."""
    _findings(commands.add_parser("findings", help="what is wrong in the archive"), shared, moment)
    _quarantine(commands.add_parser("quarantine", help="what cannot be indexed as it is"), shared)
    _conflicts(commands.add_parser("conflicts", help="one instance received with different bytes"), shared)


def add_reconcile(actions: Commands, shared: Shared, moment: Moment) -> None:
    """Add ``study reconcile``."""
    one = actions.add_parser("reconcile", parents=shared, help="compare bucket, manifests and index")
    one.add_argument("study", metavar="UID", help="Study Instance UID")
    one.add_argument("--digests", action="store_true", help="read every object, not only its size")
    one.add_argument("--repair", action="store_true", help="mend what differs")
    one.add_argument(
        "--since", type=moment, metavar="TIME", help="read all manifests from then on (ISO 8601)"
    )
    _of_partition(one)


def _findings(parser: argparse.ArgumentParser, shared: Shared, moment: Moment) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listed = actions.add_parser("list", parents=shared, help="newest first")
    listed.add_argument("--kind", default="", metavar="KIND", help="such as object-damaged")
    listed.add_argument("--study", default="", metavar="UID", help="only of this study")
    listed.add_argument("--show", choices=("open", "closed", "all"), default="open", help="(open)")
    listed.add_argument("--limit", type=int, default=100, metavar="N", help="the newest so many (100)")
    show = actions.add_parser("show", parents=shared, help="one, with its evidence")
    repair = actions.add_parser("repair", parents=shared, help="have mended what it is about")
    close = actions.add_parser("close", parents=shared, help="close it, because somebody has looked at it")
    close.add_argument("--reason", required=True, metavar="TEXT", help="kept with the finding")
    for one in (show, repair, close):
        one.add_argument("finding", type=int, metavar="N", help="its number, as `list` says it")
    scrub = actions.add_parser("scrub", parents=shared, help="have days read again soon")
    scrub.add_argument("--since", type=moment, required=True, metavar="DAY", help="from then on (ISO 8601)")
    for one in (listed, show, repair, close, scrub):
        _of_partition(one)


def _quarantine(parser: argparse.ArgumentParser, shared: Shared) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listed = actions.add_parser("list", parents=shared, help="show what is in it, and why")
    listed.add_argument("--study", default="", metavar="UID", help="only of this study")
    listed.add_argument("--limit", type=int, default=100, metavar="N", help="so many at most (100)")
    show = actions.add_parser("show", parents=shared, help="one object, and whose it is")
    retry = actions.add_parser("retry", parents=shared, help="have it indexed again")
    reject = actions.add_parser("reject", parents=shared, help="hide it for good")
    reject.add_argument("--reason", required=True, metavar="TEXT", help="kept with the decision")
    for one in (show, retry, reject):
        one.add_argument("object", metavar="OBJECT", help="its key, as `list` says it")
    for one in (listed, show, retry, reject):
        _of_partition(one)


def _conflicts(parser: argparse.ArgumentParser, shared: Shared) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listed = actions.add_parser("list", parents=shared, help="found last first")
    listed.add_argument("--all", action="store_true", help="also those that somebody has looked at")
    listed.add_argument("--limit", type=int, default=100, metavar="N", help="the newest so many (100)")
    show = actions.add_parser("show", parents=shared, help="what came under one UID, side by side")
    show.add_argument("instance", metavar="UID", help="SOP Instance UID")
    for one in (listed, show):
        _of_partition(one)


def _of_partition(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--partition", default="main", metavar="NAME", help="default: main")
    parser.add_argument("--url", metavar="URL", help="root of the gateway (default: the stack of --state)")
