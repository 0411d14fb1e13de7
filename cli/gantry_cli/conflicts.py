"""``gantry conflicts list|show``: one SOP Instance UID with different bytes, side by side."""

from __future__ import annotations

import argparse
import json
from typing import Any

from gantry_cli.access import AccessOptions
from gantry_cli.administration import ask
from gantry_cli.exits import OK
from gantry_cli.terminal import say, table

PATH = "/admin/conflicts"
_HEADS = ("INSTANCE", "FOUND", "KINDS", "STUDIES")
_RECEPTIONS = ("", "RECEIVED", "FROM", "BYTES", "SHOWN", "OBJECT")


def run(access: AccessOptions, options: argparse.Namespace) -> int:
    """List or show. Raises the ``GantryError`` that it ends with."""
    if options.action == "show":
        found = ask(access, options, "GET", f"{PATH}/{options.instance}")
        lines = _side_by_side(found)
    else:
        query = {"limit": str(options.limit)} | ({"closed": "true"} if options.all else {})
        found = ask(access, options, "GET", PATH, query)
        lines = table(_HEADS, [_row(one) for one in found])
    for line in [json.dumps(found, indent=2)] if options.json else lines:
        say(line)
    return OK


def _row(one: dict[str, Any]) -> list[str]:
    return [one["instance"], one["found"][:19], ", ".join(one["kinds"]), ", ".join(one["studies"])]


def _side_by_side(found: dict[str, Any]) -> list[str]:
    receptions = found["receptions"]
    names = [chr(ord("A") + place) if place < 26 else str(place) for place in range(len(receptions))]
    lines = table(
        _RECEPTIONS,
        [
            [
                name,
                one["received"][:19],
                one["source"]["callingAE"] or one["source"]["principal"] or one["source"]["channel"],
                str(one["size"]),
                "yes" if one["isShown"] else "no",
                one["objectKey"],
            ]
            for name, one in zip(names, receptions, strict=True)
        ],
    )
    differences = found.get("differences")
    if differences is None:
        return [*lines, f"What differs cannot be shown: {found.get('trouble') or 'no right to retrieve'}"]
    if not differences:
        return [*lines, "No attribute differs: pixels, padding or encoding do."]
    heads = ("TAG", "KEYWORD", *names[: len(differences[0]["values"])])
    rows = [
        [
            one["tag"],
            one["keyword"] or "-",
            *(json.dumps(value, ensure_ascii=False) for value in one["values"]),
        ]
        for one in differences
    ]
    return [*lines, "", *table(heads, rows)]
