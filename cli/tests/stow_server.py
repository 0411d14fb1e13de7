"""A Store service small enough to see through, answering as PS3.18 10.5.3 says."""

from __future__ import annotations

import email.parser
import email.policy
import threading
from dataclasses import dataclass, field
from typing import Any

import httpx
from gantry_dicom.element_headers import Malformed
from gantry_dicom.part10 import MEDIA_STORAGE_SOP_INSTANCE_UID, parse_meta


@dataclass
class StowServer:
    """An ``httpx`` transport handler. ``refuse`` maps SOP Instance UIDs to Failure Reasons."""

    refuse: dict[str, int] = field(default_factory=dict)
    warn: set[str] = field(default_factory=set)
    body_limit: int = 1 << 40
    busy: int = 0
    received: list[bytes] = field(default_factory=list)
    _lock: Any = field(default_factory=threading.Lock)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert request.method == "POST"
        assert request.url.path == "/dicom-web/studies"
        body = request.read()
        assert int(request.headers["content-length"]) == len(body)
        with self._lock:
            if self.busy:
                self.busy -= 1
                return httpx.Response(503, json={"title": "busy"})
            if len(body) > self.body_limit:
                return httpx.Response(413, json={"title": "too large"})
            return self._store(request.headers["content-type"], body)

    def _store(self, content_type: str, body: bytes) -> httpx.Response:
        head = f"Content-Type: {content_type}\r\n\r\n".encode()
        message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
        assert message.get_param("type") == "application/dicom"
        boundary = message.get_boundary()
        assert boundary is not None
        pieces = body.split(b"--" + boundary.encode())
        assert pieces[0] == b""
        assert pieces[-1] == b"--\r\n"
        stored, failed, others = [], [], []
        for piece in pieces[1:-1]:
            headers, content = piece.removeprefix(b"\r\n").removesuffix(b"\r\n").split(b"\r\n\r\n", 1)
            assert headers == b"Content-Type: application/dicom"
            uid = self._uid(content)
            if uid is None:
                others.append({"00081197": us(0xC000)})
            elif uid in self.refuse:
                failed.append({"00081155": ui(uid), "00081197": us(self.refuse[uid])})
            else:
                self.received.append(content)
                warning = {"00081196": us(0xB000)} if uid in self.warn else {}
                stored.append({"00081155": ui(uid)} | warning)
        document = {"00081198": sq(failed), "00081199": sq(stored), "0008119A": sq(others)}
        present = {tag: value for tag, value in document.items() if value["Value"]}
        status = 200 if not failed and not others else 202 if stored else 409
        return httpx.Response(status, json=present)

    def _uid(self, content: bytes) -> str | None:
        try:
            return parse_meta(content).text(MEDIA_STORAGE_SOP_INSTANCE_UID)
        except Malformed:
            return None


def ui(uid: str) -> dict[str, Any]:
    return {"vr": "UI", "Value": [uid]}


def us(value: int) -> dict[str, Any]:
    return {"vr": "US", "Value": [value]}


def sq(items: list[Any]) -> dict[str, Any]:
    return {"vr": "SQ", "Value": items}
