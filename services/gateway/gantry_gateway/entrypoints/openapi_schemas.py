"""Schemas of the OpenAPI document: parameters, bodies and answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gantry_imaging.annotations import ANNOTATIONS
from gantry_imaging.colour_profiles import PROFILE_CHOICES
from gantry_index.records import FindingKind

Schema = Mapping[str, Any]

# PS3.5 9.1.
UID: Schema = {"type": "string", "pattern": r"^(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*$", "maxLength": 64}
_TAG = "[0-9A-Fa-f]{8}"
# Sides of pictures that are small enough together, whatever the other is.
_SIDE = r"([1-9][0-9]{0,2}|[1-4][0-9]{3})"
_NUMBER = r"-?[0-9]{1,6}(\.[0-9]{1,6})?"
_LENGTH = r"-?[1-9][0-9]{0,5}"
_PART = r"(0(\.[0-9]{1,6})?|1)"
# An empty number is as good as none.
_COUNT: Schema = {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 10**18 - 1}, {"const": ""}]}
_FLAG: Schema = {"type": "string", "enum": ["true", "false"]}
_POSITIVE: Schema = {"type": "integer", "minimum": 1, "maximum": 8192}
_QUALITY: Schema = {"type": "integer", "minimum": 1, "maximum": 100}
_ANNOTATION: Schema = {
    "type": "string",
    "pattern": "^(({0})(,({0}))*)?$".format("|".join(ANNOTATIONS)),
}

# Not blanks alone.
REASON: Schema = {"type": "string", "minLength": 1, "maxLength": 500, "pattern": r"\S"}

PARAMETERS: Mapping[str, Schema] = {
    "partition": {"type": "string", "pattern": r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", "maxLength": 63},
    "study": UID,
    "series": UID,
    "instance": UID,
    "transaction": UID,
    "frames": {"type": "string", "pattern": r"^[1-9][0-9]{0,8}(,[1-9][0-9]{0,8})*$"},
    "path": {"type": "string", "pattern": r"^[0-9A-F]{8}(/[1-9][0-9]{0,8}/[0-9A-F]{8})*$"},
    "limit": _COUNT,
    "offset": _COUNT,
    "fuzzymatching": _FLAG,
    "emptyvaluematching": _FLAG,
    "multiplevaluematching": _FLAG,
    "empty204": _FLAG,
    "view": {"const": "quality"},
    "pagetoken": {"type": "string", "pattern": "^[A-Za-z0-9_-]*$"},
    "dicomdir": _FLAG,
    "includefield": {"type": "string"},
    "quality": _QUALITY,
    "annotation": _ANNOTATION,
    "iccprofile": {"type": "string", "enum": list(PROFILE_CHOICES)},
    "window": {
        "type": "string",
        "pattern": rf"^{_NUMBER},[1-9][0-9]{{0,5}},(linear|linear-exact|sigmoid)$",
    },
    "viewport": {
        "type": "string",
        "pattern": rf"^{_SIDE},{_SIDE}(,[0-9]{{0,4}},[0-9]{{0,4}},({_LENGTH})?,({_LENGTH})?)?$",
    },
    # PS3.18 9.1.2.
    "requestType": {"const": "WADO"},
    "studyUID": UID,
    "seriesUID": UID,
    "objectUID": UID,
    "transferSyntax": UID,
    "frameNumber": {"type": "integer", "minimum": 1, "maximum": 10**9 - 1},
    "rows": _POSITIVE,
    "columns": _POSITIVE,
    "region": {"type": "string", "pattern": rf"^{_PART},{_PART},{_PART},{_PART}$"},
    "windowCenter": {"type": "number"},
    "windowWidth": {"type": "number", "minimum": 1},
    "imageQuality": _QUALITY,
    "presentationUID": UID,
    "presentationSeriesUID": UID,
    # Of what administrators ask for.
    "finding": {"type": "integer", "minimum": 1, "maximum": 2**63 - 1},
    "object": {"type": "string", "pattern": "^o(/[A-Za-z0-9-]+){4}$"},
    "kind": {"type": "string", "enum": sorted(kind.value for kind in FindingKind)},
    "state": {"type": "string", "enum": ["open", "closed", "all"]},
    "before": {"type": "string"},
    "closed": _FLAG,
    "digests": _FLAG,
    "repair": _FLAG,
    "hold": {"type": "string", "pattern": "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"},
    "certificate": {"type": "string", "pattern": "^[0-9a-f]{40}-[0-9]{8}$"},
    "number": {"type": "integer", "minimum": 1, "maximum": 2**63 - 1},
    "revision": {"type": "integer", "minimum": 1, "maximum": 99_999_999},
    "days": {"type": "integer", "minimum": 1, "maximum": 3660},
    "reason": REASON,
    "now": _FLAG,
    "all": _FLAG,
    "ae": {"type": "string"},
    "diagnosis": {"type": "string"},
    "since": {"type": "string", "format": "date-time"},
}
# Lists for administrators have an end.
ADMINISTRATORS_LIMIT: Schema = {"type": "integer", "minimum": 1, "maximum": 1000}
# PS3.18 8.3.5.2: without a region of the source.
THUMBNAIL_VIEWPORT: Schema = {"type": "string", "pattern": f"^{_SIDE},{_SIDE}$"}
DESCRIPTIONS: Mapping[str, str] = {
    "accept": "Goes before the header of that name (PS3.18 8.3.3.1).",
    "includefield": "Keywords or tags with commas between, or all (PS3.18 8.3.4.3).",
    "pagetoken": "From the Link header of a page: begins behind it. An extension.",
    "view": "With the rejected (IHE IOCM), for administrators. An extension.",
    "empty204": "Whether nothing found is 204 instead of an empty list. An extension.",
    "window": "Centre, width and function (PS3.18 8.3.5.1.4).",
    "viewport": "Width and height, then the left, top, width and height of the source (PS3.18 8.3.5.1.5).",
    "region": "Left, top, right and bottom as parts of the whole (PS3.18 9.1.2.2.2.6).",
}
REQUIRED = frozenset({"requestType", "studyUID", "seriesUID", "objectUID", "reason"})

_DATA_SET = {"$ref": "#/components/schemas/DataSet"}
_DATA_SETS: Schema = {"type": "array", "items": _DATA_SET}
PROBLEM: Schema = {"$ref": "#/components/schemas/Problem"}
STORE_REPORT = _DATA_SET
# By media type; of what is no JSON, nothing is said but the type.
ANSWERS: Mapping[str, Schema] = {"application/dicom+json": _DATA_SETS}
BODIES: Mapping[str, Schema] = {
    "application/dicom+json": {**_DATA_SETS, "minItems": 1},
    "application/json": {"$ref": "#/components/schemas/NewHold"},
}

_PATIENT_ID: Schema = {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[!-~]+$"}


def _new_hold(scope: str, required: tuple[str, ...] = (), **members: Schema) -> Schema:
    return {
        "type": "object",
        "required": ["scope", "reason", *required],
        "properties": {"scope": {"const": scope}, "reason": REASON, **members},
        "additionalProperties": False,
    }


COMPONENTS: Mapping[str, Schema] = {
    "NewHold": {
        "description": "A legal hold on a study, on whatever names a patient, or on a partition",
        "oneOf": [
            _new_hold("study", ("study",), study=UID),
            _new_hold("patient", ("patientId",), patientId=_PATIENT_ID, issuer=_PATIENT_ID),
            _new_hold("partition"),
        ],
    },
    "DataSet": {
        "description": "A DICOM JSON model object (PS3.18 Annex F)",
        "type": "object",
        "additionalProperties": False,
        "patternProperties": {f"^{_TAG}$": {"$ref": "#/components/schemas/Attribute"}},
    },
    "Attribute": {
        "type": "object",
        "required": ["vr"],
        "properties": {
            "vr": {"type": "string", "pattern": "^[A-Z]{2}$"},
            "Value": {"type": "array"},
            "BulkDataURI": {"type": "string", "format": "uri-reference"},
            "InlineBinary": {"type": "string", "contentEncoding": "base64"},
        },
        "additionalProperties": False,
    },
    "Problem": {
        "description": "Problem details (RFC 9457)",
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
        },
    },
}
