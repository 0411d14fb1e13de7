"""The elements of a received object, read for people who compare or judge it.

In a worker process, because what is looked at may be what nothing could read so far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import orjson
from gantry_dicom.facts import BASE_MARK
from gantry_dicom.gate import header_from_prefix, header_of
from gantry_dicom.header import DataSetHeader
from gantry_dicom.json_encoder import encode_header
from gantry_imaging.workers import PixelWorkers
from gantry_objectstore.protocol import ObjectStore
from pydicom.datadict import keyword_for_tag

Document: TypeAlias = Mapping[str, Mapping[str, Any]]

_PREFIX_BYTES = 64 << 10
# Larger objects whose header does not lie in their beginning are not read for this.
_MOST_BYTES = 64 << 20
# A value whose JSON is longer is not shown.
_LONGEST_VALUE = 2_000

SUMMARY = (
    *("00080005", "00080016", "00080020", "00080050", "00080060", "00080070", "00081030"),
    *("00100010", "00100020", "00100021", "00100030", "00100040", "0020000D", "0020000E", "00080018"),
)


async def read_header(store: ObjectStore, workers: PixelWorkers, key: str, size: int) -> Document | None:
    """Return an object's elements as DICOM JSON, ``None`` when it is too large to be read whole.

    Raises ``NotFound``, ``Unavailable``, and ``Refused`` or ``CannotProcess`` for what cannot be read.
    """
    found = await workers.run(document_of_prefix, await store.get_prefix(key, _PREFIX_BYTES), size)
    if found is None and size <= _MOST_BYTES:
        found = await workers.run(document_of, await store.get(key))
    return None if found is None else orjson.loads(found)


def document_of_prefix(prefix: bytes, size: int) -> bytes | None:
    """Return the elements of an object by its beginning, if that is enough."""
    found = header_from_prefix(prefix, size)
    return None if found is None else _document(found[0])


def document_of(data: bytes) -> bytes:
    """Return the elements of an object. Raises ``Refused``, ``Malformed``."""
    return _document(header_of(data)[0])


def summary(document: Document) -> list[dict[str, object]]:
    """Return what tells whose the object is and where it belongs."""
    return [_attribute(tag, [document[tag]]) for tag in SUMMARY if tag in document]


def differences(documents: Sequence[Document]) -> list[dict[str, object]]:
    """Return the attributes in which objects differ, by tag, with the value of each object."""
    tags = sorted({tag for document in documents for tag in document})
    found = []
    for tag in tags:
        elements = [document.get(tag) for document in documents]
        if any(element != elements[0] for element in elements):
            found.append(_attribute(tag, elements))
    return found


def _attribute(tag: str, elements: Sequence[Mapping[str, Any] | None]) -> dict[str, object]:
    return {
        "tag": tag,
        "keyword": keyword_for_tag(int(tag, 16)) or None,
        "vr": next(element["vr"] for element in elements if element is not None),
        "values": [_value(element) for element in elements],
    }


def _value(element: Mapping[str, Any] | None) -> object:
    if element is None:
        return None
    value = element.get("Value", element.get("InlineBinary", []))
    return value if len(orjson.dumps(value)) <= _LONGEST_VALUE else "too long to be shown"


def _document(header: DataSetHeader) -> bytes:
    made = encode_header(header, study_instance_uid="", series_instance_uid="", sop_instance_uid="")
    return made.json.replace(BASE_MARK, b"")
