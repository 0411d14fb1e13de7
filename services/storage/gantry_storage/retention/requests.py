"""What administrators ask of retention, and how it is answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from gantry_dicom.errors import BadRequest
from gantry_index.storage_requests import RequestKind, StorageRequest
from gantry_objectstore.certificates import name_of

from gantry_storage.retention.planning import Planner
from gantry_storage.retention.purging import Orderer, Purging
from gantry_storage.tiering.moving import Mover
from gantry_storage.tiering.planning import MovePlanner

Answer = Mapping[str, object]
Methods = Mapping[str, Callable[[StorageRequest], Awaitable[Answer]]]


def retention_methods(planner: Planner, purging: Purging, moves: MovePlanner, mover: Mover) -> Methods:
    """Return what answers each kind of request."""

    async def plan(request: StorageRequest) -> Answer:
        deletions, moved = await planner.plan(request.partition), await moves.plan(request.partition)
        return {**deletions.document(), "moves": moved.document()}

    async def run(request: StorageRequest) -> Answer:
        deletions, moved = await planner.run(request.partition), await moves.run(request.partition)
        return {**deletions.document(), "moves": moved.document()}

    async def recall(request: StorageRequest) -> Answer:
        study_uid, reason = str(request.arguments["study"]), str(request.arguments["reason"])
        move = await mover.recall(request.partition, study_uid, Orderer(request.principal, reason))
        return {"objects": move.objects, "bytes": move.bytes}

    async def purge(request: StorageRequest) -> Answer:
        study_uid, reason = str(request.arguments["study"]), str(request.arguments["reason"])
        without_grace = bool(request.arguments.get("now"))
        if not reason:
            raise BadRequest("a purge needs a reason")
        certificates = await purging.purge(
            request.partition,
            study_uid,
            Orderer(request.principal, reason),
            without_grace=without_grace,
        )
        objects = [one for each in certificates for one in each.objects]
        return {
            "certificates": [name_of(each) for each in certificates],
            "objects": len(objects),
            "bytes": sum(one.size for one in objects),
        }

    return {
        RequestKind.RETENTION_PLAN.value: plan,
        RequestKind.RETENTION_RUN.value: run,
        RequestKind.PURGE.value: purge,
        RequestKind.RECALL.value: recall,
    }
