"""How much is stored, and how long the room lasts: ``GET /admin/capacity``.

The stores are the whole deployment's, so it takes the right to administer every partition.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from gantry.index.v1.index_pb2 import VerdictState
from gantry_access.policy import Action
from gantry_dicom.errors import BadRequest
from gantry_index.capacity import Usage, daily_growth, days_left, growth, rooms, usage, window
from gantry_objectstore.keys import is_partition
from gantry_web.app import TemplateRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gantry_gateway.entrypoints.administration import json_answer, number_in
from gantry_gateway.entrypoints.context import authorise, components

PATH = "/admin/capacity"
_DEFAULT_DAYS, _MOST_DAYS = 30, 3660


async def show_capacity(request: Request) -> Response:
    """Answer bytes and counts by partition, store, state, modality and month, and each store's forecast.

    ``partition`` leaves out others, ``days`` is how far the forecast looks back.
    """
    authorise(request, Action.ADMINISTER, "*")
    query = request.query_params
    if set(query) - {"partition", "days"}:
        raise BadRequest("the parameters are days, partition")
    partition = query.get("partition")
    if partition is not None and not is_partition(partition):
        raise BadRequest("partition is the name of one")
    days = number_in(query.get("days", str(_DEFAULT_DAYS)), "days", _MOST_DAYS)
    pool = components(request).pool
    found = await usage(pool, partition)
    grown = await growth(pool, *window(datetime.now(UTC), days))
    stores = [
        {
            "tier": room.store_id,
            "roomBytes": room.room_bytes,
            "quotaBytes": room.quota_bytes,
            "measured": room.measured_at.isoformat(timespec="seconds"),
            "bytesADay": round(daily_growth(grown.get(room.store_id, ()))),
            "daysLeft": days_left(grown.get(room.store_id, ()), room.room_bytes),
        }
        for room in await rooms(pool)
    ]
    return json_answer(
        {
            "instances": sum(one.instances for one in found),
            "bytes": sum(one.bytes for one in found),
            "tiers": stores,
            "usage": _usage(found),
        }
    )


def capacity_routes() -> list[Route]:
    """Return the route of capacity."""
    return [TemplateRoute(PATH, show_capacity, methods=["GET"])]


def _usage(found: Sequence[Usage]) -> list[dict[str, object]]:
    return [
        {
            "partition": one.partition,
            "tier": one.store_id,
            "state": VerdictState.Name(one.state).removeprefix("VERDICT_STATE_").lower().replace("_", "-"),
            "modality": one.modality or None,
            "month": f"{one.month:%Y-%m}",
            "instances": one.instances,
            "bytes": one.bytes,
        }
        for one in found
    ]
