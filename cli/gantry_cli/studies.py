"""``gantry study history|restore``: what was decided about a study, and a deletion undone."""

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

_HEADS = ("N", "MADE", "KIND", "BY", "OBJECTS", "UNDONE BY", "REASON")


def run(access: AccessOptions, options: argparse.Namespace) -> int:
    """Print a study's history, or restore it. Raises the ``GantryError`` that it ends with."""
    query = {"partition": options.partition}
    if options.action == "restore":
        query["reason"] = options.reason
        if options.revision:
            query["revision"] = str(options.revision)
        answer = _ask(access, options, "POST", "restore", query)
    else:
        answer = _ask(access, options, "GET", "amendments", query)
    found = answer.json()
    if options.json:
        say(json.dumps(found, indent=2))
    elif options.action == "restore":
        later = "" if answer.status_code == httpx.codes.OK else ", as soon as the index can"
        say(f"{found['instances']} instances are shown again{later}")
    else:
        for line in table(_HEADS, [_row(one) for one in found]):
            say(line)
    return OK


def _ask(
    access: AccessOptions, options: argparse.Namespace, method: str, what: str, query: dict[str, str]
) -> httpx.Response:
    root, auth = gateway_root(access, options.url)
    url = f"{root}/admin/studies/{options.study}/{what}"
    try:
        answer = httpx.request(method, url, params=query, auth=auth, timeout=ANSWER_SECONDS)
    except httpx.HTTPError as error:
        raise Unavailable(f"{root} does not answer: {error}") from error
    if answer.status_code >= httpx.codes.BAD_REQUEST:
        raise error_of(answer)
    return answer


def _row(one: dict[str, Any]) -> list[str]:
    return [
        str(one["revision"]),
        one["made"][:19],
        one["kind"],
        one["principal"] or "-",
        str(one["objects"] or "-"),
        str(one["undoneBy"] or "-"),
        one["reason"],
    ]
