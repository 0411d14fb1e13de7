"""Why associations failed, for administrators of every partition: ``GET /admin/dimse-failures``.

It is read from the bucket, because it is asked for when something is down.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import orjson
from gantry_access.policy import EVERY_PARTITION, Action
from gantry_dicom.errors import BadRequest
from gantry_failures.diagnoses import ADVICE
from gantry_failures.ledger import Wanted
from gantry_failures.records import failure_document
from gantry_web.app import TemplateRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gantry_gateway.entrypoints.context import authorise, components

PATH = "/admin/dimse-failures"
_PARAMETERS = frozenset({"ae", "diagnosis", "since", "limit"})
_DEFAULT_LIMIT, _MOST = 100, 1000
_DEFAULT_AGE = timedelta(days=1)


async def list_failures(request: Request) -> Response:
    """Answer the newest records, each with its advice, as a JSON array.

    ``ae`` is a calling AE title, ``diagnosis`` a name, ``since`` a time (ISO 8601, a day ago unless
    given) and ``limit`` how many at most.
    """
    authorise(request, Action.ADMINISTER, EVERY_PARTITION)
    query = request.query_params
    unknown = set(query) - _PARAMETERS
    if unknown:
        raise BadRequest(f"the parameters are {', '.join(sorted(_PARAMETERS))}")
    diagnosis = query.get("diagnosis", "")
    if diagnosis and diagnosis not in ADVICE:
        raise BadRequest("there is no such diagnosis")
    wanted = Wanted(_since(query.get("since")), query.get("ae", "").strip(), diagnosis)
    found = await components(request).failures.read(wanted, _limit(query.get("limit")))
    return Response(
        orjson.dumps([failure_document(failure) for failure in found]), media_type="application/json"
    )


def failure_routes() -> list[Route]:
    """Return the route of failed associations."""
    return [TemplateRoute(PATH, list_failures, methods=["GET"])]


def _since(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC) - _DEFAULT_AGE
    try:
        # A plus sign that nobody has encoded arrives as a blank.
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise BadRequest("since is a time of ISO 8601") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _limit(text: str | None) -> int:
    if text is None:
        return _DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:9]) <= _MOST:
        raise BadRequest(f"limit is a number from 1 to {_MOST}")
    return int(text)
