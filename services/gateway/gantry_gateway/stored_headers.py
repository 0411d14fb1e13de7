"""Everything of a stored object but its pixels, which the gate has bounded."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from gantry_dicom.element_headers import LONG_VRS
from gantry_dicom.frames import FrameTable
from gantry_dicom.gate import GateLimits, header_of
from gantry_dicom.header import DataSetHeader, header_from_parts
from gantry_dicom.transfer_syntaxes import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
from gantry_index.records import StoredInstance
from gantry_objectstore.store import ObjectStore

# Bytes of an element's header: with a length of 32 bits in explicit VR, and otherwise (PS3.5 7.1.2).
_LONG_HEADER, _SHORT_HEADER = 12, 8
_SEQUENCE_DELIMITER = 8


@dataclass(frozen=True, slots=True)
class HeaderReader:
    """Reads around the pixels."""

    store: ObjectStore
    limits: GateLimits

    async def read(self, instance: StoredInstance, table: FrameTable) -> DataSetHeader:
        """Return the elements before and behind the pixels; raises ``NotFound`` and ``CannotProcess``."""
        key, start = instance.object_key, instance.meta_length
        if instance.transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
            stored = await self.store.get(key)
            return (await asyncio.to_thread(header_of, stored, limits=self.limits))[0]
        if table.kind == "none" or table.encoding is None:
            before = await self.store.get_range(key, start, instance.size - start)
            return header_from_parts(before, b"", instance.frame_table, instance.transfer_syntax_uid, start)
        is_long = table.encoding.explicit and table.pixel_data_vr in LONG_VRS
        before_end = table.value_offset - (_LONG_HEADER if is_long else _SHORT_HEADER)
        after = table.value_offset + table.value_length
        after += _SEQUENCE_DELIMITER if table.kind == "encapsulated" else 0
        pieces = await self.store.get_ranges(
            key, [(start, before_end - start), (after, max(instance.size - after, 0))]
        )
        return header_from_parts(
            pieces[0], pieces[1], instance.frame_table, instance.transfer_syntax_uid, start
        )

    async def meta(self, instance: StoredInstance) -> bytes:
        """Return the File Meta group with what stands before it."""
        return await self.store.get_range(instance.object_key, 0, instance.meta_length)
