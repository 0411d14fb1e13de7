"""What routing has sent and what waits, for administrators: ``GET /admin/route-jobs``."""

from __future__ import annotations

import orjson
from gantry_access.policy import Action
from gantry_dicom.errors import BadRequest
from gantry_objectstore.keys import is_partition
from gantry_routing.documents import job_document
from gantry_web.app import TemplateRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gantry_gateway.entrypoints.context import DEFAULT_PARTITION, authorise, components

PATH = "/admin/route-jobs"
_PARAMETERS = frozenset({"partition", "limit"})
_DEFAULT_LIMIT, _MOST = 100, 1000


async def list_jobs(request: Request) -> Response:
    """Answer the jobs of a partition, those that changed last first, as a JSON array."""
    query = request.query_params
    partition = query.get("partition", DEFAULT_PARTITION)
    authorise(request, Action.ADMINISTER, partition)
    if set(query) - _PARAMETERS:
        raise BadRequest(f"the parameters are {', '.join(sorted(_PARAMETERS))}")
    if not is_partition(partition):
        raise BadRequest("partition is the name of one")
    jobs = await components(request).route_jobs.jobs(partition, _limit(query.get("limit")))
    return Response(orjson.dumps([job_document(job) for job in jobs]), media_type="application/json")


def route_job_routes() -> list[Route]:
    """Return the route of routing jobs."""
    return [TemplateRoute(PATH, list_jobs, methods=["GET"])]


def _limit(text: str | None) -> int:
    if text is None:
        return _DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:9]) <= _MOST:
        raise BadRequest(f"limit is a number from 1 to {_MOST}")
    return int(text)
