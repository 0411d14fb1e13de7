"""The jobs that run in pixel workers: plain functions of bytes, importable by name."""

from __future__ import annotations

from gantry_imaging.attributes import image_attributes, read_header
from gantry_imaging.decode import decode_frame
from gantry_imaging.render import RenderOptions, render_frame

FLOAT_PIXEL_TAGS = (0x7FE00008, 0x7FE00009)


def render(
    header: bytes,
    frame: bytes,
    transfer_syntax_uid: str,
    pixel_data_tag: int,
    frame_number: int,
    options: RenderOptions,
) -> bytes:
    """Return one frame as a picture; raises ``CannotProcess`` and ``BadRequest``."""
    data_set = read_header(header)
    attributes = image_attributes(data_set, floating=pixel_data_tag in FLOAT_PIXEL_TAGS)
    samples = decode_frame(frame, transfer_syntax_uid, attributes)
    return render_frame(samples, attributes, data_set, frame_number, options)
