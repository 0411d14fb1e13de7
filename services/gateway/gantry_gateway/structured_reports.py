"""Structured reports for reading: the content tree of an SR document (PS3.3 C.17.3).

Read from DICOM JSON, in which every character set is UTF-8 already. Nothing of the tree is left
out: what has no form of its own is given as name and value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gantry_dicom.errors import CannotProcess

Attributes = Mapping[str, Any]

# Templates go five deep; a tree of hundreds of levels is meant to break its readers.
_DEEPEST = 100

_CONTENT, _VALUE_TYPE, _CONCEPT_NAME, _RELATIONSHIP = "0040A730", "0040A040", "0040A043", "0040A010"
_BY_REFERENCE = "0040DB73"
_MEASURED_VALUE, _NUMERIC_VALUE, _UNITS, _QUALIFIER = "0040A300", "0040A30A", "004008EA", "0040A301"
_CONCEPT_CODE, _REFERENCED_SOP = "0040A168", "00081199"
_SOP_INSTANCE, _FRAME_NUMBERS = "00081155", "00081160"
_GRAPHIC_DATA, _GRAPHIC_TYPE = "00700022", "00700023"
_TEMPORAL_TYPE, _SAMPLES, _OFFSETS, _TIMES = "0040A130", "0040A132", "0040A138", "0040A13A"
_EVIDENCE = ("0040A375", "0040A385")
# Attributes with one plain value, by value type (PS3.3 Table C.17-7).
_PLAIN: Mapping[str, str] = {
    "TEXT": "0040A160",
    "DATETIME": "0040A120",
    "DATE": "0040A121",
    "TIME": "0040A122",
    "PNAME": "0040A123",
    "UIDREF": "0040A124",
}
_HEADER: tuple[tuple[str, str], ...] = (
    ("Patient", "00100010"),
    ("Patient ID", "00100020"),
    ("Born", "00100030"),
    ("Sex", "00100040"),
    ("Study", "00081030"),
    ("Study date", "00080020"),
    ("Accession number", "00080050"),
    ("Referring physician", "00080090"),
    ("Institution", "00080080"),
    ("Document date", "00080023"),
    ("Document time", "00080033"),
    ("Completion", "0040A491"),
    ("Verification", "0040A493"),
)
_VERIFYING_OBSERVER, _OBSERVER_NAME, _VERIFIED_AT = "0040A073", "0040A075", "0040A030"


@dataclass(frozen=True, slots=True)
class Reference:
    """An object that a content item refers to; ``series_uid`` is empty when the evidence does not name it."""

    study_uid: str
    series_uid: str
    sop_instance_uid: str
    frames: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ContentItem:
    """One node of the tree: its path ("1.2.3"), relationship, name, and value as lines of text."""

    position: str
    relationship: str
    name: str
    value: str
    value_type: str
    references: tuple[Reference, ...]
    children: tuple[ContentItem, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """A document: what it is about, as label and value, and the root of its tree."""

    title: str
    header: tuple[tuple[str, str], ...]
    root: ContentItem


def read_report(document: bytes) -> Report:
    """Return the report that a DICOM JSON object holds; raises ``CannotProcess`` when it is none."""
    try:
        # Numbers keep the digits they were written with.
        attributes: Attributes = json.loads(document, parse_float=str, parse_int=str, parse_constant=str)
        root = _item(attributes, "1", _evidence(attributes))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CannotProcess("the document cannot be read as a report") from error
    if not root.value_type:
        raise CannotProcess("the document has no content tree")
    header = [(label, text) for label, tag in _HEADER if (text := _text(attributes, tag))]
    for observer in _items(attributes, _VERIFYING_OBSERVER):
        verified = f"{_text(observer, _OBSERVER_NAME)} {_text(observer, _VERIFIED_AT)}".strip()
        header.append(("Verified by", verified))
    return Report(root.name or "Structured report", tuple(header), root)


def _item(attributes: Attributes, position: str, evidence: Mapping[str, Reference]) -> ContentItem:
    if position.count(".") >= _DEEPEST:
        raise CannotProcess("the report is nested deeper than this server shows")
    value_type = _text(attributes, _VALUE_TYPE)
    by_reference = _values(attributes, _BY_REFERENCE)
    value = _VALUES.get(value_type, _plain)(attributes)
    if by_reference and not value_type:
        value = f"see item {'.'.join(str(number) for number in by_reference)}"
    children = enumerate(_items(attributes, _CONTENT), 1)
    return ContentItem(
        position=position,
        relationship=_text(attributes, _RELATIONSHIP),
        name=_code(attributes, _CONCEPT_NAME),
        value=value,
        value_type=value_type,
        references=tuple(_references(attributes, evidence)),
        children=tuple(_item(child, f"{position}.{number}", evidence) for number, child in children),
    )


def _plain(attributes: Attributes) -> str:
    tag = _PLAIN.get(_text(attributes, _VALUE_TYPE))
    return "" if tag is None else _text(attributes, tag)


def _number(attributes: Attributes) -> str:
    measured = [
        f"{_text(item, _NUMERIC_VALUE)} {_unit(item)}".strip() for item in _items(attributes, _MEASURED_VALUE)
    ]
    qualifier = _code(attributes, _QUALIFIER)
    return ", ".join(text for text in (*measured, qualifier) if text)


def _unit(item: Attributes) -> str:
    # The unit's code is its symbol (UCUM), its meaning a sentence; "1" is no unit.
    codes = [_text(code, "00080100") for code in _items(item, _UNITS)]
    return "" if codes in ([], ["1"]) else codes[0]


def _coordinates(attributes: Attributes) -> str:
    data = " ".join(str(number) for number in _values(attributes, _GRAPHIC_DATA))
    return f"{_text(attributes, _GRAPHIC_TYPE)} {data}".strip()


def _moments(attributes: Attributes) -> str:
    lists = (_values(attributes, tag) for tag in (_SAMPLES, _OFFSETS, _TIMES))
    data = " ".join(str(value) for values in lists for value in values)
    return f"{_text(attributes, _TEMPORAL_TYPE)} {data}".strip()


_VALUES: Mapping[str, Callable[[Attributes], str]] = {
    "NUM": _number,
    "CODE": lambda attributes: _code(attributes, _CONCEPT_CODE),
    "SCOORD": _coordinates,
    "SCOORD3D": _coordinates,
    "TCOORD": _moments,
}


def _references(attributes: Attributes, evidence: Mapping[str, Reference]) -> Iterator[Reference]:
    for item in _items(attributes, _REFERENCED_SOP):
        uid = _text(item, _SOP_INSTANCE)
        known = evidence.get(uid, Reference("", "", uid, ()))
        numbers = tuple(str(number) for number in _values(item, _FRAME_NUMBERS))
        yield Reference(known.study_uid, known.series_uid, uid, numbers)


def _evidence(attributes: Attributes) -> Mapping[str, Reference]:
    """Return where the objects lie that the document refers to, by SOP Instance UID."""
    found: dict[str, Reference] = {}
    for tag in _EVIDENCE:
        for study in _items(attributes, tag):
            for series in _items(study, "00081115"):
                for item in _items(series, _REFERENCED_SOP):
                    uid = _text(item, _SOP_INSTANCE)
                    found[uid] = Reference(_text(study, "0020000D"), _text(series, "0020000E"), uid, ())
    return found


def _code(attributes: Attributes, tag: str) -> str:
    for code in _items(attributes, tag):
        meaning = _text(code, "00080104")
        values = (_text(code, other) for other in ("00080100", "00080119", "00080120"))
        return meaning or next((value for value in values if value), "")
    return ""


def _items(attributes: Attributes, tag: str) -> Sequence[Attributes]:
    return [item for item in _values(attributes, tag) if isinstance(item, Mapping)]


def _values(attributes: Attributes, tag: str) -> Sequence[Any]:
    values: Sequence[Any] = attributes.get(tag, {}).get("Value") or []
    return values


def _text(attributes: Attributes, tag: str) -> str:
    texts = []
    for value in _values(attributes, tag):
        if isinstance(value, Mapping):
            groups = (str(value.get(group, "")) for group in ("Alphabetic", "Ideographic", "Phonetic"))
            texts.append(" / ".join(group.replace("^", " ").strip() for group in groups if group))
        elif value is not None:
            texts.append(str(value))
    return ", ".join(texts)
