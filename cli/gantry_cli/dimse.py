"""``gantry dimse failures``: why devices could not connect, or were not served."""

from __future__ import annotations

import argparse
import json
from typing import Any

import httpx
from gantry_dicom.errors import Unavailable

from gantry_cli.access import AccessOptions, gateway_root
from gantry_cli.exits import OK
from gantry_cli.problems import error_of
from gantry_cli.terminal import say
from gantry_cli.tokens import ANSWER_SECONDS

Document = dict[str, Any]


def run(access: AccessOptions, options: argparse.Namespace) -> int:
    """Run ``dimse failures``. Raises the ``GantryError`` that it ends with."""
    root, auth = gateway_root(access, options.url)
    query = {"limit": str(options.limit)}
    if options.ae:
        query["ae"] = options.ae
    if options.since is not None:
        query["since"] = options.since.isoformat()
    try:
        answer = httpx.get(f"{root}/admin/dimse-failures", params=query, auth=auth, timeout=ANSWER_SECONDS)
    except httpx.HTTPError as error:
        raise Unavailable(f"{root} does not answer: {error}") from error
    if answer.status_code >= httpx.codes.BAD_REQUEST:
        raise error_of(answer)
    found: list[Document] = answer.json()
    if options.json:
        say(json.dumps(found, indent=2))
        return OK
    for failure in reversed(found):
        for line in _lines(failure):
            say(line)
    if not found:
        say("No association has failed.")
    return OK


def _lines(failure: Document) -> list[str]:
    titles = f"{failure['calling_ae_title'] or '-'} -> {failure['called_ae_title'] or '-'}"
    times = f", {failure['count']} times" if failure["count"] > 1 else ""
    lines = [
        f"{failure['last_at'][:19]}  {failure['diagnosis']}  {titles}  from {failure['peer_address']}{times}"
    ]
    if failure["detail"]:
        lines.append(f"    ({failure['detail']})")
    if failure["statuses"]:
        statuses = (f"{one['command_field']}:{one['status']} x{one['count']}" for one in failure["statuses"])
        lines.append(f"    statuses {' '.join(statuses)}")
    lines.append(f"    {failure['advice']}")
    return lines
