"""WADO-URI (PS3.18 chapter 9): one object, named by query parameters.

A request is put into the words of WADO-RS and answered by its entry points, so that both
give the same bytes, the same rights and the same errors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlencode

from gantry_access.policy import Action
from gantry_dicom.errors import BadRequest, NotAcceptable
from gantry_dicom.uids import is_valid_uid
from starlette.requests import Request
from starlette.responses import Response

from gantry_gateway.entrypoints.absent import absence
from gantry_gateway.entrypoints.context import authorise, components, partition_of
from gantry_gateway.entrypoints.wado_instances import retrieve
from gantry_gateway.entrypoints.wado_rendered import retrieve_rendered
from gantry_gateway.media_types import MediaType, matches, parse_accept

DICOM = "application/dicom"
# PS3.18 9.1.2.1: every request has these.
_IDENTITY = {"studyUID": "study", "seriesUID": "series", "objectUID": "instance"}
# PS3.18 9.1.2.2.2: what asks for a picture, and is nothing to an object.
_OF_PICTURES = (
    *("annotation", "rows", "columns", "region", "windowCenter", "windowWidth", "imageQuality"),
    *("presentationUID", "presentationSeriesUID", "frameNumber"),
)
# Said the same way in both.
_SAME_WORDS = {"imageQuality": "quality", "annotation": "annotation", "iccprofile": "iccprofile"}
# Pixels; stands for the one of rows and columns that is not named.
UNBOUNDED = 8192
_POSITIVE = re.compile(r"[1-9][0-9]{0,8}")


async def retrieve_by_query(request: Request) -> Response:
    """Answer an object as it is, or as a picture or document of it."""
    # Before a word of what is asked is read; the entry points below ask again, for its study.
    authorise(request, Action.RETRIEVE)
    asked = request.query_params
    if asked.get("requestType") != "WADO":
        raise BadRequest("requestType is WADO")
    place = {name: _uid(asked, parameter) for parameter, name in _IDENTITY.items()}
    if asked.get("anonymize", "no") != "no":
        raise BadRequest("objects are not anonymised here")
    wanted = _ranges(request)
    if wanted[0].essence == DICOM:
        return await retrieve(_reworded(request, place, _words_of_an_object(asked, wanted[0])))
    if "transferSyntax" in asked:
        raise BadRequest("a picture has no transferSyntax")
    if "frameNumber" in asked:
        place["frames"] = _positive(asked, "frameNumber")
    words = _words_of_a_picture(asked, wanted)
    if "region" in asked or "rows" in asked or "columns" in asked:
        words["viewport"] = await _viewport(request, asked, place)
    return await retrieve_rendered(_reworded(request, place, words))


def _uid(asked: Mapping[str, str], parameter: str) -> str:
    uid = asked.get(parameter, "")
    if not is_valid_uid(uid):
        raise BadRequest(f"{parameter} is missing or not a UID")
    return uid


def _ranges(request: Request) -> tuple[MediaType, ...]:
    """Return what is acceptable: contentType within Accept (PS3.18 9.1.2.2.1); a picture by default."""
    header = parse_accept(request.headers.get("accept"), None)
    named = request.query_params.get("contentType")
    if not named:
        return header if header[0].essence != "*/*" else (MediaType("image", "jpeg"), *header)
    wanted = parse_accept(None, named)
    for one in wanted:
        if "transfer-syntax" in one.parameters:
            raise BadRequest("the transfer syntax is a parameter of its own: transferSyntax")
    accepted = tuple(one for one in wanted if any(matches(each.essence, one.essence) for each in header))
    if not accepted:
        raise NotAcceptable("Accept leaves nothing of contentType")
    return accepted


def _words_of_an_object(asked: Mapping[str, str], wanted: MediaType) -> dict[str, str]:
    for parameter in _OF_PICTURES:
        if parameter in asked:
            raise BadRequest(f"{parameter} is for pictures, not for {DICOM}")
    syntax = asked.get("transferSyntax")
    return {"accept": wanted.essence if syntax is None else f"{DICOM}; transfer-syntax={syntax}"}


def _words_of_a_picture(asked: Mapping[str, str], wanted: tuple[MediaType, ...]) -> dict[str, str]:
    words = {"accept": ", ".join(f"{one.essence}; q={one.quality:g}" for one in wanted)}
    words |= {there: asked[here] for here, there in _SAME_WORDS.items() if here in asked}
    center, width = asked.get("windowCenter"), asked.get("windowWidth")
    if (center is None) != (width is None):
        raise BadRequest("windowCenter and windowWidth go together")
    if center is not None:
        words["window"] = f"{center},{width},linear"
    state, its_series = asked.get("presentationUID"), asked.get("presentationSeriesUID")
    if (state is None) != (its_series is None):
        raise BadRequest("presentationUID and presentationSeriesUID go together")
    if state is not None:
        words |= {"presentationUID": state, "presentationSeriesUID": str(its_series)}
    return words


def _positive(asked: Mapping[str, str], parameter: str) -> str:
    if not _POSITIVE.fullmatch(asked[parameter]):
        raise BadRequest(f"{parameter} is a number from 1")
    return asked[parameter]


async def _viewport(request: Request, asked: Mapping[str, str], place: Mapping[str, str]) -> str:
    """Return rows, columns and region as a viewport; one of the first two alone leaves the other free."""
    width, height = (
        _positive(asked, name) if name in asked else str(UNBOUNDED) for name in ("columns", "rows")
    )
    if "region" not in asked:
        return f"{width},{height}"
    left, top, right, bottom = _region(asked["region"])
    instance = await components(request).index.instance(
        partition_of(request), place["study"], place["series"], place["instance"]
    )
    if instance is None:
        raise await absence(_reworded(request, place, {}))
    rows, columns = instance.rows or 0, instance.columns or 0
    source = (left * columns, top * rows, (right - left) * columns, (bottom - top) * rows)
    if "rows" not in asked and "columns" not in asked:
        width, height = (str(max(1, round(size))) for size in source[2:])
    return ",".join([width, height, *(f"{number:g}" for number in source)])


def _region(text: str) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom as parts of the whole (PS3.18 9.1.2.2.2.6)."""
    try:
        left, top, right, bottom = (float(part) for part in text.split(","))
    except ValueError as error:
        raise BadRequest("region is four numbers") from error
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise BadRequest("region is left, top, right and bottom, rising from 0 to 1")
    return left, top, right, bottom


def _reworded(request: Request, place: Mapping[str, str], words: Mapping[str, str]) -> Request:
    scope = {
        **request.scope,
        "path_params": {**request.path_params, **place},
        "query_string": urlencode(words).encode(),
    }
    return Request(scope, request.receive)
