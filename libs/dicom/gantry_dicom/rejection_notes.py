"""Rejection notes: Key Object Selections that take instances out of the ordinary view.

IHE RAD Imaging Object Change Management; the document titles are those of PS3.16 CID 7011.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gantry_dicom.facts import BASE_MARK

KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"

REASONS: Mapping[str, str] = {
    "113001": "Rejected for Quality Reasons",
    "113037": "Rejected for Patient Safety Reasons",
    "113038": "Incorrect Modality Worklist Entry",
    "113039": "Data Retention Policy Expired",
}
"""Code values of document titles, of the scheme DCM, that reject what a note refers to."""

_CONCEPT_NAME_CODES = "0040A043"
_EVIDENCE = "0040A375"
_REFERENCED_SERIES = "00081115"
_REFERENCED_SOPS = "00081199"

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Rejected:
    """An instance that a note rejects, and the code of the reason."""

    study_uid: str
    sop_uid: str
    reason: str


def rejected_by(metadata: bytes) -> tuple[Rejected, ...]:
    """Return what a Key Object Selection, as its stored metadata, rejects; nothing when it is no note."""
    document: Document = orjson.loads(metadata.replace(BASE_MARK, b""))
    reason = next((code for code in map(_dcm_code, _items(document, _CONCEPT_NAME_CODES)) if code), "")
    if reason not in REASONS:
        return ()
    return tuple(sorted({Rejected(study, sop, reason) for study, sop in _references(document)}))


def _references(document: Document) -> Iterator[tuple[str, str]]:
    for study in _items(document, _EVIDENCE):
        study_uid = _text(study, "0020000D")
        for series in _items(study, _REFERENCED_SERIES):
            for reference in _items(series, _REFERENCED_SOPS):
                sop_uid = _text(reference, "00081155")
                if study_uid and sop_uid:
                    yield study_uid, sop_uid


def _dcm_code(item: Document) -> str:
    return _text(item, "00080100") if _text(item, "00080102") == "DCM" else ""


def _items(document: Document, tag: str) -> Sequence[Document]:
    return [item for item in document.get(tag, {}).get("Value", ()) if item]


def _text(document: Document, tag: str) -> str:
    values = document.get(tag, {}).get("Value") or [""]
    return values[0] if isinstance(values[0], str) else ""
