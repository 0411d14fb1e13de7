"""What a compressed stream says of its own pixels, for metadata that leave it out (PS3.18 10.5.2).

Only marker segments, sequence headers and boxes are read: JPEG (ISO/IEC 10918-1 B.2), JPEG-LS
(ISO/IEC 14495-1 C), JPEG 2000 (ISO/IEC 15444-1 A), MPEG-2 video (ISO/IEC 13818-2 6.2.2) and the
MP4 file format (ISO/IEC 14496-12).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import unpack_from

from gantry_dicom.codestreams import marker_segments
from gantry_dicom.element_headers import Buffer

# SOF markers of lossy JPEG processes, which code luminance and chrominance; then lossless and LS.
_TRANSFORMING_SOF = frozenset((0xFFC0, 0xFFC1, 0xFFC2, 0xFFC5, 0xFFC6, 0xFFC9, 0xFFCA, 0xFFCD, 0xFFCE))
_SOF = _TRANSFORMING_SOF | frozenset((0xFFC3, 0xFFC7, 0xFFCB, 0xFFCF, 0xFFF7))
_ADOBE = 0xFFEE
_SEQUENCE_HEADER = b"\0\0\1\xb3"
_PICTURE = b"\0\0\1\0"
# Where the first sequence header of an MPEG-2 stream must begin.
_SEQUENCE_HEADER_WITHIN = 1 << 20
_SCAN_BYTES = 1 << 20
# Sample entries of AVC (avc1, avc3) and HEVC (hev1, hvc1), ISO/IEC 14496-15; where they are.
_VIDEO_CODES = frozenset((b"avc", b"hev", b"hvc"))
_TRACK_TABLES = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
# Boxes of one level of an MP4 file that are looked at.
_MAX_BOXES = 4096
_LONGEST_CODESTREAM_HEADER = 1 << 20


@dataclass(frozen=True, slots=True)
class StreamAttributes:
    """The values of PS3.3 C.7.6.3 that a stream decides; ``frames`` where it holds them all."""

    rows: int
    columns: int
    samples_per_pixel: int
    bits_stored: int
    photometric_interpretation: str
    signed: bool = False
    frames: int | None = None


def image_attributes(stream: Buffer) -> StreamAttributes | None:
    """Return what one frame's JPEG, JPEG-LS or JPEG 2000 stream says, or None when it says nothing."""
    head = bytes(stream[:_LONGEST_CODESTREAM_HEADER])
    if head.startswith(b"\xff\xd8"):
        return _jpeg(head)
    if head.startswith(b"\xff\x4f\xff\x51"):
        return _jpeg_2000(head)
    return None


def video_attributes(stream: Buffer) -> StreamAttributes | None:
    """Return what an MP4 file or an MPEG-2 video stream says, or None when it says nothing."""
    if bytes(stream[4:8]) == b"ftyp":
        return _mp4(stream)
    return _mpeg_2(stream)


def _jpeg(head: bytes) -> StreamAttributes | None:
    transform: int | None = None
    for marker, start, size in marker_segments(head, 2, len(head)):
        if marker == _ADOBE and size >= 12 and head[start : start + 5] == b"Adobe":
            transform = head[start + 11]
        if marker in _SOF and size >= 6:
            precision, rows, columns, components = unpack_from(">BHHB", head, start)
            if size < 6 + 3 * components or components not in (1, 3) or not (rows and columns):
                return None
            described = [head[start + 6 + 3 * n : start + 9 + 3 * n] for n in range(components)]
            photometric = _jpeg_photometric(described, marker in _TRANSFORMING_SOF, transform)
            return StreamAttributes(rows, columns, components, precision, photometric)
    return None


def _jpeg_photometric(components: list[bytes], transforming: bool, adobe_transform: int | None) -> str:
    if len(components) == 1:
        return "MONOCHROME2"
    names = bytes(component[0] for component in components)
    if not transforming or adobe_transform == 0 or (adobe_transform is None and names == b"RGB"):
        return "RGB"
    same_sampling = len({component[1] for component in components}) == 1
    return "YBR_FULL" if same_sampling else "YBR_FULL_422"


def _jpeg_2000(head: bytes) -> StreamAttributes | None:
    size_segment = coding_style = None
    for marker, start, size in marker_segments(head, 2, len(head)):
        if marker == 0xFF51 and size >= 39:
            size_segment = head[start : start + size]
        elif marker == 0xFF52 and size >= 10:
            coding_style = head[start : start + size]
    if size_segment is None or coding_style is None:
        return None
    right, bottom, left, top = unpack_from(">4I", size_segment, 2)
    components, depth = unpack_from(">HB", size_segment, 34)
    if components not in (1, 3) or right <= left or bottom <= top:
        return None
    photometric = "MONOCHROME2" if components == 1 else "RGB"
    if components == 3 and coding_style[4]:
        photometric = "YBR_RCT" if coding_style[9] == 1 else "YBR_ICT"
    if not (bottom - top <= 0xFFFF and right - left <= 0xFFFF):
        return None
    return StreamAttributes(
        bottom - top, right - left, components, (depth & 0x7F) + 1, photometric, bool(depth & 0x80)
    )


def _mpeg_2(stream: Buffer) -> StreamAttributes | None:
    head = bytes(stream[:_SEQUENCE_HEADER_WITHIN])
    start = head.find(_SEQUENCE_HEADER)
    if start < 0 or start + 8 > len(head):
        return None
    size = int.from_bytes(head[start + 4 : start + 7])
    columns, rows = size >> 12, size & 0xFFF
    frames = 0
    for position in range(0, len(stream), _SCAN_BYTES):
        # Three bytes more, so that a code across the border counts once.
        frames += bytes(stream[position : position + _SCAN_BYTES + 3]).count(_PICTURE)
    return _video(rows, columns, frames)


def _video(rows: int, columns: int, frames: int) -> StreamAttributes | None:
    if not rows or not columns or not frames:
        return None
    return StreamAttributes(rows, columns, 3, 8, "YBR_PARTIAL_420", frames=frames)


def _mp4(stream: Buffer) -> StreamAttributes | None:
    for start, end in _inside(stream, 0, len(stream), _TRACK_TABLES):
        found = _mp4_video_track(stream, start, end)
        if found is not None:
            return found
    return None


def _mp4_video_track(stream: Buffer, start: int, end: int) -> StreamAttributes | None:
    """Return the size of the pictures and their number, by sample description and sample sizes."""
    for description, after in _boxes(stream, start, end, b"stsd"):
        if (
            description + 44 > after
            or bytes(stream[description + 12 : description + 16])[:3] not in _VIDEO_CODES
        ):
            continue
        columns, rows = unpack_from(">HH", stream, description + 40)
        for sizes, sizes_end in _boxes(stream, start, end, b"stsz"):
            if sizes + 12 <= sizes_end:
                return _video(rows, columns, unpack_from(">I", stream, sizes + 8)[0])
    return None


def _inside(stream: Buffer, start: int, end: int, path: tuple[bytes, ...]) -> Iterator[tuple[int, int]]:
    """Yield the content of the boxes at the end of a path of kinds."""
    if not path:
        yield start, end
        return
    for inner in _boxes(stream, start, end, path[0]):
        yield from _inside(stream, *inner, path[1:])


def _boxes(stream: Buffer, start: int, end: int, kind: bytes) -> Iterator[tuple[int, int]]:
    """Yield the content of the boxes of one kind in a range."""
    for _ in range(_MAX_BOXES):
        if start + 8 > end:
            return
        length, header = unpack_from(">I", stream, start)[0], 8
        name = bytes(stream[start + 4 : start + 8])
        if length == 1 and start + 16 <= end:
            length, header = unpack_from(">Q", stream, start + 8)[0], 16
        elif length == 0:
            length = end - start
        if length < header or start + length > end:
            return
        if name == kind:
            yield start + header, start + length
        start += length


def jpeg_2000_codestream(stream: Buffer) -> Buffer:
    """Return the codestream of a JP2 file (ISO/IEC 15444-1 Annex I), or what was given if it is none."""
    if bytes(stream[:8]) != b"\0\0\0\x0cjP  ":
        return stream
    for start, end in _boxes(stream, 0, len(stream), b"jp2c"):
        return memoryview(stream)[start:end]
    return stream
