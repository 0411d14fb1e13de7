"""``gantry hold place|lift|list``: what nobody may delete."""

from __future__ import annotations

import argparse
import json
from typing import Any

from gantry_cli.access import AccessOptions
from gantry_cli.administration import ask
from gantry_cli.exits import OK
from gantry_cli.terminal import say, table

PATH = "/admin/holds"
_HEADS = ("HOLD", "COVERS", "PLACED", "BY", "LIFTED", "REASON")


def run(access: AccessOptions, options: argparse.Namespace) -> int:
    """Place, lift or list. Raises the ``GantryError`` that it ends with."""
    if options.action == "list":
        found = ask(access, options, "GET", PATH, {"all": "true"} if options.all else {})
        if not options.json:
            for line in table(_HEADS, [_row(hold) for hold in found]):
                say(line)
            return OK
    elif options.action == "lift":
        found = ask(access, options, "POST", f"{PATH}/{options.hold}/lift", {"reason": options.reason})
    else:
        found = ask(access, options, "POST", PATH, body=_wanted(options))
    if options.json:
        say(json.dumps(found, indent=2))
    else:
        verb = "is lifted" if options.action == "lift" else "stands"
        say(f"Hold {found['hold']} on {_covers(found)} {verb}")
    return OK


def _wanted(options: argparse.Namespace) -> dict[str, object]:
    wanted: dict[str, object] = {"reason": options.reason}
    if options.study:
        return wanted | {"scope": "study", "study": options.study}
    if options.patient:
        issuer = {"issuer": options.issuer_of_patient_id} if options.issuer_of_patient_id else {}
        return wanted | {"scope": "patient", "patientId": options.patient} | issuer
    return wanted | {"scope": "partition"}


def _covers(hold: dict[str, Any]) -> str:
    if hold["scope"] == "partition":
        return f"partition {hold['partition']}"
    if hold["scope"] == "study":
        return f"study {hold['study']}"
    issuer = f" of {hold['issuer']}" if hold["issuer"] else ""
    return f"patient {hold['patientId']}{issuer}"


def _row(hold: dict[str, Any]) -> list[str]:
    lifted = hold["lifted"]
    return [
        hold["hold"],
        _covers(hold),
        hold["placed"][:19],
        hold["by"] or "-",
        lifted["at"][:19] if lifted else "-",
        hold["reason"],
    ]
