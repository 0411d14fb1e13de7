"""Query and retrieval of one worker put together, and their errors as statuses."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from gantry_access.assembly import Access
from gantry_dicom.errors import GantryError
from gantry_dicom.information_models import QUERY_RETRIEVE, Retrieval
from gantry_dimse.commands import CommandField
from gantry_dimse.entity import Operation, Response
from gantry_dimse.errors import NotAssociated
from gantry_dimse.statuses import SOP_CLASS_NOT_SUPPORTED
from gantry_imaging.workers import PixelWorkers
from gantry_index.looks import Looks
from gantry_index.reader import IndexReader
from gantry_objectstore.store import ObjectStore
from gantry_web.lifeline import end_with_parent

from gantry_ingest.access import Caller
from gantry_ingest.destinations import Destinations
from gantry_ingest.finding import Finding
from gantry_ingest.getting import Getting
from gantry_ingest.moving import Moving
from gantry_ingest.query_statuses import query_status
from gantry_ingest.retrieving import Planning
from gantry_ingest.sending import InstanceSender
from gantry_ingest.settings import IngestSettings
from gantry_ingest.transcoding import Transcoder


@dataclass(frozen=True, slots=True)
class Querying:
    """Answers C-FIND, C-MOVE and C-GET."""

    finding: Finding
    moving: Moving
    getting: Getting
    workers: PixelWorkers

    async def find(self, operation: Operation, caller: Caller) -> Response:
        """Answer a C-FIND."""
        return await _answered(CommandField.C_FIND, Retrieval.FIND, self.finding.find, operation, caller)

    async def move(self, operation: Operation, caller: Caller) -> Response:
        """Answer a C-MOVE."""
        return await _answered(CommandField.C_MOVE, Retrieval.MOVE, self.moving.move, operation, caller)

    async def get(self, operation: Operation, caller: Caller) -> Response:
        """Answer a C-GET."""
        return await _answered(CommandField.C_GET, Retrieval.GET, self.getting.get, operation, caller)

    def close(self) -> None:
        """End the worker processes."""
        self.workers.close()


async def _answered(
    field: CommandField,
    retrieval: Retrieval,
    service: Callable[[Operation, Caller], Awaitable[Response]],
    operation: Operation,
    caller: Caller,
) -> Response:
    known = QUERY_RETRIEVE.get(operation.context.abstract_syntax)
    if known is None or known[0] is not retrieval:
        return Response(SOP_CLASS_NOT_SUPPORTED, error_comment="not a service of this SOP class")
    try:
        return await service(operation, caller)
    except NotAssociated:
        raise
    except GantryError as error:
        return Response(query_status(field, error), error_comment=error.detail)


def make_querying(
    settings: IngestSettings, access: Access, objects: ObjectStore, index: IndexReader, looks: Looks
) -> Querying:
    """Build the services; no process is started before there is something to transcode."""
    workers = PixelWorkers(
        settings.pixel_workers,
        memory_bytes=settings.pixel_worker_memory_bytes,
        seconds=settings.pixel_seconds,
        prepare=partial(end_with_parent, partial(os._exit, 1)),
    )
    transcoder = Transcoder(
        objects, workers, settings.spool_folder or None, asyncio.Semaphore(2 * settings.pixel_workers)
    )
    planning, sender = Planning(index, access, looks), InstanceSender(objects, transcoder)
    moving = Moving(
        planning,
        sender,
        Destinations(access, settings.named_destinations()),
        associations=settings.move_associations,
        connect_seconds=settings.move_connect_seconds,
    )
    return Querying(Finding(index, access), moving, Getting(planning, sender), workers)
