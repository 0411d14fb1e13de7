"""``gantry study correct|move|reject|hide|undo`` and ``gantry patient merge|unmerge``."""

from __future__ import annotations

import argparse
import json
from typing import Any

from gantry_dicom.errors import BadRequest

from gantry_cli.access import AccessOptions
from gantry_cli.administration import ask
from gantry_cli.exits import OK
from gantry_cli.terminal import say


def study(access: AccessOptions, options: argparse.Namespace) -> int:
    """Decide something about a study, or undo it. Raises the ``GantryError`` that it ends with."""
    path = f"/admin/studies/{options.study}"
    if options.action == "undo":
        query = {"revision": str(options.revision), "reason": options.reason}
        return _say_undone(options, ask(access, options, "POST", f"{path}/undo", query))
    body: dict[str, object] = {"kind": options.action, "reason": options.reason}
    body |= {name: value for name in ("series", "instance") if (value := getattr(options, name))}
    match options.action:
        case "correct":
            body |= _attributes(options)
        case "move":
            body |= {"target": options.to} | _attributes(options)
        case "reject":
            body["code"] = options.code
    return _say_made(options, ask(access, options, "POST", f"{path}/amendments", body=body))


def patient(access: AccessOptions, options: argparse.Namespace) -> int:
    """Merge a patient into another, or undo that. Raises the ``GantryError`` that it ends with."""
    whom = {"id": options.patient, "issuer": options.id_issuer}
    if options.action == "unmerge":
        body = {"patient": whom, "revision": options.revision, "reason": options.reason}
        return _say_undone(options, ask(access, options, "POST", "/admin/patients/undo", body=body))
    merge = {
        "kind": "merge",
        "patient": whom,
        "into": {"id": options.into, "issuer": options.into_id_issuer},
        "reason": options.reason,
        **_attributes(options),
    }
    return _say_made(options, ask(access, options, "POST", "/admin/patients/amendments", body=merge))


def _attributes(options: argparse.Namespace) -> dict[str, object]:
    """Return what is set and removed. Raises ``BadRequest`` for what is not ``NAME=VALUE``."""
    attributes: dict[str, str] = {}
    for text in options.set:
        name, equals, value = text.partition("=")
        if not equals or name in attributes:
            raise BadRequest("--set takes NAME=VALUE, each name once")
        attributes[name] = value
    return {"attributes": attributes, "remove": list(options.remove)}


def _say_made(options: argparse.Namespace, answer: dict[str, Any]) -> int:
    revisions = ", ".join(str(revision) for revision in answer["revisions"])
    say(json.dumps(answer, indent=2) if options.json else f"Decided as revision {revisions}")
    return OK


def _say_undone(options: argparse.Namespace, answer: dict[str, Any]) -> int:
    say(json.dumps(answer, indent=2) if options.json else f"Revision {options.revision} is undone")
    return OK
