"""Whose objects are, by their own words: asked before they are deleted, when holds are on patients.

The index forgets what is hidden, and a correction or merge may have given the study to somebody
else since: a hold on any of them counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import orjson
from gantry.amendment.v1.amendment_pb2 import Amendment
from gantry.reception.v1.reception_pb2 import Reception
from gantry_dicom.derive import derive
from gantry_dicom.encoder_memo import EncoderMemo
from gantry_dicom.errors import Conflict, GantryError, NotFound, Unavailable
from gantry_dicom.gate import DataSetHeader, header_from_prefix, header_of
from gantry_objectstore.histories import read_history
from gantry_objectstore.holds import Patient
from gantry_objectstore.keys import patient_scope
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.whole import whole_object

PREFIX_BYTES = 64 * 1024
_PARALLEL = 8
_PATIENT_ID, _ISSUER = "00100020", "00100021"


async def patients_named(
    store: ObjectStore,
    sealer: Sealer,
    partition: str,
    lines: Iterable[Reception],
    history: Iterable[Amendment],
) -> set[Patient]:
    """Return everybody to whom the objects belong, or belonged after a correction or merge.

    Objects that are not there any more are passed over. Raises ``Unavailable``, ``BadSeal``, and
    ``Conflict`` for an object that does not say whose it is.
    """
    slots = asyncio.Semaphore(_PARALLEL)

    async def one(line: Reception) -> Patient | None:
        async with slots:
            return await _patient_in(store, line)

    found = {patient for patient in await asyncio.gather(*map(one, lines)) if patient is not None}
    found |= {patient for amendment in history if (patient := _patient_set(amendment)) is not None}
    return await _with_merges(store, sealer, partition, found)


async def _patient_in(store: ObjectStore, line: Reception) -> Patient | None:
    try:
        header = await _header(store, line)
        facts = await asyncio.to_thread(
            derive,
            header,
            sop_class_uid=line.sop_class_uid,
            study_instance_uid=line.study_instance_uid,
            series_instance_uid=line.series_instance_uid,
            sop_instance_uid=line.sop_instance_uid,
            transfer_syntax_uid=line.transfer_syntax_uid,
            number_of_frames=None,
            memo=EncoderMemo(),
        )
    except NotFound:
        return None
    except Unavailable:
        raise
    except (GantryError, ValueError) as error:
        raise Conflict("an object does not say whose it is, and patients are on hold") from error
    return Patient(facts.patient.patient_id or "", facts.patient.issuer_of_patient_id or "")


async def _header(store: ObjectStore, line: Reception) -> DataSetHeader:
    if line.size > PREFIX_BYTES:
        prefix = await store.get_prefix(line.object_key, PREFIX_BYTES)
        found = await asyncio.to_thread(header_from_prefix, prefix, line.size)
        if found is not None:
            return found[0]
    async with whole_object(store, line.object_key, line.size) as buffer:
        return (await asyncio.to_thread(header_of, buffer))[0]


def _patient_set(amendment: Amendment) -> Patient | None:
    if not amendment.attributes:
        return None
    attributes = orjson.loads(amendment.attributes)
    patient_id = _value(attributes, _PATIENT_ID)
    return Patient(patient_id, _value(attributes, _ISSUER)) if patient_id else None


def _value(attributes: dict[str, dict[str, list[str]]], tag: str) -> str:
    values = attributes.get(tag, {}).get("Value", [])
    return str(values[0]) if values else ""


async def _with_merges(
    store: ObjectStore, sealer: Sealer, partition: str, patients: set[Patient]
) -> set[Patient]:
    known: set[Patient] = set()
    waiting = set(patients)
    while waiting:
        patient = waiting.pop()
        known.add(patient)
        scope = patient_scope(patient.patient_id, patient.issuer)
        for amendment in await read_history(store, sealer, partition, scope):
            if amendment.HasField("into"):
                waiting.add(Patient(amendment.into.patient_id, amendment.into.issuer_of_patient_id))
        waiting -= known
    return known
