"""``gantry certificate list|show``: what was destroyed, by whom, and what remains until when."""

from __future__ import annotations

import argparse
import json
from typing import Any

from gantry_cli.access import AccessOptions
from gantry_cli.administration import ask
from gantry_cli.exits import OK
from gantry_cli.terminal import say, table

PATH = "/admin/certificates"
_HEADS = ("ENDED", "OBJECTS", "BYTES", "DELETED BY", "PURGED BY", "STUDY", "CERTIFICATE")
_OBJECT_HEADS = ("INSTANCE", "SIZE", "COPIES", "SHA-256 OF DATA SET", "KEY")


def run(access: AccessOptions, options: argparse.Namespace) -> int:
    """List certificates, or show one. Raises the ``GantryError`` that it ends with."""
    if options.action == "show":
        found = ask(access, options, "GET", f"{PATH}/{options.certificate}")
        lines = _whole(found)
    else:
        query = {"limit": str(options.limit)} | ({"study": options.study} if options.study else {})
        found = ask(access, options, "GET", PATH, query)
        lines = table(_HEADS, [_row(each) for each in found])
    if options.json:
        say(json.dumps(found, indent=2))
        return OK
    for line in lines:
        say(line)
    return OK


def _row(found: dict[str, Any]) -> list[str]:
    return [
        found["purged"]["ended"][:19],
        str(found["objects"]),
        str(found["bytes"]),
        found["deleted"]["by"] or "-",
        found["purged"]["by"] or "-",
        found["study"],
        found["certificate"],
    ]


def _whole(found: dict[str, Any]) -> list[str]:
    deleted, purged, remaining = found["deleted"], found["purged"], found["remaining"]
    until = remaining["inBackupsUntil"]
    backups = f"until {until[:19]} in {', '.join(remaining['backups']) or 'backups'}" if until else "none"
    rows = [
        [one["instance"], str(one["size"]), str(one["copies"]), one["dataSetSha256"], one["key"]]
        for one in found["destroyed"]
    ]
    return [
        f"Certificate of destruction {found['certificate']}",
        f"Study      {found['study']} (partition {found['partition']})",
        f"Deleted    {deleted['at'][:19]} by {deleted['by'] or '-'}: {deleted['reason']}",
        f"Destroyed  {purged['ended'][:19]} by {purged['by'] or '-'}: {purged['reason']}",
        f"Policy     {found['policy'] or '-'}",
        f"Gone       {found['objects']} objects with {found['bytes']} bytes",
        f"From       {', '.join(found['stores'])}",
        f"Copies     {backups}",
        f"Records    {', '.join(remaining['records'])} stay",
        *table(_OBJECT_HEADS, rows),
    ]
