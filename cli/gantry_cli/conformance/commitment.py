"""The statements on storage commitment over HTTP (PS3.18 chapter 13)."""

from __future__ import annotations

import time
from typing import Any

import httpx
import orjson
from gantry_testing.synthetic.values import Instance, make_uid
from gantry_testing.web import DICOM_JSON

from gantry_cli.conformance.server import Server
from gantry_cli.conformance.statements import NotTestable, expect, statement

_NO_SUCH_INSTANCE, _CLASS_CONFLICT = 0x0112, 0x0119
_WAIT_SECONDS = 30.0


def _item(sop_class_uid: str, sop_uid: str) -> dict[str, Any]:
    return {"00081150": {"vr": "UI", "Value": [sop_class_uid]}, "00081155": {"vr": "UI", "Value": [sop_uid]}}


def _request(server: Server, transaction_uid: str, module: dict[str, Any]) -> httpx.Response:
    return server.send(
        "POST",
        f"/commitment-requests/{transaction_uid}",
        accept=DICOM_JSON,
        headers={"Content-Type": DICOM_JSON},
        content=orjson.dumps([module]),
    )


def _report(server: Server, transaction_uid: str, answer: httpx.Response) -> dict[str, Any]:
    give_up_at = time.monotonic() + _WAIT_SECONDS
    while answer.status_code == 202 and time.monotonic() < give_up_at:
        expect(not answer.content, "202 has a payload")
        time.sleep(min(1.0, float(answer.headers.get("retry-after", "1"))))
        answer = server.get(f"/commitment-requests/{transaction_uid}", DICOM_JSON)
    expect(answer.status_code == 200, f"answered {answer.status_code}: {answer.text[:200]}")
    document = answer.json()
    found: dict[str, Any] = document[0] if isinstance(document, list) else document
    return found


def _named(report: dict[str, Any], sequence: str) -> list[str]:
    items = report.get(sequence, {}).get("Value", [])
    return [item["00081155"]["Value"][0] for item in items]


def _reasons(report: dict[str, Any]) -> dict[str, int]:
    items = report.get("00081198", {}).get("Value", [])
    return {item["00081155"]["Value"][0]: int(item["00081197"]["Value"][0]) for item in items}


@statement("U11", "PS3.18 13.4, 13.5")
def commitment_is_asked_for_and_looked_up(server: Server) -> None:
    """Done now is 200 with the report, later 202 and a check for it; a Transaction UID serves once (409)."""
    stored: list[Instance] = server.kind("CT", instances=2)
    transaction_uid, unknown = make_uid("transaction", server.seed), make_uid("unknown", server.seed)
    module = {
        "00081199": {
            "vr": "SQ",
            "Value": [
                _item(stored[0].sop_class_uid, stored[0].sop_uid),
                _item("1.2.840.10008.5.1.4.1.1.4", stored[1].sop_uid),
                _item(stored[0].sop_class_uid, unknown),
            ],
        }
    }
    first = _request(server, transaction_uid, module)
    if first.status_code in {404, 405, 501}:
        raise NotTestable("the server has no storage commitment over HTTP")
    report = _report(server, transaction_uid, first)
    expect(_named(report, "00081199") == [stored[0].sop_uid], f"committed: {_named(report, '00081199')}")
    wanted = {stored[1].sop_uid: _CLASS_CONFLICT, unknown: _NO_SUCH_INSTANCE}
    expect(_reasons(report) == wanted, f"failure reasons: {_reasons(report)}")
    again = server.get(f"/commitment-requests/{transaction_uid}", DICOM_JSON)
    expect(again.status_code == 200 and again.content == first.content, "the result check says otherwise")
    twice = _request(server, transaction_uid, module)
    expect(twice.status_code == 409, f"a Transaction UID used twice answered {twice.status_code}")
    never = server.get(f"/commitment-requests/{make_uid('never', server.seed)}", DICOM_JSON)
    expect(never.status_code == 404, f"the result of what was never asked answered {never.status_code}")
    empty = _request(server, make_uid("empty", server.seed), {})
    expect(empty.status_code == 400, f"a request that names nothing answered {empty.status_code}")


@statement("U12", "PS3.4 J.3")
def commitment_is_given_for_bytes_not_for_rows(_server: Server) -> None:
    """Commitment is given only for objects whose size and digest were verified where they rest."""
    raise NotTestable("the stored objects cannot be damaged from outside")
