"""``gantry route jobs``: what was sent on, what waits, and why."""

from __future__ import annotations

import argparse
import json
from typing import Any

import httpx
from gantry_dicom.errors import Unavailable

from gantry_cli.access import AccessOptions, gateway_root
from gantry_cli.exits import OK
from gantry_cli.problems import error_of
from gantry_cli.terminal import say, table
from gantry_cli.tokens import ANSWER_SECONDS

_HEADS = ("CHANGED", "RULE", "TO", "STATE", "SENT", "FAILED", "STUDY", "TROUBLE")


def run(access: AccessOptions, options: argparse.Namespace) -> int:
    """Print the jobs. Raises the ``GantryError`` that it ends with."""
    root, auth = gateway_root(access, options.url)
    query = {"partition": options.partition, "limit": str(options.limit)}
    try:
        answer = httpx.get(f"{root}/admin/route-jobs", params=query, auth=auth, timeout=ANSWER_SECONDS)
    except httpx.HTTPError as error:
        raise Unavailable(f"{root} does not answer: {error}") from error
    if answer.status_code >= httpx.codes.BAD_REQUEST:
        raise error_of(answer)
    found: list[dict[str, Any]] = answer.json()
    if options.json:
        say(json.dumps(found, indent=2))
        return OK
    for line in table(_HEADS, [_row(job) for job in found]):
        say(line)
    return OK


def _row(job: dict[str, Any]) -> list[str]:
    return [
        job["changed"][:19],
        job["rule"],
        job["destination"],
        job["state"],
        f"{job['sent']}/{job['instances']}",
        str(len(job["failed"])),
        job["study"],
        job["trouble"] or "",
    ]
