"""Frame tables: where each frame of a stored object lies (PS3.5 8.1.1, 8.2, A.4).

A table is made by ``pixel_layout``, kept packed in the index, and answers a frame request with
byte ranges, without another look at the object. It only promises what is certain: a frame
whose place nothing decides is not in the table.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Literal, NamedTuple

from gantry_dicom.element_headers import Encoding
from gantry_dicom.errors import CannotProcess, NotFound

Kind = Literal["none", "native", "encapsulated", "deflated"]

_KINDS: tuple[Kind, ...] = ("none", "native", "encapsulated", "deflated")
_VERSION = 1
_EXPLICIT, _LITTLE_ENDIAN, _COMPRESSED, _ONE_FRAGMENT_A_FRAME = 1, 2, 4, 8
_PIXEL_GROUP = 0x7FE00000
# A packed table larger than this once inflated is not ours (redelivered bytes are untrusted).
_MAX_UNPACKED = 256 * 1024 * 1024
_FRAGMENT_HEADER = 8
# Words of the pixel data VRs, which big endian data sets store swapped (PS3.5 6.2, 7.3).
_WORD_BYTES = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}


class Range(NamedTuple):
    """Bytes of the stored object (of the inflated data set for kind "deflated")."""

    offset: int
    length: int


class BitRange(NamedTuple):
    """A native frame: the bytes that hold it, and where in the first of them it begins.

    Bits count from the least significant (PS3.5 8.1.1, Annex D), in big endian data once the
    words are swapped; ``bit_offset`` is 0 unless frames begin within a byte (one bit a pixel)
    or a word (odd frames in big endian OW), ``bit_length`` is the frame's size.
    """

    offset: int
    length: int
    bit_offset: int
    bit_length: int


@dataclass(frozen=True, slots=True)
class FrameTable:
    """The frames of one object.

    ``count`` is the number of frames that can be served, numbered from 1; ``stated_count`` is
    what the data set claims (at least 1 when there are pixels), and may be larger or absurd.
    ``frame_bits`` is the size of a native frame. For encapsulated pixel data
    ``fragment_lengths`` lists all fragments after the Basic Offset Table, which begin at
    ``first_fragment``, and ``frame_fragments`` how many belong to each frame in turn. Video is
    one frame: the whole stream.
    """

    kind: Kind = "none"
    encoding: Encoding | None = None
    pixel_data_tag: int = 0
    pixel_data_vr: str = ""
    value_offset: int = 0
    value_length: int = 0
    bits_allocated: int = 0
    stated_count: int = 0
    count: int = 0
    frame_bits: int = 0
    first_fragment: int = 0
    fragment_lengths: Sequence[int] = ()
    frame_fragments: Sequence[int] = ()
    # Offset of each fragment, and the first fragment of each frame, so that any frame is one step.
    _offsets: Sequence[int] = field(init=False, repr=False, compare=False)
    _firsts: Sequence[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        steps = (length + _FRAGMENT_HEADER for length in self.fragment_lengths)
        object.__setattr__(self, "_offsets", tuple(accumulate(steps, initial=self.first_fragment)))
        object.__setattr__(self, "_firsts", tuple(accumulate(self.frame_fragments, initial=0)))

    @property
    def bulk_range(self) -> Range:
        """The whole value of the pixel data element, item headers included.

        Raises ``NotFound`` when there is none.
        """
        if self.kind == "none":
            raise NotFound("the instance has no pixel data")
        return Range(self.value_offset, self.value_length)

    def shifted(self, distance: int) -> FrameTable:
        """Return the table of an object whose pixels lie ``distance`` bytes further on."""
        if self.kind == "none" or not distance:
            return self
        first_fragment = self.first_fragment + distance if self.kind == "encapsulated" else 0
        return replace(self, value_offset=self.value_offset + distance, first_fragment=first_fragment)

    def stream_ranges(self) -> list[Range]:
        """Return the pixel bytes without item headers: the value, or all fragments in order."""
        if self.kind != "encapsulated":
            return [self.bulk_range]
        return self._fragments(0, len(self.fragment_lengths))

    def ranges(self, frame_number: int) -> list[Range]:
        """Return the byte ranges whose concatenation is frame ``frame_number`` (from 1).

        For frames that do not begin on a byte see ``bits``. Raises ``NotFound`` when the
        object has no such frame or its place is not certain.
        """
        if self.kind == "encapsulated":
            self._check(frame_number)
            if not self.frame_fragments:
                return self._fragments(frame_number - 1, frame_number)
            return self._fragments(*self._firsts[frame_number - 1 : frame_number + 1])
        offset, length, _, _ = self.bits(frame_number)
        return [Range(offset, length)]

    def bits(self, frame_number: int) -> BitRange:
        """Return where native frame ``frame_number`` lies, to the bit. Raises ``NotFound``."""
        self._check(frame_number)
        if self.kind == "encapsulated":
            raise NotFound("the frames are compressed")
        first_bit = (frame_number - 1) * self.frame_bits
        unit = self.swap_unit
        first_byte = first_bit // 8 // unit * unit
        end_byte = -(-(first_bit + self.frame_bits) // (8 * unit)) * unit
        return BitRange(
            self.value_offset + first_byte,
            min(end_byte, self.value_length) - first_byte,
            first_bit - 8 * first_byte,
            self.frame_bits,
        )

    @property
    def swap_unit(self) -> int:
        """Bytes of the words that have to be swapped to get little endian pixels; 1 is none."""
        if self.encoding is None or self.encoding.little_endian:
            return 1
        # A sample wider than a word is one cell, not words in turn (PS3.5 D.2).
        word = _WORD_BYTES.get(self.pixel_data_vr, 1)
        return max(word, self.bits_allocated // 8) if self.bits_allocated in (32, 64) else word

    def native_frame(self, frame_number: int, content: bytes) -> bytes:
        """Return a native frame as Explicit VR Little Endian has it, beginning on a byte.

        ``content`` is what lies in ``ranges(frame_number)``; unused high bits of the last byte
        are zero. Raises ``NotFound``.
        """
        _, length, bit_offset, bit_length = self.bits(frame_number)
        unit = self.swap_unit
        if unit > 1:
            swapped = bytearray(length)
            whole = length // unit * unit
            for at in range(unit):
                swapped[at:whole:unit] = content[unit - 1 - at : whole : unit]
            content = bytes(swapped)
        if not bit_offset and bit_length == 8 * length:
            return content
        if not bit_offset % 8 and not bit_length % 8:
            return content[bit_offset // 8 : (bit_offset + bit_length) // 8]
        bits = int.from_bytes(content, "little") >> bit_offset & (1 << bit_length) - 1
        return bits.to_bytes((bit_length + 7) // 8, "little")

    def _check(self, frame_number: int) -> None:
        if not 1 <= frame_number <= self.count:
            raise NotFound(f"frame {frame_number} is not there; {self.count} can be served")

    def _fragments(self, first: int, end: int) -> list[Range]:
        return [Range(self._offsets[at], self.fragment_lengths[at]) for at in range(first, end)]

    def pack(self) -> bytes:
        """Return the table as bytes: empty for no pixels, else version byte, header, varints.

        A table without pixels that holds an encoding (unknown transfer syntaxes) is three bytes.
        """
        if self.kind == "none" and self.encoding is None:
            return b""
        flags = 0
        if self.encoding is not None:
            flags |= _EXPLICIT * self.encoding.explicit | _LITTLE_ENDIAN * self.encoding.little_endian
        if self.kind == "none":
            return bytes((_VERSION, 0, flags))
        body = self.pixel_data_vr.encode() + _varints(
            (
                self.pixel_data_tag - _PIXEL_GROUP,
                self.value_offset,
                self.value_length,
                self.bits_allocated,
                self.stated_count,
                self.count,
                self.frame_bits,
            )
        )
        if self.kind == "encapsulated":
            if not self.frame_fragments:
                flags |= _ONE_FRAGMENT_A_FRAME
            body += _varints(
                (
                    self.first_fragment - self.value_offset,
                    len(self.fragment_lengths),
                    *self.fragment_lengths,
                    *self.frame_fragments,
                )
            )
        compressed = zlib.compress(body, 6) if len(body) > 64 else body
        if len(compressed) < len(body):
            flags, body = flags | _COMPRESSED, compressed
        return bytes((_VERSION, _KINDS.index(self.kind), flags)) + body

    @classmethod
    def unpack(cls, data: bytes) -> FrameTable:
        """Return the table that ``pack`` made. Raises ``CannotProcess`` for other bytes."""
        if not data:
            return cls()
        try:
            return _unpack(data)
        except (IndexError, ValueError, zlib.error) as error:
            raise CannotProcess("the frame table is damaged") from error


def _unpack(data: bytes) -> FrameTable:
    version, kind_number, flags = data[:3]
    if version != _VERSION:
        raise CannotProcess(f"frame table version {version} is not known")
    kind = _KINDS[kind_number]
    encoding = Encoding(explicit=bool(flags & _EXPLICIT), little_endian=bool(flags & _LITTLE_ENDIAN))
    if kind == "none":
        return FrameTable(encoding=encoding)
    body = data[3:]
    if flags & _COMPRESSED:
        inflater = zlib.decompressobj()
        body = inflater.decompress(body, _MAX_UNPACKED)
        if not inflater.eof:
            raise CannotProcess("the frame table is damaged")
    numbers = _read_varints(body[2:])
    tag, value_offset, value_length, bits_allocated, stated_count, count, frame_bits = numbers[:7]
    first_fragment = 0
    lengths: Sequence[int] = ()
    frame_fragments: Sequence[int] = ()
    if kind == "encapsulated":
        first_fragment, fragment_count = value_offset + numbers[7], numbers[8]
        lengths = tuple(numbers[9 : 9 + fragment_count])
        frame_fragments = tuple(numbers[9 + fragment_count :])
        one_each = bool(flags & _ONE_FRAGMENT_A_FRAME)
        if len(lengths) != fragment_count or (
            count > fragment_count or frame_fragments if one_each else len(frame_fragments) != count
        ):
            raise CannotProcess("the frame table is damaged")
    return FrameTable(
        kind=kind,
        encoding=encoding,
        pixel_data_tag=_PIXEL_GROUP + tag,
        pixel_data_vr=body[:2].decode("ascii"),
        value_offset=value_offset,
        value_length=value_length,
        bits_allocated=bits_allocated,
        stated_count=stated_count,
        count=count,
        frame_bits=frame_bits,
        first_fragment=first_fragment,
        fragment_lengths=lengths,
        frame_fragments=frame_fragments,
    )


def _varints(numbers: Iterable[int]) -> bytes:
    """Encode as LEB128: 7 bits a byte, low bits first, the high bit set on all but the last."""
    out = bytearray()
    for number in numbers:
        rest = number
        while rest > 0x7F:
            out.append(rest & 0x7F | 0x80)
            rest >>= 7
        out.append(rest)
    return bytes(out)


def _read_varints(data: bytes) -> list[int]:
    numbers: list[int] = []
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        if byte & 0x80:
            shift += 7
        else:
            numbers.append(value)
            value = shift = 0
    if shift:
        raise ValueError("a number is cut off")
    return numbers
