"""The Store Instances Response (PS3.18 10.5.3, Annex I) as DICOM JSON, and its status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import orjson
from gantry_dicom.gate import FILE_META_DIFFERS, UID_ASSIGNED
from gantry_dicom.pixel_layout import FRAMES_MISSING
from gantry_dicom.refusals import Refusal
from gantry_dicom.uids import is_valid_uid
from gantry_dicom.xml_encoder import native_model_xml

# Warning Reason (0008,1196) for an instance of which another version, received earlier
# with other bytes, stays the current one; PS3.18 I.2.1 allows additional codes.
ANOTHER_VERSION_IS_CURRENT = 0xB00E
# Warning Reason for "data set does not match SOP class", by the gate's warnings. Stored are the
# bytes as they came, so nothing is ever coerced (B000) or left out (B006).
WARNING_REASONS: Mapping[str, int] = dict.fromkeys((UID_ASSIGNED, FILE_META_DIFFERS, FRAMES_MISSING), 45063)
# Failure Reasons A7xx mean "out of resources" (PS3.18 Table I.2-2).
_OUT_OF_RESOURCES = range(0xA700, 0xA800)


@dataclass(frozen=True, slots=True)
class Stored:
    """An instance that is safe; ``searchable`` tells whether the index has it already."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    searchable: bool
    warning_reason: int | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """A part that was not stored; without a SOP Instance UID it could not be identified."""

    failure_reason: int
    sop_class_uid: str | None = None
    sop_instance_uid: str | None = None


PartResult = Stored | Failed


def failed(refusal: Refusal, sop_class_uid: str | None = None, sop_instance_uid: str | None = None) -> Failed:
    """Return a failure for a reason of the one table; what is no UID identifies nothing."""
    return Failed(
        refusal.failure_reason,
        sop_class_uid if sop_class_uid and is_valid_uid(sop_class_uid) else None,
        sop_instance_uid if sop_instance_uid and is_valid_uid(sop_instance_uid) else None,
    )


def status_of(results: Sequence[PartResult]) -> HTTPStatus:
    """Return the status that Table 10.5.3-1 asks for; nothing stored for want of resources is 503."""
    failures = [result for result in results if isinstance(result, Failed)]
    if failures and len(failures) == len(results):
        if all(failure.failure_reason in _OUT_OF_RESOURCES for failure in failures):
            return HTTPStatus.SERVICE_UNAVAILABLE
        return HTTPStatus.CONFLICT
    warned = any(isinstance(result, Stored) and result.warning_reason for result in results)
    return HTTPStatus.ACCEPTED if failures or warned else HTTPStatus.OK


def answer_xml(results: Sequence[PartResult], base_url: str) -> bytes:
    """Return the response data set as a Native DICOM Model document."""
    return native_model_xml(answer_body(results, base_url))


def answer_body(results: Sequence[PartResult], base_url: str) -> bytes:
    """Return the response data set as DICOM JSON; URLs start with ``base_url``."""
    stored = [result for result in results if isinstance(result, Stored)]
    identified = [r for r in results if isinstance(r, Failed) and r.sop_instance_uid]
    others = [r for r in results if isinstance(r, Failed) and not r.sop_instance_uid]
    data_set: dict[str, object] = {"00081190": _retrieve_url(stored, base_url)}
    if identified:
        data_set["00081198"] = {"vr": "SQ", "Value": [_failed_item(failure) for failure in identified]}
    if stored:
        data_set["00081199"] = {"vr": "SQ", "Value": [_stored_item(item, base_url) for item in stored]}
    if others:
        data_set["0008119A"] = {
            "vr": "SQ",
            "Value": [{"00081197": _unsigned_short(failure.failure_reason)} for failure in others],
        }
    return orjson.dumps(data_set)


def _retrieve_url(stored: Sequence[Stored], base_url: str) -> dict[str, object]:
    studies = {result.study_instance_uid for result in stored}
    if len(studies) != 1 or not all(result.searchable for result in stored):
        return {"vr": "UR"}
    return {"vr": "UR", "Value": [f"{base_url}/studies/{studies.pop()}"]}


def _stored_item(result: Stored, base_url: str) -> dict[str, object]:
    item: dict[str, object] = {
        "00081150": {"vr": "UI", "Value": [result.sop_class_uid]},
        "00081155": {"vr": "UI", "Value": [result.sop_instance_uid]},
    }
    if result.searchable:
        # Until the index has the instance a GET on its URL would be a 404: then no URL is named.
        url = (
            f"{base_url}/studies/{result.study_instance_uid}/series/{result.series_instance_uid}"
            f"/instances/{result.sop_instance_uid}"
        )
        item["00081190"] = {"vr": "UR", "Value": [url]}
    if result.warning_reason is not None:
        item["00081196"] = _unsigned_short(result.warning_reason)
    return item


def _failed_item(failure: Failed) -> dict[str, object]:
    item: dict[str, object] = {}
    if failure.sop_class_uid:
        item["00081150"] = {"vr": "UI", "Value": [failure.sop_class_uid]}
    item["00081155"] = {"vr": "UI", "Value": [failure.sop_instance_uid]}
    item["00081197"] = _unsigned_short(failure.failure_reason)
    return item


def _unsigned_short(value: int) -> dict[str, object]:
    return {"vr": "US", "Value": [value]}
