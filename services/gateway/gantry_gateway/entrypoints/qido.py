"""QIDO-RS: the six search resources (PS3.18 10.6).

Beside the standard's query parameters there are three: ``pagetoken``, which the ``Link`` header
(RFC 8288, ``rel="next"``) of a page that does not hold all matches has for the next one;
``empty204``, for clients of earlier editions that want 204 where nothing is found; and
``view=quality``, which shows administrators what rejection notes have taken out of the ordinary view.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import parse_qsl, urlencode

from gantry.access.v1.access_pb2 import ACCESS_KIND_SEARCH
from gantry_access.policy import Action
from gantry_dicom.errors import BadRequest, NotAcceptable
from gantry_dicom.facts import BASE_MARK
from gantry_dicom.query import Level
from gantry_dicom.query_params import parse_query
from gantry_dicom.xml_encoder import NATIVE_MODEL_TYPE, native_model_xml
from gantry_index.search import SearchPage
from starlette.requests import Request
from starlette.responses import Response

from gantry_gateway.entrypoints.context import authorise, base_url, components, partition_of, uid_of
from gantry_gateway.entrypoints.recording import note_access
from gantry_gateway.media_types import MediaType, matches, parse_accept
from gantry_gateway.outgoing import Made, WholePart, respond
from gantry_gateway.representations import MULTIPART, inner_type

DICOM_JSON = "application/dicom+json"
_JSON_TYPES = (DICOM_JSON, "application/json")
_EMPTY_LIST = b"[]"
_QUALITY_VIEW = "quality"
# More than any form has, few enough to read at once.
_MOST_PARAMETERS = 500

Pairs = list[tuple[str, str]]


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
    as_xml = _wants_xml(parse_accept(request.headers.get("accept"), request.query_params.get("accept")))
    parts = components(request)
    params = _parameters(request)
    study_uid = uid_of(request, "study")
    series_uid = uid_of(request, "series")
    # Attributes of the levels above are added where the path does not name them (10.6.3.3).
    include_parents = (level is Level.SERIES and study_uid is None) or (
        level is Level.INSTANCE and series_uid is None
    )
    parsed = parse_query(
        level,
        params,
        partition=partition_of(request),
        study_uid=study_uid,
        series_uid=series_uid,
        include_parents=include_parents,
        default_limit=parts.settings.search_default_limit,
        max_limit=parts.settings.search_maximum_limit,
    )
    query = replace(parsed.query, shows_rejected=_shows_rejected(request, params))
    is_204_when_empty = _empty204(params, default=parts.settings.search_empty_204)
    note_access(request, parts, ACCESS_KIND_SEARCH, partition=partition_of(request), study_uid=study_uid)
    page = await parts.index.search(query)
    # Multipart cannot be empty (RFC 2046 5.1.1).
    if not page.documents and (as_xml or is_204_when_empty):
        answer = Response(status_code=204)
    elif as_xml:
        answer = await respond(request, _xml_parts(page, base_url(request)))
    else:
        answer = Response(_json(page, base_url(request)), media_type=DICOM_JSON)
    answer.headers["Vary"] = "Accept"
    for warning in parsed.warnings:
        _warn(answer, warning)
    if page.remaining:
        number = f"{page.remaining}" if page.remaining_is_exact else f"at least {page.remaining}"
        _warn(answer, f"There are {number} additional results that can be requested")
        if page.end is not None:
            answer.headers["Link"] = f'<{_next_url(request, params, page.end)}>; rel="next"'
    return answer


def _wants_xml(ranges: Sequence[MediaType]) -> bool:
    """Tell whether XML is wanted rather than JSON (PS3.18 10.6.4); raises ``NotAcceptable``."""
    for wanted in ranges:
        if any(matches(wanted.essence, offered) for offered in _JSON_TYPES):
            return False
        if wanted.essence == MULTIPART and inner_type(wanted, "") == NATIVE_MODEL_TYPE:
            return True
    raise NotAcceptable(
        f'searches are answered as {DICOM_JSON}, or as {MULTIPART}; type="{NATIVE_MODEL_TYPE}"'
    )


def _parameters(request: Request) -> Pairs:
    """Return the percent-decoded parameters; octets that are no UTF-8 stay apart from all text."""
    text = request.scope["query_string"].decode("utf-8", "surrogateescape")
    try:
        return parse_qsl(
            text, keep_blank_values=True, errors="surrogateescape", max_num_fields=_MOST_PARAMETERS
        )
    except ValueError:
        raise BadRequest(f"a search has at most {_MOST_PARAMETERS} parameters") from None


def _shows_rejected(request: Request, params: Pairs) -> bool:
    """Tell whether the quality view is asked for. Raises ``BadRequest``, and what ``authorise`` does."""
    view = dict(params).get("view")
    if view is None:
        return False
    if view != _QUALITY_VIEW:
        raise BadRequest(f"the only other view is {_QUALITY_VIEW}")
    authorise(request, Action.ADMINISTER)
    return True


def _empty204(params: Pairs, *, default: bool) -> bool:
    value = dict(params).get("empty204")
    if value not in (None, "true", "false"):
        raise BadRequest("empty204 is neither true nor false")
    return default if value is None else value == "true"


def _json(page: SearchPage, base: str) -> bytes:
    if not page.documents:
        return _EMPTY_LIST
    return (b"[" + b",".join(page.documents) + b"]").replace(BASE_MARK, base.encode())


def _xml_parts(page: SearchPage, base: str) -> list[WholePart]:
    return [_xml_part(document, base) for document in page.documents]


def _xml_part(document: bytes, base: str) -> WholePart:
    async def make() -> Made:
        whole = document.replace(BASE_MARK, base.encode())
        return Made(await asyncio.to_thread(native_model_xml, whole), NATIVE_MODEL_TYPE)

    return WholePart(NATIVE_MODEL_TYPE, make, weight=2 * len(document))


def _next_url(request: Request, params: Pairs, token: str) -> str:
    """Return the URL of the page behind this one: the same search, begun where this one ended."""
    kept = [(name, value) for name, value in params if name not in ("offset", "pagetoken")]
    query = urlencode([*kept, ("pagetoken", token)], errors="surrogateescape")
    _, _, resource = request.url.path.rstrip("/").rpartition("/dicom-web")
    return f"{base_url(request)}{resource}?{query}"


def _warn(answer: Response, text: str) -> None:
    # RFC 7234 5.5: code, agent, quoted text; several warnings are several header values. What is
    # not printable ASCII (a line's end would begin another header) is left out.
    plain = "".join(character for character in text if " " <= character <= "~")
    quoted = plain.replace("\\", "\\\\").replace('"', '\\"')
    answer.headers.append("Warning", f'299 gantry "{quoted}"')
