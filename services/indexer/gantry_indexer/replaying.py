"""A chunk of a manifest's lines, read again from the store and indexed; the task ``replay.v1``."""

from __future__ import annotations

from collections.abc import Sequence

from celery import Celery
from gantry.index.v1.index_pb2 import IndexRequest
from gantry.reception.v1.reception_pb2 import Outcome, Reception
from gantry_dicom.errors import NotFound, Unavailable
from gantry_index.reader import IndexReader
from gantry_messaging.celery_app import send
from gantry_messaging.names import ISOLATE_QUEUE
from gantry_messaging.verdicts import is_standing
from gantry_objectstore.errors import BadKey, BadSeal
from gantry_objectstore.records import read_manifest
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.store import ObjectStore
from gantry_telemetry.logs import get_logger

from gantry_indexer.chunks import ChunkIndexer
from gantry_indexer.consuming import isolation_body
from gantry_indexer.instruments import ISOLATED
from gantry_indexer.isolating import Next

log = get_logger(__name__)


class Replaying:
    """Replays manifests; repeating it changes nothing."""

    def __init__(
        self, indexer: ChunkIndexer, reader: IndexReader, store: ObjectStore, sealer: Sealer, tasks: Celery
    ) -> None:
        self._indexer = indexer
        self._reader = reader
        self._store = store
        self._sealer = sealer
        self._tasks = tasks

    async def replay(self, key: str, first: int, count: int) -> Next:
        """Index the lines ``first`` to ``first + count`` of the manifest at ``key`` that have no verdict."""
        try:
            manifest = await read_manifest(self._store, key, self._sealer)
        except (NotFound, BadKey, BadSeal):
            # The task came through Redis; the record decides.
            log.exception("replayed_manifest_refused")
            return Next.DONE
        except Unavailable as error:
            log.warning("replay_paused", reason=error.detail)
            return Next.LATER
        lines = [
            line
            for line in manifest.receptions[first : first + count]
            if line.outcome != Outcome.OUTCOME_REFUSED
        ]
        try:
            return await self.index(manifest.partition, lines)
        except Unavailable as error:
            log.warning("replay_paused", reason=error.detail)
            return Next.LATER

    async def index(self, partition: str, lines: Sequence[Reception]) -> Next:
        """Index those of ``lines`` that have no verdict. Raises ``Unavailable``."""
        verdicts = await self._reader.verdicts([line.object_key for line in lines])
        requests = [
            IndexRequest(partition=partition, reception=line)
            for line in lines
            if not is_standing(verdicts.get(line.object_key))
        ]
        if not requests:
            return Next.DONE
        result = await self._indexer.index(requests)
        for position, error in result.poison.items():
            request = requests[position]
            log.error("instance_failed", object_key=request.reception.object_key, exc_info=error)
            if not await send(self._tasks, ISOLATE_QUEUE, isolation_body(self._sealer, request)):
                return Next.LATER
            ISOLATED.labels("failed").inc()
        return Next.DONE
