"""What answers must be: a fast wrong answer is worth nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from bench.connection import Answer
from bench.driving import Check

FAILED_SOP_SEQUENCE, REFERENCED_SOP_SEQUENCE = "00081198", "00081199"
# Of the 500 CT slices: acquisition, rescale, requests, procedures, spacing, and a private one.
METADATA_TAGS = ("00180060", "00281053", "00400275", "00081032", "00280030", "00191001")


def stored(count: int) -> Check:
    """Every instance is in the ReferencedSOPSequence (PS3.18 10.5.3), none failed."""

    def check(_: int, answer: Answer) -> str:
        try:
            document: Any = json.loads(answer.body)
        except ValueError:
            return f"the answer is not JSON: {answer.body[:80]!r}"
        document = document[0] if isinstance(document, list) else document
        good = len(document.get(REFERENCED_SOP_SEQUENCE, {}).get("Value", []))
        bad = len(document.get(FAILED_SOP_SEQUENCE, {}).get("Value", []))
        return "" if good == count and not bad else f"stored {good} of {count}, failed {bad}"

    return check


def matches(expected: Callable[[int], int]) -> Check:
    """The number of matches is the right one."""

    def check(k: int, answer: Answer) -> str:
        found = len(json.loads(answer.body)) if answer.body else 0
        return "" if found == expected(k) else f"{found} matches, expected {expected(k)}"

    return check


def metadata(count: int, tags: tuple[str, ...] = METADATA_TAGS) -> Check:
    """All instances are there, with attributes that no index has."""

    def check(_: int, answer: Answer) -> str:
        documents = json.loads(answer.body)
        if len(documents) != count:
            return f"{len(documents)} instances, expected {count}"
        found = {tag for document in documents for tag in document}
        missing = [tag for tag in tags if tag not in found]
        return f"attributes absent: {missing}" if missing else ""

    return check


def one_part(expected: Callable[[int], bytes]) -> Check:
    """The one part of a multipart answer is exactly the bytes expected, but for one of padding."""

    def check(k: int, answer: Answer) -> str:
        content_type = answer.headers.get("content-type", "")
        body = answer.body
        if boundary := re.search(r'boundary="?([^";]+)', content_type):
            parts = body.split(b"--" + boundary[1].encode())
            body = parts[1].partition(b"\r\n\r\n")[2][:-2] if len(parts) > 1 else b""
        wanted = expected(k)
        if body == wanted or body == wanted + b"\0" or body + b"\0" == wanted:
            return ""
        return f"the payload differs ({len(body)} bytes, expected {len(wanted)}; {content_type})"

    return check


def part_10_files(count: int) -> Check:
    """As many Part 10 files are in the answer."""

    def check(_: int, answer: Answer) -> str:
        found = answer.body.count(b"DICM")
        return "" if found >= count else f"{found} files, expected {count}"

    return check


def begins(signature: bytes) -> Check:
    """The body begins with the signature of its format."""

    def check(_: int, answer: Answer) -> str:
        return "" if answer.body.startswith(signature) else f"not it: {answer.headers.get('content-type')}"

    return check
