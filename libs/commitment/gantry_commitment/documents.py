"""Requests and reports as DICOM JSON (PS3.18 13.4, Annex J)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gantry.commitment.v1.commitment_pb2 import CommitmentFailure, CommitmentReport, InstanceReference
from gantry_dicom.errors import BadRequest, TooLarge
from gantry_dicom.uids import is_valid_uid, trim_uid

Json = dict[str, Any]

MAX_REFERENCES = 100_000

_SOPS, _FAILED_SOPS = "00081199", "00081198"
_STUDIES, _FAILED_STUDIES = "00081110", "0008119B"
_SERIES, _BY_CLASS, _INSTANCES = "00081115", "00081112", "0008114A"
_CLASS, _SOP, _STUDY_UID, _SERIES_UID, _REASON = "00081150", "00081155", "0020000D", "0020000E", "00081197"


def references_of(document: object) -> list[InstanceReference]:
    """Return the instances that a Storage Commitment Request module names (PS3.18 Table J.1-1).

    Both of its forms are taken: a flat list, and a tree of studies and series. Raises
    ``BadRequest``, and ``TooLarge`` beyond ``MAX_REFERENCES``.
    """
    if isinstance(document, list) and len(document) == 1:
        document = document[0]
    if not isinstance(document, dict):
        raise BadRequest("the request is no DICOM JSON object")
    references = [*_flat(document), *_tree(document)]
    if not references:
        raise BadRequest("the request names no instance")
    if len(references) > MAX_REFERENCES:
        raise TooLarge(f"a request names at most {MAX_REFERENCES} instances")
    return references


def report_document(report: CommitmentReport) -> Json:
    """Return the Storage Commitment Response module of ``report`` (PS3.18 Table J.2-1).

    Instances that the request named within their study are answered so.
    """
    answer: Json = {}
    flat = [reference for reference in report.committed if not reference.study_instance_uid]
    failed = [failure for failure in report.failed if not failure.reference.study_instance_uid]
    if failed:
        answer[_FAILED_SOPS] = _sequence(_failure(failure) for failure in failed)
    if flat:
        answer[_SOPS] = _sequence(_reference(reference) for reference in flat)
    studies = _studies((reference, {}) for reference in report.committed)
    if studies:
        answer[_STUDIES] = studies
    failed_studies = _studies((failure.reference, _reason(failure)) for failure in report.failed)
    if failed_studies:
        answer[_FAILED_STUDIES] = failed_studies
    return answer


def _flat(document: Json) -> Iterator[InstanceReference]:
    for item in _items(document, _SOPS):
        yield InstanceReference(sop_class_uid=_uid(item, _CLASS), sop_instance_uid=_uid(item, _SOP))


def _tree(document: Json) -> Iterator[InstanceReference]:
    for study in _items(document, _STUDIES):
        for series in _items(study, _SERIES):
            for group in _items(series, _BY_CLASS):
                for item in _items(group, _INSTANCES):
                    yield InstanceReference(
                        sop_class_uid=_uid(group, _CLASS),
                        sop_instance_uid=_uid(item, _SOP),
                        study_instance_uid=_uid(study, _STUDY_UID),
                        series_instance_uid=_uid(series, _SERIES_UID),
                    )


def _studies(outcomes: Iterable[tuple[InstanceReference, Json]]) -> Json:
    """Return the sequence of studies with the instances named within one; empty when there are none."""
    tree: dict[str, dict[str, dict[str, list[Json]]]] = {}
    for reference, more in outcomes:
        if reference.study_instance_uid:
            series = tree.setdefault(reference.study_instance_uid, {})
            classes = series.setdefault(reference.series_instance_uid, {})
            item = {_SOP: _ui(reference.sop_instance_uid)} | more
            classes.setdefault(reference.sop_class_uid, []).append(item)
    studies = [
        {
            _STUDY_UID: _ui(study_uid),
            _SERIES: _sequence(
                {
                    _SERIES_UID: _ui(series_uid),
                    _BY_CLASS: _sequence(
                        {_CLASS: _ui(class_uid), _INSTANCES: _sequence(items)}
                        for class_uid, items in classes.items()
                    ),
                }
                for series_uid, classes in all_series.items()
            ),
        }
        for study_uid, all_series in tree.items()
    ]
    return _sequence(studies) if studies else {}


def _reference(reference: InstanceReference) -> Json:
    return {_CLASS: _ui(reference.sop_class_uid), _SOP: _ui(reference.sop_instance_uid)}


def _failure(failure: CommitmentFailure) -> Json:
    return _reference(failure.reference) | _reason(failure)


def _reason(failure: CommitmentFailure) -> Json:
    return {_REASON: {"vr": "US", "Value": [failure.failure_reason]}}


def _sequence(items: Iterable[Json]) -> Json:
    return {"vr": "SQ", "Value": list(items)}


def _ui(uid: str) -> Json:
    return {"vr": "UI", "Value": [uid]}


def _items(document: Json, tag: str) -> list[Json]:
    element = document.get(tag, {})
    items = element.get("Value", []) if isinstance(element, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise BadRequest(f"{tag} is no sequence")
    return items


def _uid(item: Json, tag: str) -> str:
    element = item.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    uid = trim_uid(values[0]) if isinstance(values, list) and values and isinstance(values[0], str) else ""
    if not is_valid_uid(uid):
        raise BadRequest(f"{tag} is missing or no UID")
    return uid
