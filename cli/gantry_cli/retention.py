"""``gantry retention plan|run``, ``gantry study purge|recall``: what goes, and what comes back."""

from __future__ import annotations

import argparse
import json
from typing import Any

from gantry_cli.access import AccessOptions
from gantry_cli.administration import ask_storage
from gantry_cli.exits import OK
from gantry_cli.terminal import say, table

_HEADS = ("DUE", "POLICY", "INSTANCES", "BYTES", "HELD BY", "STUDY")


def run(access: AccessOptions, options: argparse.Namespace) -> int:
    """Print the plan, or carry it out. Raises the ``GantryError`` that it ends with."""
    found = ask_storage(access, options, f"/admin/retention/{options.action}")
    if options.json:
        say(json.dumps(found, indent=2))
        return OK
    for line in _summary(found, done=options.action == "run"):
        say(line)
    for line in table(_HEADS, [_row(study) for study in found["named"]]) if found["named"] else ():
        say(line)
    for refusal in (*found["refused"], *found["moves"]["refused"]):
        say(f"not done: {refusal['study']}: {refusal['reason']}")
    return OK


def purge(access: AccessOptions, options: argparse.Namespace) -> int:
    """Destroy what is deleted of a study. Raises the ``GantryError`` that it ends with."""
    query = {"reason": options.reason} | ({"now": "true"} if options.now else {})
    found = ask_storage(access, options, f"/admin/studies/{options.study}/purge", query)
    if options.json:
        say(json.dumps(found, indent=2))
        return OK
    say(f"{found['objects']} objects with {found['bytes']} bytes are destroyed")
    for name in found["certificates"]:
        say(f"Certificate {name}")
    return OK


def recall(access: AccessOptions, options: argparse.Namespace) -> int:
    """Bring a study back. Raises the ``GantryError`` that it ends with."""
    path = f"/admin/studies/{options.study}/recall"
    found = ask_storage(access, options, path, {"reason": options.reason})
    say(
        json.dumps(found, indent=2)
        if options.json
        else f"{found['objects']} objects with {found['bytes']} bytes are back"
    )
    return OK


def _summary(found: dict[str, Any], *, done: bool) -> list[str]:
    counts = f"{found['studies']} studies with {found['instances']} instances and {found['bytes']} bytes"
    policies = ", ".join(f"{name} {count}" for name, count in sorted(found["by_policy"].items()))
    lines = [f"{counts} {'deleted' if done else 'to delete'}" + (f" ({policies})" if policies else "")]
    if found["held"]:
        lines.append(f"{found['held']} studies are due and held")
    if found["duplicates"]:
        lines.append(f"{found['duplicates']} duplicates {'deleted' if done else 'to delete'}")
    if done:
        destroyed = f"{found['purged_objects']} objects and {found['purged_bytes']} bytes destroyed"
        lines.append(f"{found['purges']} studies purged: {destroyed}")
    else:
        lines.append(f"{found['purges']} studies out of their grace, to purge")
    moves = found["moves"]
    if moves["studies"]:
        lines.append(
            f"{moves['studies']} studies with {moves['bytes']} bytes {'moved' if done else 'to move'}"
        )
    if found["more"] or moves["more"]:
        lines.append("More are due: the next run goes on")
    return lines


def _row(study: dict[str, Any]) -> list[str]:
    return [
        study["due"],
        study["policy"],
        str(study["instances"]),
        str(study["bytes"]),
        ", ".join(study["held"]) or "-",
        study["study"],
    ]
