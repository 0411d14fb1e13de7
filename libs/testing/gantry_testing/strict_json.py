"""A strict reader of RFC 8259 for tests: no NaN, no duplicate names, keys of a data set ascending."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson
from gantry_dicom.facts import BASE_MARK

_TAG = re.compile(r"[0-9A-F]{8}")


def read(document: bytes) -> Any:  # noqa: ANN401
    """Return the value of a JSON text; marks of the public base are taken out first.

    Raises ``ValueError`` for what RFC 8259 or PS3.18 F.2.2 do not allow.
    """
    document = document.replace(BASE_MARK, b"")
    value = json.loads(document, parse_constant=_refuse, object_pairs_hook=_ascending)
    orjson.loads(document)
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _ascending(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError("a name occurs twice")
    tags = [name for name in names if _TAG.fullmatch(name)]
    if tags != sorted(tags):
        raise ValueError("tags do not ascend")
    return dict(pairs)
