"""The command line of what is decided about studies and patients."""

from __future__ import annotations

import argparse

from gantry_cli.retention_arguments import Commands, Shared

STUDY_DECISIONS = ("correct", "move", "reject", "hide", "undo")
# PS3.16 CID 7011.
REJECTIONS = ("113001", "113037", "113038", "113039")


def add_amendments(actions: Commands, shared: Shared) -> None:
    """Add ``study correct``, ``move``, ``reject``, ``hide`` and ``undo``."""
    correct = actions.add_parser("correct", parents=shared, help="correct attributes, also of later arrivals")
    move = actions.add_parser("move", parents=shared, help="give it, or a part of it, to another study")
    move.add_argument("--to", required=True, metavar="UID", help="the study that it goes to")
    reject = actions.add_parser("reject", parents=shared, help="leave it out of ordinary searches")
    reject.add_argument("--code", required=True, choices=REJECTIONS, help="why (PS3.16 CID 7011)")
    hide = actions.add_parser("hide", parents=shared, help="delete it, until it is undone or purged")
    undo = actions.add_parser("undo", parents=shared, help="undo a decision")
    undo.add_argument("--revision", type=int, required=True, metavar="N", help="as `history` says it")
    for one in (correct, move):
        _of_attributes(one)
    for one in (correct, move, reject, hide):
        one.add_argument("--series", default="", metavar="UID", help="only this series")
        one.add_argument("--instance", default="", metavar="UID", help="only this instance of the series")
    for one in (correct, move, reject, hide, undo):
        one.add_argument("study", metavar="UID", help="Study Instance UID")
        _of_decisions(one)


def add_patients(parser: argparse.ArgumentParser, shared: Shared) -> None:
    """Add ``patient merge`` and ``patient unmerge``."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    merge = actions.add_parser("merge", parents=shared, help="all of one patient is another's from now on")
    merge.add_argument("--into", required=True, metavar="ID", help="Patient ID of the one that stays")
    merge.add_argument("--into-id-issuer", default="", metavar="ISSUER", help="its Issuer of Patient ID")
    _of_attributes(merge)
    unmerge = actions.add_parser("unmerge", parents=shared, help="undo a merge")
    unmerge.add_argument("--revision", type=int, required=True, metavar="N", help="as `merge` said it")
    for one in (merge, unmerge):
        one.add_argument("patient", metavar="ID", help="Patient ID of the one that was merged")
        one.add_argument("--id-issuer", default="", metavar="ISSUER", help="its Issuer of Patient ID")
        _of_decisions(one)


def _of_attributes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="by keyword or tag; repeatable"
    )
    parser.add_argument(
        "--remove", action="append", default=[], metavar="NAME", help="an attribute to take away; repeatable"
    )


def _of_decisions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", required=True, metavar="TEXT", help="kept with the decision")
    parser.add_argument("--partition", default="main", metavar="NAME", help="default: main")
    parser.add_argument("--url", metavar="URL", help="root of the gateway (default: the stack of --state)")
