"""Derived records after the corrections that stand for their instances."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from gantry.amendment.v1.amendment_pb2 import Amendment
from gantry.index.v1.index_pb2 import IndexRequest
from gantry_dicom.encoder_memo import EncoderMemo
from gantry_dicom.errors import Unavailable
from gantry_index.corrections import correction_states, standing_corrections
from gantry_index.pools import IndexPool
from gantry_index.records import CorrectedRecord, InstanceRecord
from gantry_objectstore.store import ObjectStore
from gantry_reception.correcting import corrected_object, keep_header, moved
from gantry_reception.precedence import Course, Identity, course_of

from gantry_indexer.derivation import derive_one
from gantry_indexer.headers import Material, header_in_message

# Headers of a chunk being read and put at a time.
PARALLEL = 8


class Corrector:
    """Corrects what is about to be indexed; costs one look-up where nothing was ever corrected."""

    def __init__(self, pool: IndexPool, store: ObjectStore) -> None:
        self._pool = pool
        self._store = store
        self._slots = asyncio.Semaphore(PARALLEL)

    async def correct(
        self, materials: Mapping[int, Material], records: Mapping[int, InstanceRecord]
    ) -> dict[int, InstanceRecord | Exception]:
        """Return the records as they are to be indexed, or what correcting one raised.

        The headers of corrected objects are in the object store then. Raises ``Unavailable``.
        """
        # Read first: the writer looks whether they are still the ones.
        states = await correction_states(self._pool, {record.partition for record in records.values()})
        if not states:
            return dict(records)
        courses: dict[int, Course] = {}
        for partition in states:
            chosen = {place: one for place, one in records.items() if one.partition == partition}
            courses |= await self._courses(partition, chosen)
        corrected = await asyncio.gather(
            *(self._correct(materials[place], records[place], course) for place, course in courses.items())
        )
        made = {**records, **dict(zip(courses, corrected, strict=True))}
        return {
            place: replace(one, corrections_seen=states.get(one.partition, 0))
            if isinstance(one, InstanceRecord)
            else one
            for place, one in made.items()
        }

    async def _courses(self, partition: str, records: Mapping[int, InstanceRecord]) -> dict[int, Course]:
        """Return the courses of those records that go through any correction."""
        standing: dict[str, list[Amendment]] = {}
        open_places = dict(records)
        found: dict[int, Course] = {}
        while open_places:
            missing: defaultdict[str, list[int]] = defaultdict(list)
            for place, record in open_places.items():
                course = course_of(_identity(record), standing)
                if course.missing is not None:
                    missing[course.missing].append(place)
                elif course.amendments:
                    found[place] = course
            standing.update(await standing_corrections(self._pool, partition, missing) if missing else {})
            open_places = {place: records[place] for places in missing.values() for place in places}
        return found

    async def _correct(
        self, material: Material, record: InstanceRecord, course: Course
    ) -> InstanceRecord | Exception:
        async with self._slots:
            try:
                return await self._corrected(material, record, course)
            except Unavailable:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it is this instance's alone
                return error

    async def _corrected(self, material: Material, record: InstanceRecord, course: Course) -> InstanceRecord:
        received = record.reception
        header, table = material.reread or header_in_message(material.request)
        made = await corrected_object(self._store, received, header, table, course.amendments)
        if made is None:
            return replace(record, correction=CorrectedRecord(course.taken))
        key = await keep_header(self._store, received.object_key, made)
        shown = moved(received, course.shown.study_uid, course.shown.series_uid)
        request = IndexRequest(partition=record.partition, reception=shown, traceparent=record.traceparent)
        derived = await asyncio.to_thread(
            derive_one, Material(request, (made.header, made.frame_table)), EncoderMemo(), _no_fault
        )
        is_moved = course.shown.study_uid != received.study_instance_uid
        return replace(
            derived,
            # What the received object's own columns say stays true of it.
            frame_table=record.frame_table,
            correction=CorrectedRecord(
                course.taken,
                key,
                made.size,
                made.frame_table,
                received.study_instance_uid if is_moved else None,
                received.series_instance_uid if is_moved else None,
            ),
        )


def _identity(record: InstanceRecord) -> Identity:
    reception, patient = record.reception, record.facts.patient
    return Identity(
        reception.study_instance_uid,
        reception.series_instance_uid,
        reception.sop_instance_uid,
        patient.patient_id,
        patient.issuer_of_patient_id or "",
    )


def _no_fault(_sop_instance_uid: str) -> None:
    return None
