"""The route table: every resource once, under the default partition and under any other.

The OpenAPI document and the capabilities (WADL) are made from the same table, so they list
what is answered and nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gantry_dicom.errors import NotAcceptable
from gantry_imaging.picture_files import RENDERED_TYPES
from gantry_web.app import TemplateRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gantry_gateway.entrypoints.administration_operations import ADMINISTRATION
from gantry_gateway.entrypoints.commitment import check_commitment, request_commitment
from gantry_gateway.entrypoints.context import base_url
from gantry_gateway.entrypoints.deletion import delete
from gantry_gateway.entrypoints.openapi import Operation, openapi_endpoint
from gantry_gateway.entrypoints.qido import search_instances, search_series, search_studies
from gantry_gateway.entrypoints.stow import STORABLE, store_instances
from gantry_gateway.entrypoints.wadl import WADL, wadl_document
from gantry_gateway.entrypoints.wado_bulkdata import (
    retrieve_all_bulkdata,
    retrieve_bulkdata,
    retrieve_pixeldata,
)
from gantry_gateway.entrypoints.wado_frames import retrieve_frames
from gantry_gateway.entrypoints.wado_instances import retrieve
from gantry_gateway.entrypoints.wado_metadata import retrieve_metadata
from gantry_gateway.entrypoints.wado_rendered import (
    retrieve_all_rendered,
    retrieve_rendered,
    retrieve_thumbnail,
)
from gantry_gateway.entrypoints.wado_uri import DICOM, retrieve_by_query
from gantry_gateway.media_types import choose, parse_accept
from gantry_gateway.representations import DEFAULT_SYNTAXES

Endpoint = Callable[[Request], Awaitable[Response]]

PREFIXES = ("/dicom-web", "/partitions/{partition}/dicom-web")

_STUDY = "/studies/{study}"
_SERIES = _STUDY + "/series/{series}"
_COMMITMENT = "/commitment-requests/{transaction}"
_INSTANCE = _SERIES + "/instances/{instance}"


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource: path below a prefix, method, and what answers it."""

    path: str
    endpoint: Endpoint
    operation: Operation
    method: str = "GET"


_DICOM_JSON = ("application/dicom+json",)
_DICOM = ('multipart/related; type="application/dicom"',)
_ZIP = "application/zip"
_ARCHIVE = ("accept", "dicomdir")
_INSTANCE_TYPES = (*_DICOM, "application/dicom", _ZIP)
_METADATA = (*_DICOM_JSON, 'multipart/related; type="application/dicom+xml"')
_OCTETS = ('multipart/related; type="application/octet-stream"',)
# Frames and pixel data also go compressed without loss.
_PIXELS = (*_OCTETS, *(f'multipart/related; type="{name}"' for name in DEFAULT_SYNTAXES))
_PICTURES = RENDERED_TYPES
_MANY_PICTURES = tuple(f'multipart/related; type="{picture}"' for picture in _PICTURES)
# What reports, encapsulated documents and videos are rendered as.
_PAGES = ("text/html", "text/plain", "application/pdf", "text/xml", "model/stl", "video/mpeg", "video/mp4")
_URI = (
    *("requestType", "studyUID", "seriesUID", "objectUID", "contentType", "transferSyntax"),
    *("frameNumber", "rows", "columns", "region", "windowCenter", "windowWidth", "imageQuality"),
    *("annotation", "presentationUID", "presentationSeriesUID"),
)
_STORE_ANSWERS = (*_DICOM_JSON, "application/dicom+xml")
_SEARCH = (
    *("accept", "limit", "offset", "pagetoken", "includefield"),
    *("fuzzymatching", "emptyvaluematching", "multiplevaluematching", "empty204", "view"),
)
_RENDER = ("accept", "annotation", "iccprofile", "quality", "viewport", "window")

RESOURCES: tuple[Resource, ...] = (
    # PS3.18 10.4: frames first, they are asked for most.
    Resource(
        _INSTANCE + "/frames/{frames}", retrieve_frames, Operation("Retrieve frames", _PIXELS, ("accept",))
    ),
    Resource(_INSTANCE + "/metadata", retrieve_metadata, Operation("Retrieve metadata", _METADATA)),
    Resource(_SERIES + "/metadata", retrieve_metadata, Operation("Metadata of a series", _METADATA)),
    Resource(_STUDY + "/metadata", retrieve_metadata, Operation("Metadata of a study", _METADATA)),
    Resource(_INSTANCE, retrieve, Operation("Retrieve an instance", _INSTANCE_TYPES, _ARCHIVE)),
    Resource(_SERIES, retrieve, Operation("Retrieve a series", (*_DICOM, _ZIP), _ARCHIVE)),
    Resource(_STUDY, retrieve, Operation("Retrieve a study", (*_DICOM, _ZIP), _ARCHIVE)),
    Resource(
        _INSTANCE + "/bulkdata/{path:path}",
        retrieve_bulkdata,
        Operation("Retrieve bulk data", (*_OCTETS, "application/octet-stream"), ("accept",)),
    ),
    *(
        Resource(level + below, endpoint, Operation(summary, _PIXELS, ("accept",)))
        for level in (_INSTANCE, _SERIES, _STUDY)
        for below, endpoint, summary in (
            ("/bulkdata", retrieve_all_bulkdata, "Retrieve all bulk data"),
            ("/pixeldata", retrieve_pixeldata, "Retrieve all pixel data"),
        )
    ),
    Resource(
        _INSTANCE + "/rendered",
        retrieve_rendered,
        Operation("Render an instance", (*_PICTURES, *_MANY_PICTURES, *_PAGES), _RENDER),
    ),
    Resource(
        _SERIES + "/rendered",
        retrieve_all_rendered,
        Operation("Render a series", _MANY_PICTURES, _RENDER),
    ),
    Resource(
        _STUDY + "/rendered",
        retrieve_all_rendered,
        Operation("Render a study", _MANY_PICTURES, _RENDER),
    ),
    Resource(
        _INSTANCE + "/frames/{frames}/rendered",
        retrieve_rendered,
        Operation("Render a frame", (*_PICTURES, *_MANY_PICTURES), _RENDER),
    ),
    Resource(
        _INSTANCE + "/frames/{frames}/thumbnail",
        retrieve_thumbnail,
        Operation("Thumbnail of a frame", _PICTURES, ("accept", "viewport"), kind="thumbnail"),
    ),
    Resource(
        _INSTANCE + "/thumbnail",
        retrieve_thumbnail,
        Operation("Thumbnail of an instance", _PICTURES, ("accept", "viewport"), kind="thumbnail"),
    ),
    Resource(
        _SERIES + "/thumbnail",
        retrieve_thumbnail,
        Operation("Thumbnail of a series", _PICTURES, ("accept", "viewport"), kind="thumbnail"),
    ),
    Resource(
        _STUDY + "/thumbnail",
        retrieve_thumbnail,
        Operation("Thumbnail of a study", _PICTURES, ("accept", "viewport"), kind="thumbnail"),
    ),
    # PS3.18 10.6.
    Resource("/studies", search_studies, Operation("Search for studies", _METADATA, _SEARCH, kind="search")),
    Resource("/series", search_series, Operation("Search for series", _METADATA, _SEARCH, kind="search")),
    Resource(
        "/instances", search_instances, Operation("Search for instances", _METADATA, _SEARCH, kind="search")
    ),
    Resource(
        _STUDY + "/series",
        search_series,
        Operation("Search for series of a study", _METADATA, _SEARCH, kind="search"),
    ),
    Resource(
        _STUDY + "/instances",
        search_instances,
        Operation("Search for instances of a study", _METADATA, _SEARCH, kind="search"),
    ),
    Resource(
        _SERIES + "/instances",
        search_instances,
        Operation("Search for instances of a series", _METADATA, _SEARCH, kind="search"),
    ),
    # PS3.18 10.5.
    Resource(
        "/studies",
        store_instances,
        Operation("Store instances", _STORE_ANSWERS, takes=STORABLE, kind="store"),
        "POST",
    ),
    Resource(
        _STUDY,
        store_instances,
        Operation("Store into a study", _STORE_ANSWERS, takes=STORABLE, kind="store"),
        "POST",
    ),
    # PS3.18 9.
    Resource("/wado", retrieve_by_query, Operation("Retrieve by query", (DICOM, *_PICTURES, *_PAGES), _URI)),
    # PS3.18 13.
    Resource(
        _COMMITMENT,
        request_commitment,
        Operation("Request storage commitment", _DICOM_JSON, takes=_DICOM_JSON, kind="commit"),
        "POST",
    ),
    Resource(
        _COMMITMENT, check_commitment, Operation("Check storage commitment", _DICOM_JSON, kind="commit")
    ),
    # Not of the standard.
    Resource(_STUDY, delete, Operation("Delete a study", (), kind="delete"), "DELETE"),
    Resource(_SERIES, delete, Operation("Delete a series", (), kind="delete"), "DELETE"),
    Resource(_INSTANCE, delete, Operation("Delete an instance", (), kind="delete"), "DELETE"),
)


def routes() -> list[Route]:
    """Return the routes of every resource under both prefixes, and of the OpenAPI document."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    operations: dict[str, dict[str, Operation]] = {}
    for prefix in PREFIXES:
        for resource in RESOURCES:
            path = prefix + resource.path
            by_path.setdefault(path, {})[resource.method] = resource.endpoint
            operations.setdefault(path, {})[resource.method.lower()] = resource.operation
    return [
        *(
            TemplateRoute(path, _by_method(endpoints), methods=[*endpoints, "OPTIONS"])
            for path, endpoints in by_path.items()
        ),
        *(TemplateRoute(prefix, describe_capabilities, methods=["OPTIONS"]) for prefix in PREFIXES),
        TemplateRoute("/openapi.json", openapi_endpoint({**operations, **ADMINISTRATION})),
    ]


async def describe_capabilities(request: Request) -> Response:
    """Answer what the service can do (PS3.18 8.9); it is no secret and names no patient."""
    ranges = parse_accept(request.headers.get("accept"), request.query_params.get("accept"))
    if choose(ranges, (WADL,)) is None:
        raise NotAcceptable(f"the capabilities are described as {WADL}")
    described = ((resource.path, resource.method, resource.operation) for resource in RESOURCES)
    return Response(wadl_document(base_url(request), described), media_type=WADL)


def _by_method(endpoints: dict[str, Endpoint]) -> Endpoint:
    allowed = ", ".join(sorted({*endpoints, "OPTIONS", *({"HEAD"} if "GET" in endpoints else ())}))

    async def answer(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": allowed})
        method = "GET" if request.method == "HEAD" else request.method
        return await endpoints[method](request)

    return answer
