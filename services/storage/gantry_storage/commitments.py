"""Commitments that nobody carries on: verified here, and their notes forgotten when they have ended."""

from __future__ import annotations

from gantry_commitment.ledger import Commitment, Ledger, OpenCommitment
from gantry_commitment.progress import carry_on
from gantry_commitment.verification import Verifier
from gantry_dicom.errors import GantryError, Unavailable
from gantry_objectstore.protocol import ObjectStore
from gantry_telemetry.logs import get_logger

from gantry_storage.instruments import BROKEN, COMMITMENTS_OPEN

log = get_logger(__name__)

# Seconds in which whoever took a request is the one to verify it.
FIRST_DONE_BY_RECEIVER = 120.0


class Commitments:
    """Sees to it that every request is answered for."""

    def __init__(
        self, store: ObjectStore, ledger: Ledger, verifier: Verifier, *, wait: float = FIRST_DONE_BY_RECEIVER
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._verifier = verifier
        self._wait = wait

    async def sweep(self) -> int:
        """Go on with what was left and return how many commitments stay open. Raises ``Unavailable``."""
        staying = 0
        for note in [note async for note in self._ledger.open_ones()]:
            try:
                is_done = await self._go_on(note)
            except Unavailable:
                raise
            except GantryError:
                BROKEN.labels("commitment").inc()
                log.exception("commitment_refused")
                is_done = False
            if is_done:
                await self._store.delete(note.key)
            else:
                staying += 1
        COMMITMENTS_OPEN.set(staying)
        return staying

    async def _go_on(self, note: OpenCommitment) -> bool:
        """Return whether the note may go."""
        commitment = await self._ledger.read_open(note.key)
        if commitment is None:
            # Its writer died before the request was recorded, or is about to record it.
            return note.age_seconds > self._wait
        if commitment.end is not None:
            return True
        if commitment.report is None:
            if note.age_seconds <= self._wait:
                return False
            await carry_on(self._ledger, self._verifier, commitment.request)
        return await self._end_untold(commitment)

    async def _end_untold(self, commitment: Commitment) -> bool:
        if commitment.request.HasField("receiver"):
            return False  # the report has yet to be delivered
        request = commitment.request
        await self._ledger.end(request.partition, request.transaction_uid, delivered=True)
        return True
