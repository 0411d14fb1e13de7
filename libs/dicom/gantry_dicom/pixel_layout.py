"""Building frame tables from a data set's elements (PS3.5 8.1.1, 8.2, A.4; PS3.3 C.7.6.3).

Native pixels are never looked at. Of encapsulated ones the first and last bytes of each
fragment are: a frame begins where a codestream begins, so an offset table that says otherwise
is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from struct import unpack_from
from typing import NamedTuple

from gantry_dicom.codestreams import HEAD_LENGTH, ends_codestream, recognise, starts_codestream
from gantry_dicom.element_headers import (
    DOUBLE_FLOAT_PIXEL_DATA,
    FLOAT_PIXEL_DATA,
    Buffer,
    Element,
    Encoding,
    Item,
)
from gantry_dicom.elements import fragments, is_encapsulated
from gantry_dicom.frames import FrameTable
from gantry_dicom.transfer_syntaxes import Codestream, TransferSyntax

SAMPLES_PER_PIXEL = 0x00280002
PHOTOMETRIC_INTERPRETATION = 0x00280004
NUMBER_OF_FRAMES = 0x00280008
ROWS = 0x00280010
COLUMNS = 0x00280011
BITS_ALLOCATED = 0x00280100
EXTENDED_OFFSET_TABLE = 0x7FE00001

LAYOUT_TAGS = frozenset(
    (
        SAMPLES_PER_PIXEL,
        PHOTOMETRIC_INTERPRETATION,
        NUMBER_OF_FRAMES,
        ROWS,
        COLUMNS,
        BITS_ALLOCATED,
        EXTENDED_OFFSET_TABLE,
    )
)

# Native pixels of these carry one chroma pair for two luma samples: two samples a pixel on
# average whatever Samples per Pixel says (PS3.3 C.7.6.3.1.2).
_HALF_CHROMA = frozenset(("YBR_FULL_422", "YBR_PARTIAL_422"))
# Where Samples per Pixel may be missing, in old images and in float pixel data.
_ONE_SAMPLE = frozenset(("", "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"))
_FLOAT_BITS = {FLOAT_PIXEL_DATA: 32, DOUBLE_FLOAT_PIXEL_DATA: 64}

OFFSET_TABLE_WRONG = "offset-table-wrong"
FRAMES_MISSING = "frames-missing"
PIXEL_DATA_TOO_LONG = "pixel-data-too-long"
FRAME_BOUNDARIES_UNKNOWN = "frame-boundaries-unknown"
NUMBER_OF_FRAMES_INVALID = "number-of-frames-invalid"


@dataclass(frozen=True, slots=True)
class Layout:
    """A frame table and what was odd about it (static names)."""

    table: FrameTable
    warnings: tuple[str, ...] = ()


def build_layout(
    buffer: Buffer,
    pixel_data: Element,
    found: Mapping[int, Element],
    encoding: Encoding,
    syntax: TransferSyntax | None,
    *,
    shift: int = 0,
    deflated: bool = False,
) -> Layout:
    """Return the layout of the pixel data element of a data set.

    ``found`` holds the elements of ``LAYOUT_TAGS`` that occur exactly once, ``shift`` is added to
    every offset. ``syntax`` is None for private transfer syntaxes: their pixels are somebody's
    secret, so the value is found but no frame is promised.
    """
    warnings: list[str] = []
    stated = _number_of_frames(buffer, found, warnings)
    bits_allocated = _FLOAT_BITS.get(pixel_data.tag) or _unsigned(buffer, found, BITS_ALLOCATED, encoding)
    count = frame_bits = 0
    fragmented = _Fragmented()
    encapsulated = is_encapsulated(pixel_data)
    if encapsulated:
        fragmented = _fragments(buffer, pixel_data, found, encoding, syntax, stated, warnings)
        count = len(fragmented.groups)
    elif syntax is not None:
        value_bits = pixel_data.length * 8
        count, frame_bits = _native(buffer, found, encoding, bits_allocated, stated, value_bits, warnings)
    one_each = all(size == 1 for size in fragmented.groups)
    table = FrameTable(
        kind="encapsulated" if encapsulated else "deflated" if deflated else "native",
        encoding=encoding,
        pixel_data_tag=pixel_data.tag,
        pixel_data_vr=pixel_data.vr,
        value_offset=pixel_data.value_offset + shift,
        value_length=pixel_data.length,
        bits_allocated=bits_allocated,
        stated_count=stated,
        count=count,
        frame_bits=frame_bits,
        first_fragment=(fragmented.first or pixel_data.value_offset) + shift if encapsulated else 0,
        fragment_lengths=fragmented.lengths,
        frame_fragments=() if one_each else fragmented.groups,
    )
    return Layout(table, tuple(warnings))


class _Fragmented(NamedTuple):
    """Offset of the first fragment, the length of each, and how many each frame has."""

    first: int = 0
    lengths: Sequence[int] = ()
    groups: Sequence[int] = ()


def _number_of_frames(buffer: Buffer, found: Mapping[int, Element], warnings: list[str]) -> int:
    """Return Number of Frames (IS), 1 where it is missing, empty or not a positive number."""
    element = found.get(NUMBER_OF_FRAMES)
    if element is None or element.length == 0:
        return 1
    text = bytes(buffer[element.value_offset : element.value_offset + min(element.length, 32)])
    digits = text.strip(b" \0").removeprefix(b"+")
    if digits.isdigit() and 0 < int(digits) < 1 << 63:
        return int(digits)
    warnings.append(NUMBER_OF_FRAMES_INVALID)
    return 1


def _unsigned(buffer: Buffer, found: Mapping[int, Element], tag: int, encoding: Encoding) -> int:
    """Return the US value of ``tag``, 0 when it is missing or of another size."""
    element = found.get(tag)
    if element is None or element.length < 2 or element.length & 1:
        return 0
    value = bytes(buffer[element.value_offset : element.value_offset + 2])
    return int.from_bytes(value, "little" if encoding.little_endian else "big")


def _native(
    buffer: Buffer,
    found: Mapping[int, Element],
    encoding: Encoding,
    bits: int,
    stated: int,
    value_bits: int,
    warnings: list[str],
) -> tuple[int, int]:
    """Return how many native frames lie whole within the value, and the bits of each."""
    pixels = _unsigned(buffer, found, ROWS, encoding) * _unsigned(buffer, found, COLUMNS, encoding)
    photometric = _photometric(buffer, found)
    samples = _unsigned(buffer, found, SAMPLES_PER_PIXEL, encoding)
    if SAMPLES_PER_PIXEL not in found and photometric in _ONE_SAMPLE:
        samples = 1
    frame_bits = pixels * samples * bits
    if not frame_bits or (bits != 1 and bits % 8) or bits > 64:
        warnings.append(FRAME_BOUNDARIES_UNKNOWN)
        return 0, 0
    if samples == 3 and photometric in _HALF_CHROMA:
        # Mislabelled full-chroma images exist: the length decides where it fits only one reading.
        reduced = pixels * 2 * bits
        if _fills(value_bits, reduced * stated) or not _fills(value_bits, frame_bits * stated):
            frame_bits = reduced
    count = min(stated, value_bits // frame_bits)
    if count < stated:
        warnings.append(FRAMES_MISSING)
    elif not _fills(value_bits, frame_bits * stated):
        warnings.append(PIXEL_DATA_TOO_LONG)
    return count, frame_bits


def _fills(value_bits: int, needed: int) -> bool:
    """Whether the value is as long as needed, padded to an even number of bytes."""
    return needed <= value_bits < needed + 16


def _photometric(buffer: Buffer, found: Mapping[int, Element]) -> str:
    element = found.get(PHOTOMETRIC_INTERPRETATION)
    if element is None or element.length > 64:
        return ""
    value = bytes(buffer[element.value_offset : element.value_offset + element.length])
    return value.decode("latin-1").strip(" \0")


def _fragments(
    buffer: Buffer,
    pixel_data: Element,
    found: Mapping[int, Element],
    encoding: Encoding,
    syntax: TransferSyntax | None,
    stated: int,
    warnings: list[str],
) -> _Fragmented:
    offset_table, *parts = list(fragments(buffer, pixel_data, encoding)) or [Item(0, 0)]
    if not parts:
        warnings.append(FRAMES_MISSING)
        return _Fragmented()
    groups: Sequence[int] = ()
    if syntax is not None:
        offsets = _offsets(buffer, offset_table, found.get(EXTENDED_OFFSET_TABLE), encoding, len(parts))
        groups = _group(buffer, parts, offsets, stated, syntax, warnings)
        if len(groups) < stated and syntax.codestream is not Codestream.VIDEO:
            warnings.append(FRAMES_MISSING if groups else FRAME_BOUNDARIES_UNKNOWN)
    return _Fragmented(parts[0].start, [part.end - part.start for part in parts], groups)


def _offsets(
    buffer: Buffer, basic: Item, extended: Element | None, encoding: Encoding, fragment_count: int
) -> Sequence[int]:
    """Return the offsets of the Basic or Extended Offset Table, empty when there is none.

    One entry more than there are fragments is enough to know that a table is wrong.
    """
    order = "<" if encoding.little_endian else ">"
    if basic.end > basic.start:
        count = min((basic.end - basic.start) // 4, fragment_count + 1)
        return unpack_from(f"{order}{count}L", buffer, basic.start)
    if extended is not None and extended.length >= 8:
        count = min(extended.length // 8, fragment_count + 1)
        return unpack_from(f"{order}{count}Q", buffer, extended.value_offset)
    return ()


def _group(
    buffer: Buffer,
    parts: Sequence[Item],
    offsets: Sequence[int],
    stated: int,
    syntax: TransferSyntax,
    warnings: list[str],
) -> Sequence[int]:
    """Return how many fragments each frame has, for the leading frames that are certain."""
    total = len(parts)
    if syntax.codestream is Codestream.VIDEO:
        return (total,)
    if syntax.codestream is Codestream.FRAGMENT:
        return (1,) * min(stated, total)
    if stated == 1 and total == 1:
        return (1,)
    head = bytes(buffer[parts[0].start : min(parts[0].start + HEAD_LENGTH, parts[0].end)])
    family = recognise(head)
    begins = [
        index
        for index, part in enumerate(parts)
        if starts_codestream(bytes(buffer[part.start : min(part.start + HEAD_LENGTH, part.end)]), family)
    ]
    table = _fragment_indices(parts, offsets)
    if offsets and (table is None or not set(begins) <= set(table)):
        warnings.append(OFFSET_TABLE_WRONG)
        table = None
    if stated == 1 and len(begins) <= 1:
        return (total,)
    by_marker = _sizes(begins, total)
    if len(begins) == stated:
        sound = _sound_prefix(buffer, parts, by_marker, family)
        if sound == stated:
            return by_marker
    if table is not None and len(table) == stated:
        return _sizes(table, total)
    if total == stated:
        return (1,) * total  # every frame has at least one fragment (PS3.5 A.4)
    if begins:
        return by_marker[: min(stated, _sound_prefix(buffer, parts, by_marker, family))]
    if table is not None:
        # A table with too few entries does not say where its last frame ends.
        sizes = _sizes(table, total)
        return sizes[:stated] if len(table) > stated else sizes[:-1]
    return ()


def _fragment_indices(parts: Sequence[Item], offsets: Sequence[int]) -> list[int] | None:
    """Return the fragment at which each frame begins by the offset table, or None if it is wrong.

    Offsets count from the first byte of the first fragment's item tag (PS3.5 A.4) and must rise.
    """
    if not offsets:
        return None
    origin = parts[0].start
    by_offset = {part.start - origin: index for index, part in enumerate(parts)}
    indices: list[int] = []
    for offset in offsets:
        index = by_offset.get(offset)
        if index is None or (index <= indices[-1] if indices else index != 0):
            return None
        indices.append(index)
    return indices


def _sizes(begins: Sequence[int], total: int) -> Sequence[int]:
    """Return the number of fragments from each beginning to the next."""
    return tuple(end - begin for begin, end in pairwise([*begins, total]))


def _sound_prefix(buffer: Buffer, parts: Sequence[Item], sizes: Sequence[int], family: Codestream) -> int:
    """Return how many leading groups are one codestream each.

    A group in which a fragment other than the last ends a codestream holds something else too,
    and the numbering behind it is anybody's guess.
    """
    first = 0
    for number, size in enumerate(sizes):
        for part in parts[first : first + size - 1]:
            if ends_codestream(bytes(buffer[max(part.start, part.end - 3) : part.end]), family):
                return number
        first += size
    return len(sizes)
