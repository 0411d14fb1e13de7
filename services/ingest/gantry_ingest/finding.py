"""C-FIND: the search of QIDO-RS, its matches sent one by one (PS3.4 C.4.1)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from gantry.access.v1.access_pb2 import ACCESS_KIND_SEARCH
from gantry_access.assembly import Access
from gantry_dicom.find_answer import Match, answer, match
from gantry_dicom.find_identifier import FindRequest, find_request
from gantry_dicom.identifiers import read_identifier
from gantry_dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from gantry_dimse.entity import Operation, Response
from gantry_dimse.statuses import CANCELLED, PENDING, PENDING_WITH_UNSUPPORTED_KEYS, SUCCESS
from gantry_index.reader import IndexReader

from gantry_ingest.access import C_FIND, Caller, allow
from gantry_ingest.extended import find_options
from gantry_ingest.query_contexts import encoding_of, model_of
from gantry_ingest.recording import recorded

# Matches read at a time. A peer that does not keep up holds the next page back.
_PAGE = 500
# Matches after which whatever else has come is looked at, a cancel among it.
_BREATH = 8


@dataclass(frozen=True, slots=True)
class Finding:
    """Answers C-FIND from the index."""

    index: IndexReader
    access: Access

    async def find(self, operation: Operation, caller: Caller) -> Response:
        """Send the matches, then say how it ended. Raises ``GantryError``."""
        principal, decision = allow(self.access, caller, C_FIND)
        association, context = operation.association, operation.context
        model = model_of(context)
        options = find_options(association, context.abstract_syntax)
        request = find_request(
            read_identifier(operation.data, encoding_of(context), model),
            model,
            options,
            partition=caller.partition,
            limit=_PAGE,
        )
        await recorded(
            self.access.note(
                ACCESS_KIND_SEARCH,
                principal,
                operation=C_FIND,
                outcome=decision.rule,
                partition=caller.partition,
                study_uid=request.query.study_uid or "",
            )
        )
        status = PENDING_WITH_UNSUPPORTED_KEYS if request.unsupported else PENDING
        explicit = context.transfer_syntax == EXPLICIT_VR_LITTLE_ENDIAN
        count = 0
        async for found in self._matches(request):
            if count % _BREATH == 0:
                await asyncio.sleep(0)
            if operation.cancelled.is_set():
                return Response(CANCELLED)
            count += 1
            data = answer(found, request, association.called_ae_title, explicit=explicit)
            await operation.respond(Response(status, data))
        return Response(SUCCESS)

    async def _matches(self, request: FindRequest) -> AsyncIterator[Match]:
        """Yield the matches, a page in memory at a time; each page begins where the last one ended."""
        query = request.query
        while True:
            page = await self.index.search(query)
            for document in page.documents:
                yield match(document)
            if not page.remaining or page.end is None:
                return
            query = replace(query, after=page.end)
