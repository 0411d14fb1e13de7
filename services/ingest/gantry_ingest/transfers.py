"""Which studies an association brought, told when it ends: a hint for those who wait for whole studies."""

from __future__ import annotations

import asyncio
import time

from gantry.events.v1.events_pb2 import EVENT_KIND_TRANSFER_ENDED, IndexEvent
from gantry_dimse.association import Association
from gantry_messaging.events import EventPublisher

# Studies of one association that are told of; an import of many has no end worth a hint.
_MOST_STUDIES = 50


class Transfers:
    """Remembers, for each association, the studies that it stored into."""

    def __init__(self, events: EventPublisher) -> None:
        self._events = events
        self._studies: dict[Association, dict[tuple[str, str], None]] = {}
        self._telling: set[asyncio.Task[None]] = set()

    def note(self, association: Association, partition: str, study_uid: str) -> None:
        """Remember that an instance of a study was stored."""
        studies = self._studies.setdefault(association, {})
        if len(studies) < _MOST_STUDIES:
            studies[partition, study_uid] = None

    def ended(self, association: Association, *, released: bool) -> None:
        """Tell, in the background, that an association has ended."""
        studies = self._studies.pop(association, None)
        if studies:
            task = asyncio.create_task(self._tell(list(studies), time.time_ns() // 1000, released))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def close(self) -> None:
        """Finish what is being told."""
        if self._telling:
            await asyncio.wait(self._telling)
        await self._events.close()

    async def _tell(self, studies: list[tuple[str, str]], at_us: int, released: bool) -> None:
        for partition, study_uid in studies:
            await self._events.publish(
                IndexEvent(
                    kind=EVENT_KIND_TRANSFER_ENDED,
                    partition=partition,
                    study_instance_uid=study_uid,
                    occurred_at_us=at_us,
                    released=released,
                )
            )
