"""Makes corrected objects of received ones, and keeps their headers in the object store.

A corrected header is made once and never changed: its key holds its digest, so whoever makes it
again, after a crash or for a new index, puts the same bytes under the same key.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gantry.amendment.v1.amendment_pb2 import AMENDMENT_KIND_MERGE, Amendment
from gantry.reception.v1.reception_pb2 import Reception
from gantry_dicom.admission import DEFAULT_LIMITS
from gantry_dicom.correcting import COERCE, CORRECT, Change, correct
from gantry_dicom.correction_rules import elements_of
from gantry_dicom.deflated import inflate
from gantry_dicom.frames import FrameTable
from gantry_dicom.header import DataSetHeader
from gantry_dicom.reencode import explicit_element
from gantry_objectstore.keys import header_key
from gantry_objectstore.protocol import ObjectStore

_STUDY_INSTANCE_UID = 0x0020000D


@dataclass(frozen=True, slots=True)
class CorrectedObject:
    """A received object with its header corrected.

    ``stored`` is everything up to the pixels, File Meta included; behind it the received object
    goes on from byte ``rest``. ``size`` is that of the whole, offsets in ``header`` and
    ``frame_table`` are those in it.
    """

    header: DataSetHeader
    frame_table: bytes
    stored: bytes
    rest: int
    size: int

    def key(self, object_key: str) -> str:
        """Return under which key the header is kept."""
        return header_key(object_key, self.stored, self.rest)


async def corrected_object(
    store: ObjectStore,
    reception: Reception,
    header: DataSetHeader,
    frame_table: bytes,
    amendments: Sequence[Amendment],
) -> CorrectedObject | None:
    """Return the object of ``reception`` after ``amendments``; ``None`` when it says it all already.

    Raises ``NotFound``, ``Unavailable``, ``Malformed`` and ``BadRequest``.
    """
    changes = [change_of(amendment, reception) for amendment in amendments]
    corrected = await asyncio.to_thread(correct, header, changes)
    if corrected.before_pixel_data == header.before_pixel_data:
        return None
    meta = await store.get_range(reception.object_key, 0, reception.meta_length)
    shift = len(corrected.before_pixel_data) - len(header.before_pixel_data)
    table = FrameTable.unpack(frame_table).shifted(shift).pack()
    if header.deflated:
        received = await store.get(reception.object_key)
        stored = meta + await asyncio.to_thread(_deflated, received, len(meta), header, corrected)
        return CorrectedObject(corrected, table, stored, len(received), len(stored))
    stored = meta + corrected.before_pixel_data
    rest = header.before_offset + len(header.before_pixel_data)
    return CorrectedObject(corrected, table, stored, rest, reception.size + shift)


async def keep_header(store: ObjectStore, object_key: str, made: CorrectedObject) -> str:
    """Put the header into the store and return its key. Raises ``Unavailable``."""
    key = made.key(object_key)
    await store.put(key, made.stored)
    return key


def change_of(amendment: Amendment, reception: Reception) -> Change:
    """Return what an amendment changes in the object of ``reception``. Raises ``BadRequest``."""
    elements = elements_of(amendment.attributes)
    if amendment.target_study_instance_uid:
        elements += explicit_element(
            _STUDY_INSTANCE_UID, "UI", amendment.target_study_instance_uid.encode("ascii")
        )
    made_at = datetime.fromtimestamp(amendment.made_at_us / 1e6, UTC)
    return Change(
        attributes=elements,
        removed=frozenset(amendment.removed_tags),
        modified_at=f"{made_at:%Y%m%d%H%M%S.%f}+0000",
        reason=COERCE if amendment.kind == AMENDMENT_KIND_MERGE else CORRECT,
        source=reception.source.calling_ae_title[:16],
    )


def moved(reception: Reception, study_uid: str, series_uid: str) -> Reception:
    """Return the reception of an instance under the identity that it is shown with."""
    shown = Reception()
    shown.CopyFrom(reception)
    shown.study_instance_uid, shown.series_instance_uid = study_uid, series_uid
    return shown


def _deflated(received: bytes, start: int, header: DataSetHeader, corrected: DataSetHeader) -> bytes:
    data_set = inflate(received, start, DEFAULT_LIMITS.max_inflated_bytes)
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    made = deflater.compress(corrected.before_pixel_data)
    made += deflater.compress(data_set[len(header.before_pixel_data) :]) + deflater.flush()
    return made + bytes(len(made) % 2)
