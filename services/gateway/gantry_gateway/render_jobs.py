"""The rendering jobs that run in pixel workers: plain functions of bytes, importable by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from gantry_imaging.attributes import ImageAttributes, image_attributes, read_header
from gantry_imaging.colour import coded_photometric
from gantry_imaging.decode import decode_frame
from gantry_imaging.render import Frame, RenderOptions, frame_durations, render_animation, render_frame
from pydicom.dataset import Dataset

_FLOAT_PIXEL_TAGS = (0x7FE00008, 0x7FE00009)
# Longer headers are kept for the next frame of the same object, two in a process.
_LARGE_HEADER_BYTES = 128 << 10


@dataclass(frozen=True, slots=True)
class CodedFrames:
    """Frames of one object: their numbers (from 1) and bytes, and the object's bytes before its pixels."""

    header: bytes
    transfer_syntax_uid: str
    pixel_data_tag: int
    frames: Sequence[tuple[int, bytes]]


def render(coded: CodedFrames, options: RenderOptions, state: bytes | None) -> bytes:
    """Return the only frame as a picture, as a presentation state has it (``None``: without one).

    Raises ``CannotProcess`` and ``BadRequest``.
    """
    header = _read(coded.header)
    attributes = image_attributes(header, floating=coded.pixel_data_tag in _FLOAT_PIXEL_TAGS)
    (frame,) = _decoded(coded, attributes)
    return render_frame(frame, attributes, header, options, None if state is None else read_header(state))


def render_moving(coded: CodedFrames, options: RenderOptions, state: bytes | None, count: int) -> bytes:
    """Return frames as an animated GIF that takes as long as all ``count`` of the object would.

    Raises ``CannotProcess`` and ``BadRequest``.
    """
    header = _read(coded.header)
    attributes = image_attributes(header, floating=coded.pixel_data_tag in _FLOAT_PIXEL_TAGS)
    durations = frame_durations(header, count)
    starts = [number for number, _ in coded.frames]
    shown = [
        sum(durations[start - 1 : following - 1])
        for start, following in zip(starts, [*starts[1:], count + 1], strict=True)
    ]
    return render_animation(
        _decoded(coded, attributes),
        attributes,
        header,
        options,
        shown,
        None if state is None else read_header(state),
    )


def _read(header: bytes) -> Dataset:
    """Return a header parsed: one with the functional groups of thousands of frames takes a second."""
    return _read_and_kept(header) if len(header) > _LARGE_HEADER_BYTES else read_header(header)


@lru_cache(maxsize=2)
def _read_and_kept(header: bytes) -> Dataset:
    return read_header(header)


def _decoded(coded: CodedFrames, attributes: ImageAttributes) -> Iterator[Frame]:
    for number, data in coded.frames:
        samples = decode_frame(data, coded.transfer_syntax_uid, attributes)
        yield Frame(samples, number, coded_photometric(attributes, data, coded.transfer_syntax_uid))
