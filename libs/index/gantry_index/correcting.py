"""Applies corrections, merges, moves and rejections to the index, and takes them back.

What corrects attributes is only written down here, and the instances that it is about are queued:
they are derived again from their objects (``writer.renew``) and shown as they are meanwhile.
"""

from __future__ import annotations

from gantry.amendment.v1.amendment_pb2 import (
    AMENDMENT_KIND_CORRECT,
    AMENDMENT_KIND_MERGE,
    AMENDMENT_KIND_MOVE,
    AMENDMENT_KIND_REJECT,
    AMENDMENT_KIND_UNDO,
    Amendment,
)

from gantry_index.corrections import (
    corrections_lock,
    queue_corrected,
    queue_patient,
    queue_study,
    state_changed,
)
from gantry_index.pools import Connection

CORRECTING = frozenset((AMENDMENT_KIND_CORRECT, AMENDMENT_KIND_MERGE, AMENDMENT_KIND_MOVE))
KINDS = CORRECTING | {AMENDMENT_KIND_REJECT, AMENDMENT_KIND_UNDO}

_STAND = """
INSERT INTO correction (partition, scope, revision, amendment) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING
"""

_FALL = "DELETE FROM correction WHERE partition = $1 AND scope = $2 AND revision = $3 RETURNING revision"

_UNDO = """
UPDATE amendment SET undone_by = $4
WHERE partition = $1 AND scope = $2 AND revision = $3 AND undone_by IS NULL
"""

_REJECT = """
INSERT INTO rejection (partition, study_uid, sop_uid, note_study_uid, note_sop_uid, reason)
SELECT $1, $2, sop_uid, '', $3, $4 FROM unnest($5::text[]) AS sop_uid ON CONFLICT DO NOTHING
"""

_ACCEPT = """
DELETE FROM rejection WHERE partition = $1 AND study_uid = $2 AND note_study_uid = '' AND note_sop_uid = $3
"""


async def take_correction_lock(connection: Connection, amendment: Amendment) -> None:
    """Wait for those who write instances under the corrections that stand, and keep others from it."""
    if amendment.kind in CORRECTING or amendment.kind == AMENDMENT_KIND_UNDO:
        key = corrections_lock(amendment.partition)
        await connection.execute("SELECT pg_advisory_xact_lock($1)", key)


async def apply_correction(connection: Connection, amendment: Amendment, scope: str) -> None:
    """Do what an amendment of ``KINDS`` says, in the current transaction."""
    partition, revision = amendment.partition, amendment.revision
    if amendment.kind == AMENDMENT_KIND_REJECT:
        rejected = sorted({reception.sop_instance_uid for reception in amendment.receptions})
        note, code = _note(scope, revision), amendment.rejection.value
        await connection.execute(_REJECT, partition, amendment.study_instance_uid, note, code, rejected)
    elif amendment.kind == AMENDMENT_KIND_UNDO:
        await _undo(connection, amendment, scope)
    else:
        await connection.execute(_STAND, partition, scope, revision, amendment.SerializeToString())
        await state_changed(connection, partition)
        if amendment.HasField("patient"):
            patient = amendment.patient.patient_id, amendment.patient.issuer_of_patient_id
            await queue_patient(connection, partition, scope, patient)
        else:
            await queue_study(connection, partition, scope, amendment.study_instance_uid)


async def _undo(connection: Connection, amendment: Amendment, scope: str) -> None:
    partition, undone = amendment.partition, amendment.undoes
    await connection.execute(_UNDO, partition, scope, undone, amendment.revision)
    await connection.execute(_ACCEPT, partition, amendment.study_instance_uid, _note(scope, undone))
    if await connection.fetchval(_FALL, partition, scope, undone) is not None:
        await state_changed(connection, partition)
        await queue_corrected(connection, partition, scope, undone)


def _note(scope: str, revision: int) -> str:
    return f"{scope}/{revision}"
