"""``gantry findings list|show|repair|close|scrub`` and ``gantry study reconcile``."""

from __future__ import annotations

import argparse
import json
from typing import Any

from gantry_cli.access import AccessOptions
from gantry_cli.administration import ask, ask_storage
from gantry_cli.exits import FAILED, OK
from gantry_cli.terminal import say, table

PATH = "/admin/findings"
_HEADS = ("N", "KIND", "FOUND", "TRIED", "STUDY", "OBJECT", "TROUBLE OR END")


def run(access: AccessOptions, options: argparse.Namespace) -> int:
    """List, show, repair, close or scrub. Raises the ``GantryError`` that it ends with."""
    match options.action:
        case "list":
            return _list(access, options)
        case "show":
            say(json.dumps(ask(access, options, "GET", f"{PATH}/{options.finding}"), indent=2))
        case "close":
            closed = ask(
                access, options, "POST", f"{PATH}/{options.finding}/close", {"reason": options.reason}
            )
            say(json.dumps(closed, indent=2) if options.json else f"Finding {closed['finding']} is closed")
        case "repair":
            answer = ask_storage(access, options, f"{PATH}/{options.finding}/repair")
            said = f"Finding {options.finding}: {answer['resolution']}"
            say(json.dumps(answer, indent=2) if options.json else said)
        case _:
            since = options.since.date().isoformat()
            answer = ask_storage(access, options, "/admin/scrub", {"since": since})
            say(json.dumps(answer, indent=2) if options.json else f"{answer['days']} days will be read again")
    return OK


def reconcile(access: AccessOptions, options: argparse.Namespace) -> int:
    """Print a study in bucket, manifests and index; fails when they do not agree."""
    query = {name: "true" for name in ("digests", "repair") if getattr(options, name)}
    if options.since:
        query["since"] = options.since.isoformat()
    answer = ask_storage(access, options, f"/admin/studies/{options.study}/reconcile", query)
    if options.json:
        say(json.dumps(answer, indent=2))
    else:
        for line in _report(answer):
            say(line)
    return OK if answer["agrees"] else FAILED


def _list(access: AccessOptions, options: argparse.Namespace) -> int:
    query = {"state": options.show, "limit": str(options.limit)}
    query |= {"kind": options.kind} if options.kind else {}
    query |= {"study": options.study} if options.study else {}
    found = ask(access, options, "GET", PATH, query)
    if options.json:
        say(json.dumps(found, indent=2))
        return OK
    for line in table(_HEADS, [_row(one) for one in found]):
        say(line)
    return OK


def _row(one: dict[str, Any]) -> list[str]:
    closed = one["closed"]
    end = f"{closed['resolution']} ({closed['by']})" if closed else one["trouble"] or ""
    return [
        str(one["finding"]),
        one["kind"],
        one["found"][:19],
        str(one["attempts"]),
        one["study"] or "-",
        one["objectKey"] or "-",
        end,
    ]


def _report(answer: dict[str, Any]) -> list[str]:
    counts = answer["counts"]
    states = ", ".join(f"{number} {state}" for state, number in counts["receptions"].items())
    manifests = answer["manifests"]
    lines = [
        f"Manifests: {counts['manifestLines']} instances in {manifests['read']} batches",
        f"           {manifests['openBatches']} more batches are open",
        f"Bucket:    {counts['objects']} objects, {counts['bytes']} bytes",
        f"Index:     {states or 'nothing'}; {counts['shown']} shown",
    ]
    for name, where in (
        ("notInManifests", "the manifests"),
        ("notInBucket", "the bucket"),
        ("notInIndex", "the index"),
    ):
        lines += [f"Not in {where}: {key}" for key in answer["keys"][name]]
    lines += [f"Finding: {one['kind']} {one['objectKey']}".rstrip() for one in answer["findings"]]
    if answer["aggregates"]["differing"]:
        lines.append(f"Numbers that differ from a recount: {', '.join(answer['aggregates']['differing'])}")
    return [*lines, "They agree." if answer["agrees"] else "They do not agree."]
