"""What commands for administrators share: a request to the gateway as somebody, and its answer."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any

import httpx
from gantry_dicom.errors import Unavailable

from gantry_cli.access import AccessOptions, gateway_root
from gantry_cli.problems import error_of
from gantry_cli.tokens import ANSWER_SECONDS

# Longer than the gateway itself waits for the storage service.
_PATIENT_SECONDS = ANSWER_SECONDS + 30.0
_POLL_SECONDS = 1.0


def ask(
    access: AccessOptions,
    options: argparse.Namespace,
    method: str,
    path: str,
    query: Mapping[str, str] | None = None,
    body: Mapping[str, object] | None = None,
) -> Any:  # noqa: ANN401 - whatever JSON the answer is
    """Return the JSON that the gateway answers. Raises the ``GantryError`` that a refusal stands for."""
    root, auth = gateway_root(access, options.url)
    parameters = {"partition": options.partition} if options.partition else {}
    parameters |= query or {}
    try:
        answer = httpx.request(
            method, root + path, params=parameters, json=body, auth=auth, timeout=_PATIENT_SECONDS
        )
    except httpx.HTTPError as error:
        raise Unavailable(f"{root} does not answer: {error}") from error
    if answer.status_code >= httpx.codes.BAD_REQUEST:
        raise error_of(answer)
    return answer.json()


def ask_storage(
    access: AccessOptions, options: argparse.Namespace, path: str, query: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Ask for what the storage service does, and return its answer however long that takes."""
    answer: dict[str, Any] = ask(access, options, "POST", path, query)
    while answer.get("state") == "waiting":
        time.sleep(_POLL_SECONDS)
        answer = ask(access, options, "GET", f"/admin/retention/requests/{answer['request']}")
    return answer
