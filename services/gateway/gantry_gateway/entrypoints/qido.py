"""QIDO-RS: the six search resources (PS3.18 10.6)."""

from __future__ import annotations

from gantry.access.v1.access_pb2 import ACCESS_KIND_SEARCH
from gantry_access.policy import Action
from gantry_dicom.errors import NotAcceptable
from gantry_dicom.facts import BASE_MARK
from gantry_dicom.query import Level
from gantry_dicom.query_params import parse_query
from starlette.requests import Request
from starlette.responses import Response

from gantry_gateway.entrypoints.context import authorise, base_url, components, partition_of, uid_of
from gantry_gateway.entrypoints.recording import note_access
from gantry_gateway.media_types import choose, parse_accept

DICOM_JSON = "application/dicom+json"
_JSON_TYPES = (DICOM_JSON, "application/json")


def require_dicom_json(request: Request) -> None:
    """Raise ``NotAcceptable`` unless the caller takes DICOM JSON, by that name or as JSON."""
    ranges = parse_accept(request.headers.get("accept"), request.query_params.get("accept"))
    if choose(ranges, _JSON_TYPES) is None:
        raise NotAcceptable(f"this resource is answered as {DICOM_JSON}")


async def search_studies(request: Request) -> Response:
    """Answer ``/studies``."""
    return await _search(request, Level.STUDY)


async def search_series(request: Request) -> Response:
    """Answer ``/series`` and ``/studies/{study}/series``."""
    return await _search(request, Level.SERIES)


async def search_instances(request: Request) -> Response:
    """Answer ``/instances``, and the instances of a study or a series."""
    return await _search(request, Level.INSTANCE)


async def _search(request: Request, level: Level) -> Response:
    authorise(request, Action.SEARCH)
    require_dicom_json(request)
    parts = components(request)
    study_uid = uid_of(request, "study")
    series_uid = uid_of(request, "series")
    # Attributes of the levels above are added where the path does not name them (10.6.3.3).
    include_parents = (level is Level.SERIES and study_uid is None) or (
        level is Level.INSTANCE and series_uid is None
    )
    parsed = parse_query(
        level,
        request.query_params.multi_items(),
        partition=partition_of(request),
        study_uid=study_uid,
        series_uid=series_uid,
        include_parents=include_parents,
        default_limit=parts.settings.search_default_limit,
        max_limit=parts.settings.search_maximum_limit,
    )
    note_access(request, parts, ACCESS_KIND_SEARCH, partition=partition_of(request), study_uid=study_uid)
    page = await parts.index.search(parsed.query)
    body = b"[" + b",".join(page.documents) + b"]"
    answer = Response(
        body.replace(BASE_MARK, base_url(request).encode()),
        media_type=DICOM_JSON,
    )
    for warning in parsed.warnings:
        _warn(answer, warning)
    if page.remaining:
        number = f"{page.remaining}" if page.remaining_is_exact else f"at least {page.remaining}"
        _warn(answer, f"There are {number} additional results that can be requested")
    return answer


def _warn(answer: Response, text: str) -> None:
    # RFC 7234 5.5: code, agent, quoted text; several warnings are several header values. What is
    # not printable ASCII (a line's end would begin another header) is left out.
    plain = "".join(character for character in text if " " <= character <= "~")
    quoted = plain.replace("\\", "\\\\").replace('"', '\\"')
    answer.headers.append("Warning", f'299 gantry "{quoted}"')
