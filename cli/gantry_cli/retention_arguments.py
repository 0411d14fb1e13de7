"""The command line of holds, retention and certificates."""

from __future__ import annotations

import argparse
from typing import Protocol, TypeAlias


class Commands(Protocol):
    """What ``add_subparsers`` returns, whose own name is private."""

    def add_parser(
        self,
        name: str,
        *,
        parents: list[argparse.ArgumentParser] = ...,
        help: str = ...,  # noqa: A002
    ) -> argparse.ArgumentParser:
        """Add a command."""


Shared: TypeAlias = list[argparse.ArgumentParser]

# What a line of `gantry capacity` can be about.
KINDS = ("partition", "tier", "modality", "month", "state")


def add_retention_commands(commands: Commands, shared: Shared) -> None:
    """Add ``hold``, ``retention``, ``certificate`` and ``capacity``."""
    _holds(commands.add_parser("hold", help="what nobody may delete"), shared)
    _retention(commands.add_parser("retention", help="what goes by its age, and when"), shared)
    _certificates(commands.add_parser("certificate", help="what was destroyed, and by whom"), shared)
    _capacity(commands.add_parser("capacity", parents=shared, help="how much is stored, and what is left"))


def add_purge(actions: Commands, shared: Shared) -> None:
    """Add ``study purge`` and ``study recall``."""
    recall = actions.add_parser("recall", parents=shared, help="bring a study back from a cold store")
    recall.add_argument("study", metavar="UID", help="Study Instance UID")
    recall.add_argument("--reason", required=True, metavar="TEXT", help="kept with the decision")
    _of_partition(recall)
    purge = actions.add_parser("purge", parents=shared, help="destroy what is deleted of a study")
    purge.add_argument("study", metavar="UID", help="Study Instance UID")
    purge.add_argument("--reason", required=True, metavar="TEXT", help="kept with the certificate")
    purge.add_argument("--now", action="store_true", help="also what could still be restored")
    _of_partition(purge)


def _holds(parser: argparse.ArgumentParser, shared: Shared) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    place = actions.add_parser("place", parents=shared, help="forbid to delete")
    what = place.add_mutually_exclusive_group(required=True)
    what.add_argument("--study", default="", metavar="UID", help="a study")
    what.add_argument("--patient", default="", metavar="ID", help="whatever names this Patient ID")
    what.add_argument("--whole-partition", action="store_true", help="everything in the partition")
    place.add_argument(
        "--issuer-of-patient-id", default="", metavar="NAME", help="of that Patient ID (default: any)"
    )
    place.add_argument("--reason", required=True, metavar="TEXT", help="kept with the hold")
    lift = actions.add_parser("lift", parents=shared, help="end a hold")
    lift.add_argument("hold", metavar="HOLD", help="its name, as `list` says it")
    lift.add_argument("--reason", required=True, metavar="TEXT", help="kept with the hold")
    show = actions.add_parser("list", parents=shared, help="show holds")
    show.add_argument("--all", action="store_true", help="lifted ones too")
    for one in (place, lift, show):
        _of_partition(one)


def _retention(parser: argparse.ArgumentParser, shared: Shared) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, described in (("plan", "show what a run would do now"), ("run", "do it now")):
        _of_partition(actions.add_parser(name, parents=shared, help=described))


def _certificates(parser: argparse.ArgumentParser, shared: Shared) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listed = actions.add_parser("list", parents=shared, help="newest first")
    listed.add_argument("--study", default="", metavar="UID", help="only of this study")
    listed.add_argument("--limit", type=int, default=100, metavar="N", help="the newest so many (100)")
    show = actions.add_parser("show", parents=shared, help="one, with everything that it names")
    show.add_argument("certificate", metavar="NAME", help="as `list` says it")
    for one in (listed, show):
        _of_partition(one)


def _capacity(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--by", type=_kinds, default="partition,tier", metavar="KINDS", help=f"of {', '.join(KINDS)}"
    )
    parser.add_argument("--days", type=int, default=30, metavar="N", help="of growth for the forecast (30)")
    parser.add_argument("--partition", metavar="NAME", help="only this one")
    parser.add_argument("--url", metavar="URL", help="root of the gateway (default: the stack of --state)")


def _kinds(text: str) -> str:
    if not text or set(text.split(",")) - set(KINDS):
        raise argparse.ArgumentTypeError(f"kinds are {', '.join(KINDS)}, with commas between")
    return text


def _of_partition(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--partition", default="main", metavar="NAME", help="default: main")
    parser.add_argument("--url", metavar="URL", help="root of the gateway (default: the stack of --state)")
