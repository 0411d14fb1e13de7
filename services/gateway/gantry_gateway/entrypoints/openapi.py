"""The OpenAPI document of the gateway, made from its route table."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import orjson
from starlette.requests import Request
from starlette.responses import Response

_PROBLEM = "application/problem+json"
PATH_PARAMETER = re.compile(r"\{(\w+)(?::path)?\}")
_UID = {"type": "string", "pattern": r"^(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*$", "maxLength": 64}
_SCHEMAS: Mapping[str, Mapping[str, object]] = {
    "partition": {"type": "string", "pattern": r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", "maxLength": 63},
    "study": _UID,
    "series": _UID,
    "instance": _UID,
    "transaction": _UID,
    "frames": {"type": "string", "pattern": r"^[1-9][0-9]{0,8}(,[1-9][0-9]{0,8})*$"},
    "path": {"type": "string", "pattern": r"^[0-9A-F]{8}(/[1-9][0-9]{0,8}/[0-9A-F]{8})*$"},
    "limit": {"type": "integer", "minimum": 0},
    "offset": {"type": "integer", "minimum": 0},
    "fuzzymatching": {"type": "boolean"},
    "quality": {"type": "integer", "minimum": 1, "maximum": 100},
}


@dataclass(frozen=True, slots=True)
class Operation:
    """What the document says of one method of one path."""

    summary: str
    media_types: tuple[str, ...]
    parameters: tuple[str, ...] = ()
    # Media types of the body, for what is sent here.
    takes: tuple[str, ...] = ()


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
                {"name": name, "in": "path", "required": True, "schema": _SCHEMAS[name]}
                for name in PATH_PARAMETER.findall(path)
            ),
            *(
                {"name": name, "in": "query", "schema": _SCHEMAS.get(name, {"type": "string"})}
                for name in operation.parameters
            ),
        ],
        "responses": {
            "200": {"description": "Success", "content": {name: {} for name in operation.media_types}},
            "default": {"description": "Problem details (RFC 9457)", "content": {_PROBLEM: {}}},
        },
    }
    if operation.takes:
        described["requestBody"] = {"required": True, "content": {name: {} for name in operation.takes}}
    return described
