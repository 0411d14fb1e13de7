"""``gantry quarantine list|show|retry|reject``: what was received and cannot be indexed as it is."""

from __future__ import annotations

import argparse
import json
from typing import Any

from gantry_cli.access import AccessOptions
from gantry_cli.administration import ask, ask_storage
from gantry_cli.exits import FAILED, OK
from gantry_cli.terminal import say, table

PATH = "/admin/quarantine"
_HEADS = ("OBJECT", "SINCE", "TRIED", "FROM", "INSTANCE", "REASON")


def run(access: AccessOptions, options: argparse.Namespace) -> int:
    """List, show, retry or reject. Raises the ``GantryError`` that it ends with."""
    if options.action == "list":
        query = {"limit": str(options.limit)} | ({"study": options.study} if options.study else {})
        found = ask(access, options, "GET", PATH, query)
        for line in [json.dumps(found, indent=2)] if options.json else table(_HEADS, map(_row, found)):
            say(line)
        return OK
    if options.action == "show":
        say(json.dumps(ask(access, options, "GET", f"{PATH}/objects/{options.object}"), indent=2))
        return OK
    if options.action == "reject":
        path = f"{PATH}/reject/{options.object}"
        answer = ask(access, options, "POST", path, {"reason": options.reason})
        say(json.dumps(answer, indent=2) if options.json else f"{answer['objectKey']} is hidden for good")
        return OK
    answer = ask_storage(access, options, f"{PATH}/retry/{options.object}")
    reason = f": {answer['reason']}" if answer["reason"] else ""
    say(json.dumps(answer, indent=2) if options.json else f"{answer['verdict']}{reason}")
    return FAILED if answer["verdict"] == "quarantined" else OK


def _row(one: dict[str, Any]) -> list[str]:
    source = one["source"]
    return [
        one["objectKey"],
        (one["quarantined"] or "-")[:19],
        str(one["attempts"]),
        source["callingAE"] or source["principal"] or source["channel"],
        one["instance"] or "-",
        one["reason"] or "-",
    ]
