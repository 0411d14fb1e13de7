"""Whole instances as parts of an answer: as stored, or as Explicit VR Little Endian."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from gantry_dicom.errors import CannotProcess, NotFound
from gantry_dicom.frames import FrameTable
from gantry_dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from gantry_index.records import StoredInstance
from gantry_objectstore.store import ObjectStore

from gantry_gateway.adapters.pixel_workers import PixelWorkers
from gantry_gateway.outgoing import WHOLE_BYTES, Made, Part, StreamedPart, WholePart
from gantry_gateway.pixel_jobs import transcode_to_explicit
from gantry_gateway.representations import DICOM, Delivery, delivery_of

# Objects above this, stored or transcoded, are not transcoded: their frames can be had one by one.
_TRANSCODE_BYTES = 512 << 20


@dataclass(frozen=True, slots=True)
class InstanceParts:
    """Makes parts of stored instances in the transfer syntax wished for (``None``: the default)."""

    store: ObjectStore
    workers: PixelWorkers
    wanted: str | None

    def of(self, instance: StoredInstance) -> Part | None:
        """Return the part, or ``None`` when the instance cannot be given as asked."""
        delivery = delivery_of(instance.transfer_syntax_uid, self.wanted)
        if delivery is Delivery.EXPLICIT_LITTLE_ENDIAN:
            weight = max(instance.size, decoded_bytes(instance))
            if weight <= _TRANSCODE_BYTES:

                async def transcode() -> Made:
                    return await self._transcode(instance)

                return WholePart(_labelled(EXPLICIT_VR_LITTLE_ENDIAN), transcode, weight)
            # PS3.18 8.7.3.5.2: without a wish, what is too long for the default goes as stored.
            delivery = None if self.wanted else Delivery.AS_STORED
        return None if delivery is None else self._as_stored(instance)

    def _as_stored(self, instance: StoredInstance) -> Part:
        content_type = _labelled(instance.transfer_syntax_uid)
        if instance.size > WHOLE_BYTES:

            def stream() -> AsyncIterator[bytes]:
                return self.store.stream(instance.object_key)

            return StreamedPart(content_type, stream, instance.size)

        async def read() -> Made:
            return Made(await self._read(instance), content_type)

        return WholePart(content_type, read, weight=instance.size, length=instance.size)

    async def _read(self, instance: StoredInstance) -> bytes:
        data = await self.store.get(instance.object_key)
        if len(data) != instance.size:
            raise NotFound("an object is not the size it was stored with")
        return data

    async def _transcode(self, instance: StoredInstance) -> Made:
        data = await self._read(instance)
        try:
            made = await self.workers.run(transcode_to_explicit, data, instance.transfer_syntax_uid)
        except CannotProcess:
            if self.wanted:
                raise
            # One damaged codestream must not tear the answer of a whole study.
            return Made(data, _labelled(instance.transfer_syntax_uid))
        return Made(made, _labelled(EXPLICIT_VR_LITTLE_ENDIAN))


def decoded_bytes(instance: StoredInstance, frames: int | None = None) -> int:
    """Return about how many bytes the pixels of an instance, or some frames of it, decode to.

    The index does not keep Samples per Pixel: what has one byte a sample may be colour.
    """
    sample_bytes = -(-FrameTable.unpack(instance.frame_table).bits_allocated // 8)
    pixel_bytes = sample_bytes if sample_bytes > 1 else 3
    count = frames or instance.number_of_frames or 1
    return (instance.rows or 0) * (instance.columns or 0) * count * pixel_bytes


def _labelled(transfer_syntax_uid: str) -> str:
    return f"{DICOM}; transfer-syntax={transfer_syntax_uid}"
