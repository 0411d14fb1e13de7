"""The pixel data of an instance as parts of an answer (PS3.18 10.4.1.1.5, 10.4.1.1.6)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from gantry_dicom.errors import NotFound
from gantry_dicom.frames import FrameTable
from gantry_dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from gantry_index.records import StoredInstance

from gantry_gateway.bulk_values import pixel_value
from gantry_gateway.frames import FrameReader, decoded_bytes
from gantry_gateway.media_types import MediaType
from gantry_gateway.outgoing import Made, Part, WholePart, made_ahead
from gantry_gateway.representations import FrameChoice, choose_frame


@dataclass(frozen=True, slots=True)
class PixelParts:
    """How the pixel data of one instance goes out: whole, or a part a frame."""

    choice: FrameChoice
    parts: Sequence[Part]


def pixel_parts(
    frames: FrameReader,
    instance: StoredInstance,
    table: FrameTable,
    ranges: Sequence[MediaType],
    location: str,
    *,
    single_allowed: bool,
) -> PixelParts:
    """Return the pixel data in the best range that can be met.

    Uncompressed pixels that lie so in the object are one part, compressed ones one part a frame;
    as a single part the frames of a compressed object go uncompressed, side by side. Raises
    ``NotAcceptable``, and ``NotFound`` when no frame can be told apart.
    """
    if table.count == 0:
        raise NotFound("no frame of the pixel data can be told apart")
    choice = choose_frame(ranges, instance.transfer_syntax_uid, table, single_allowed=single_allowed)
    is_native = choice.target == EXPLICIT_VR_LITTLE_ENDIAN
    if choice.single_part and not is_native and table.count > 1:
        choice = choose_frame(ranges, instance.transfer_syntax_uid, table, single_allowed=False)
    if is_native and table.kind != "encapsulated":
        value = pixel_value(frames, instance, table)
        return PixelParts(choice, [value.part(choice.content_type, location)])
    if choice.single_part and table.count > 1:
        return PixelParts(choice, [_side_by_side(frames, instance, table, choice, location)])
    return PixelParts(
        choice,
        [
            frames.part(instance, table, number, choice.target, choice.content_type, location)
            for number in range(1, table.count + 1)
        ],
    )


def _side_by_side(
    frames: FrameReader, instance: StoredInstance, table: FrameTable, choice: FrameChoice, location: str
) -> Part:
    frame_bytes = decoded_bytes(instance, frames=1)

    async def pixels() -> AsyncIterator[bytes]:
        makers = (
            (
                frame_bytes,
                partial(frames.in_syntax, instance, table, number, choice.target, keep=False),
            )
            for number in range(1, table.count + 1)
        )
        async with aclosing(made_ahead(makers)) as made:
            async for frame in made:
                yield frame

    async def make() -> Made:
        return Made(pixels(), choice.content_type)

    return WholePart(choice.content_type, make, frame_bytes, location=location)
