"""Amendments: numbered, sealed decisions about a study or patient, kept beside the objects that never change.

Writing one keeps the order of the ack contract: first the note that it may wait, then the
amendment itself, by the one conditional create there is. Whoever dies in between leaves a
note that leads nowhere, never an amendment that nobody applies.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from gantry.amendment.v1.amendment_pb2 import Amendment
from gantry_dicom.errors import Conflict

from gantry_objectstore.errors import BadKey, BadSeal
from gantry_objectstore.keys import (
    amendment_folder,
    amendment_key,
    amendment_scope,
    parse_amendment_key,
    parse_object_key,
    patient_scope,
    waiting_key,
)
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.sealing import Sealer

# What one amendment covers at most; about 200 bytes each.
MAX_RECEPTIONS = 20_000

# Writers of one study at a time whose numbers may collide.
_ATTEMPTS = 16
_NOTE = b"waiting\n"


async def write_amendment(
    store: ObjectStore,
    amendment: Amendment,
    sealer: Sealer,
    *,
    lease: float = 120.0,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """Give ``amendment`` the next revision of its study or patient, put it, and return its key.

    When this returns, the amendment is permanent and will be applied, by a sweep if by nobody
    sooner. ``lease`` is the time in seconds that a note is left alone. Raises ``Conflict`` when
    others keep taking the numbers, and ``Unavailable``: the amendment may then be there.
    """
    partition, scope = amendment.partition, scope_of(amendment)
    amendment.revision = await _newest(store, partition, scope)
    for _ in range(_ATTEMPTS):
        amendment.revision += 1
        note = waiting_key(partition, scope, amendment.revision)
        noted_at = clock()
        await store.put(note, _NOTE)
        if await _created(store, amendment_key(partition, scope, amendment.revision), sealer.seal(amendment)):
            if clock() - noted_at >= lease / 2:
                # A sweep may have taken the note for one that leads nowhere.
                await store.put(note, _NOTE)
            return amendment_key(partition, scope, amendment.revision)
    raise Conflict("it is being amended by others")


async def read_amendment(store: ObjectStore, key: str, sealer: Sealer) -> Amendment:
    """Return the amendment at ``key``. Raises ``NotFound``, ``BadKey``, ``BadSeal``, ``Unavailable``.

    One that stands at another's key, or names objects of another partition, has a bad seal.
    """
    place = parse_amendment_key(key)
    amendment = sealer.open(await store.get(key), Amendment)
    scope = scope_of(amendment)
    if (amendment.partition, scope, amendment.revision) != (place.partition, place.scope, place.revision):
        raise BadSeal("an amendment under another's key")
    try:
        keys = [parse_object_key(reception.object_key) for reception in amendment.receptions]
    except BadKey as error:
        raise BadSeal("an amendment that names what is no object") from error
    if any(found.partition != place.partition for found in keys):
        raise BadSeal("an amendment that reaches into another partition")
    return amendment


def scope_of(amendment: Amendment) -> str:
    """Return what stands for the study or patient of an amendment in its key."""
    if amendment.HasField("patient"):
        return patient_scope(amendment.patient.patient_id, amendment.patient.issuer_of_patient_id)
    return amendment_scope(amendment.study_instance_uid)


async def _newest(store: ObjectStore, partition: str, scope: str) -> int:
    folder = amendment_folder(partition, scope)
    revisions = [parse_amendment_key(info.key).revision async for info in store.list(folder)]
    return max(revisions, default=0)


async def _created(store: ObjectStore, key: str, sealed: bytes) -> bool:
    try:
        await store.put(key, sealed, create=True)
    except Conflict:
        # An earlier attempt may have been stored although its answer was lost.
        return await store.get(key) == sealed
    return True
