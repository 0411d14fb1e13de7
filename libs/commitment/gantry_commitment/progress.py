"""Carrying a commitment on: whoever holds it verifies, records, and ends what needs no telling."""

from __future__ import annotations

from gantry.commitment.v1.commitment_pb2 import CommitmentReport, CommitmentRequest

from gantry_commitment.ledger import Ledger
from gantry_commitment.verification import INDEX_LAG_SECONDS, Verifier


async def carry_on(
    ledger: Ledger,
    verifier: Verifier,
    request: CommitmentRequest,
    *,
    patience_seconds: float = INDEX_LAG_SECONDS,
) -> CommitmentReport:
    """Verify what ``request`` names, record the report and return the one that stands.

    A request without a receiver has then ended; with one, the report has yet to be delivered.
    Doing it twice, at once or again, is harmless. Raises ``Unavailable``.
    """
    report = await ledger.report(await verifier.verify(request, patience_seconds=patience_seconds))
    if not request.HasField("receiver"):
        await ledger.end(request.partition, request.transaction_uid, delivered=True)
    return report
