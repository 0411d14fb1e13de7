"""What C-MOVE and C-GET share: the plan, its record, and the progress that the requestor is told."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import groupby

from gantry.access.v1.access_pb2 import ACCESS_KIND_RETRIEVE
from gantry_access.assembly import Access
from gantry_dicom.identifiers import read_identifier
from gantry_dicom.retrieve_identifier import retrieve_keys
from gantry_dimse.association import Association
from gantry_dimse.entity import Operation
from gantry_dimse.errors import NotAssociated
from gantry_index.looks import Looks
from gantry_index.reader import IndexReader
from gantry_index.records import StoredInstance

from gantry_ingest.access import Caller, allow
from gantry_ingest.extended import is_relational
from gantry_ingest.planning import instances_of
from gantry_ingest.query_contexts import encoding_of, model_of
from gantry_ingest.recording import recorded
from gantry_ingest.sending import Errand, InstanceSender
from gantry_ingest.suboperations import SubOperations

# A requestor hears at most so often of progress, and at least so often that it goes on, in seconds.
_TOLD_EVERY = 0.25
_TOLD_AT_LEAST_EVERY = 2.0
# Instances being read or transcoded for one association ahead of the one that is sent.
_AHEAD = 4
# How often an instance is begun: one that brings its receiver down must not do so for ever.
_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class Planning:
    """From a request to the instances it is to be answered with."""

    index: IndexReader
    access: Access
    looks: Looks | None = None

    async def plan(
        self, operation: Operation, caller: Caller, service: str, purpose: str
    ) -> list[StoredInstance]:
        """Return what is to be sent, when the record of it is durable.

        ``purpose`` is what the record says was done. Raises ``NotAllowed``, ``BadRequest``,
        ``Unavailable`` and the errors of the access log.
        """
        principal, decision = allow(self.access, caller, service)
        context = operation.context
        model = model_of(context)
        keys = retrieve_keys(
            read_identifier(operation.data, encoding_of(context), model),
            model,
            relational=is_relational(operation.association, context.abstract_syntax),
        )
        instances = await instances_of(self.index, caller.partition, keys)
        for study_uid, group in groupby(instances, key=lambda one: one.study_uid):
            if self.looks is not None:
                self.looks.note(caller.partition, study_uid)
            await recorded(
                self.access.note(
                    ACCESS_KIND_RETRIEVE,
                    principal,
                    operation=purpose,
                    outcome=decision.rule,
                    partition=caller.partition,
                    study_uid=study_uid,
                    sop_uids=[one.sop_uid for one in group],
                )
            )
        return instances


class Retrieval:
    """One retrieval under way: what waits, and how what was sent has ended."""

    def __init__(self, operation: Operation, instances: Iterable[StoredInstance]) -> None:
        self.operation = operation
        self.waiting = deque(instances)
        self.counts = SubOperations(len(self.waiting))
        self._begun: dict[str, int] = {}

    @property
    def cancelled(self) -> bool:
        """Whether the requestor does not want it any more."""
        return self.operation.cancelled.is_set()

    def ended(self, instance: StoredInstance, status: int | None) -> None:
        """Count an instance."""
        self._begun.pop(instance.sop_uid, None)
        self.counts.ended(instance.sop_uid, status)

    def fail_waiting(self) -> None:
        """Count all that waits as failed."""
        while self.waiting:
            self.ended(self.waiting.popleft(), None)

    async def send_over(self, association: Association, sender: InstanceSender, errand: Errand) -> None:
        """Send what waits over ``association``, until nothing does, it ends, or the requestor cancels.

        What is in hand when the association ends waits again, once.
        """
        async with asyncio.TaskGroup() as group:
            for _ in range(min(_AHEAD, len(self.waiting))):
                group.create_task(self._send_some(association, sender, errand))

    async def _send_some(self, association: Association, sender: InstanceSender, errand: Errand) -> None:
        while self.waiting and not self.cancelled and not association.over:
            instance = self.waiting.popleft()
            try:
                status = await sender.send(association, instance, errand)
            except NotAssociated:
                self._again(instance)
                return
            self.ended(instance, status)

    def _again(self, instance: StoredInstance) -> None:
        begun = self._begun[instance.sop_uid] = self._begun.get(instance.sop_uid, 0) + 1
        if begun < _ATTEMPTS:
            self.waiting.appendleft(instance)
        else:
            self.ended(instance, None)

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[None]:
        """Tell the requestor of progress within the block, from the start and while nothing moves."""
        if self.waiting:
            await self.operation.respond(self.counts.pending())
        over = asyncio.Event()
        task = asyncio.create_task(self._tell(over))
        try:
            yield
        finally:
            # Not cancelled: it may be in the middle of a message.
            over.set()
            await asyncio.gather(task, return_exceptions=True)

    async def _tell(self, over: asyncio.Event) -> None:
        told, silent = self.counts.counts, 0.0
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_TOLD_EVERY):
                    await over.wait()
                    return
            silent += _TOLD_EVERY
            if self.counts.counts != told or silent >= _TOLD_AT_LEAST_EVERY:
                told, silent = self.counts.counts, 0.0
                await self.operation.respond(self.counts.pending())
