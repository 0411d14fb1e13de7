"""The OpenAPI document of the gateway, made from its route table."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

import orjson
from starlette.requests import Request
from starlette.responses import Response

from gantry_gateway.entrypoints import openapi_schemas as schemas

_PROBLEM = "application/problem+json"
_STORE_TYPES = ("application/dicom+json", "application/dicom+xml")
PATH_PARAMETER = re.compile(r"\{(\w+)(?::path)?\}")

# What any operation may be refused with (the table of ``gantry_web.problems``).
_REFUSALS = (400, 401, 403, 404, 500, 503)
_NOT_ACCEPTABLE, _GONE, _NOT_SATISFIABLE = 406, 410, 416
_CONFLICT, _TOO_LARGE = 409, 413
_REFUSED_BODIES = (_CONFLICT, _TOO_LARGE, 415)


Kind = Literal["retrieve", "thumbnail", "search", "store", "commit", "delete", "administer"]


@dataclass(frozen=True, slots=True)
class Operation:
    """What the document says of one method of one path."""

    summary: str
    media_types: tuple[str, ...]
    parameters: tuple[str, ...] = ()
    # Media types of the body, for what is sent here.
    takes: tuple[str, ...] = ()
    # What it does, as far as that decides how it can be answered.
    kind: Kind = "retrieve"
    # Of what administrators do: the statuses of success.
    statuses: tuple[int, ...] = ()


def openapi_document(operations: Mapping[str, Mapping[str, Operation]]) -> dict[str, object]:
    """Return the OpenAPI 3.1 document for ``operations`` by path and method."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Gantry DICOMweb", "version": "1", "description": "DICOM PS3.18 origin server"},
        "paths": {
            PATH_PARAMETER.sub(r"{\1}", path): {
                method: _operation(path, operation) for method, operation in methods.items()
            }
            for path, methods in operations.items()
        },
        "components": {"schemas": schemas.COMPONENTS},
    }


def openapi_endpoint(
    operations: Mapping[str, Mapping[str, Operation]],
) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint that answers the document."""
    body = orjson.dumps(openapi_document(operations))

    async def answer(_request: Request) -> Response:
        return Response(body, media_type="application/json")

    return answer


def _operation(path: str, operation: Operation) -> dict[str, object]:
    described: dict[str, object] = {
        "summary": operation.summary,
        "parameters": [
            *(
                {"name": name, "in": "path", "required": True, "schema": schemas.PARAMETERS[name]}
                for name in PATH_PARAMETER.findall(path)
            ),
            *(_query_parameter(name, operation) for name in operation.parameters),
        ],
        "responses": _responses(operation),
    }
    if operation.takes:
        content = {name: _content(schemas.BODIES, name) for name in operation.takes}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _query_parameter(name: str, operation: Operation) -> dict[str, object]:
    schema = schemas.PARAMETERS.get(name)
    if schema is None:
        schema = {"type": "string", "enum": [*operation.media_types, "*/*"]}
    elif name == "limit" and operation.kind == "administer":
        schema = schemas.ADMINISTRATORS_LIMIT
    elif name == "viewport" and operation.kind == "thumbnail":
        schema = schemas.THUMBNAIL_VIEWPORT
    described: dict[str, object] = {
        "name": name,
        "in": "query",
        "required": name in schemas.REQUIRED,
        "schema": schema,
    }
    if name in schemas.DESCRIPTIONS:
        described["description"] = schemas.DESCRIPTIONS[name]
    return described


_Contents = Mapping[str, object]


def _responses(operation: Operation) -> dict[str, object]:
    """Return every status with which the operation can be answered, and what it comes with."""
    answers: _Contents = {name: _content(schemas.ANSWERS, name) for name in operation.media_types}
    reports: _Contents = {
        name: {"schema": schemas.STORE_REPORT} if "json" in name else {} for name in _STORE_TYPES
    }
    problems: _Contents = {_PROBLEM: {"schema": schemas.PROBLEM}}
    contents: dict[int, _Contents | None] = dict.fromkeys(_REFUSALS, problems)
    if operation.kind not in {"delete", "administer"}:
        contents[_NOT_ACCEPTABLE] = problems
    if operation.kind in {"retrieve", "thumbnail"}:
        contents.update({200: answers, 206: answers, 304: None, _GONE: problems, _NOT_SATISFIABLE: problems})
    elif operation.kind == "search":
        contents.update({200: answers, 204: None, 413: problems})
    elif operation.kind == "store":
        told: _Contents = {**reports, **problems}
        contents |= dict.fromkeys(_REFUSED_BODIES, problems)
        contents.update({200: reports, 202: reports, 409: told, 503: told})
    elif operation.kind == "commit":
        contents |= dict.fromkeys(_REFUSED_BODIES, problems)
        contents.update({200: answers, 202: None})
    elif operation.kind == "administer":
        contents |= dict.fromkeys(operation.statuses, answers)
        contents |= {_CONFLICT: problems} | ({_TOO_LARGE: problems} if operation.takes else {})
    else:
        contents.update({204: None, 202: None, _CONFLICT: problems, _GONE: problems})
    return {
        str(status): {"description": HTTPStatus(status).phrase}
        | ({} if content is None else {"content": content})
        for status, content in sorted(contents.items())
    }


def _content(known: Mapping[str, schemas.Schema], media_type: str) -> dict[str, object]:
    return {"schema": known[media_type]} if media_type in known else {}
