"""From data sets and frames to bytes in every transfer syntax that is cheap to make.

Written without the product's own code, so that a mistake there is not repeated here.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydicom.charset import convert_encodings
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from gantry_testing.synthetic.codecs import encode_frame
from gantry_testing.synthetic.plans import PixelPlan, Pixels, SampleKind, native_bytes

IMPLEMENTATION_CLASS_UID = "2.25.1000000000000000000000000000000000001"
PIXEL_DATA = 0x7FE00010
FLOAT_PIXEL_DATA = 0x7FE00008
DOUBLE_FLOAT_PIXEL_DATA = 0x7FE00009
EXTENDED_OFFSETS = 0x7FE00001
EXTENDED_LENGTHS = 0x7FE00002
NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
_LONG_VRS = frozenset(["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"])


@dataclass(frozen=True, slots=True)
class Layout:
    """How compressed frames are packed into fragments (PS3.5 A.4).

    ``offset_table``: ``basic``, ``empty`` or ``extended``. ``fragments`` a frame.
    """

    offset_table: str = "basic"
    fragments: int = 1


def is_native(transfer_syntax_uid: str) -> bool:
    """Tell whether pixel data is stored uncompressed in this transfer syntax."""
    return transfer_syntax_uid in NATIVE


def element(tag: int, vr: str, value: bytes, transfer_syntax_uid: str = ExplicitVRLittleEndian) -> bytes:
    """Return one data element of defined length, its value padded to even length (PS3.5 7.1)."""
    if len(value) % 2:
        value += b"\0" if vr in {"UI", "OB", "UN"} else b" "
    order = ">" if transfer_syntax_uid == ExplicitVRBigEndian else "<"
    header = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
    if transfer_syntax_uid == ImplicitVRLittleEndian:
        return header + struct.pack("<L", len(value)) + value
    if vr in _LONG_VRS:
        return header + vr.encode() + struct.pack(order + "HL", 0, len(value)) + value
    return header + vr.encode() + struct.pack(order + "H", len(value)) + value


def file_meta(sop_class_uid: str, sop_uid: str, transfer_syntax_uid: str) -> bytes:
    """Return preamble, prefix and File Meta group (PS3.10 7.1)."""
    body = b"".join(
        (
            element(0x00020001, "OB", b"\0\1"),
            element(0x00020002, "UI", sop_class_uid.encode()),
            element(0x00020003, "UI", sop_uid.encode()),
            element(0x00020010, "UI", transfer_syntax_uid.encode()),
            element(0x00020012, "UI", IMPLEMENTATION_CLASS_UID.encode()),
            element(0x00020013, "SH", b"GANTRY_TESTING"),
        )
    )
    return bytes(128) + b"DICM" + element(0x00020000, "UL", struct.pack("<L", len(body))) + body


def encode_elements(dataset: Dataset, transfer_syntax_uid: str) -> list[tuple[int, bytes]]:
    """Return each top-level element of ``dataset`` as bytes, ordered by tag."""
    uid = UID(transfer_syntax_uid)
    encodings = convert_encodings(dataset.get("SpecificCharacterSet", "ISO_IR 6"))
    encoded = []
    for data_element in dataset:
        buffer = DicomBytesIO()
        buffer.is_implicit_VR = uid.is_implicit_VR
        buffer.is_little_endian = uid.is_little_endian
        single = Dataset()
        single.add(data_element)
        write_dataset(buffer, single, encodings)
        encoded.append((int(data_element.tag), buffer.getvalue()))
    return encoded


class Template:
    """A finished data set in which a few top-level elements change from instance to instance.

    Rendering joins bytes; nothing is encoded again but what changes.
    """

    def __init__(
        self, dataset: Dataset, transfer_syntax_uid: str, varying: Iterable[tuple[int, str]]
    ) -> None:
        self.transfer_syntax_uid = transfer_syntax_uid
        self._vrs = dict(varying)
        self._parts: list[bytes | int] = []
        fixed: list[bytes] = []
        pending = sorted(self._vrs)
        for tag, data in encode_elements(dataset, transfer_syntax_uid):
            while pending and pending[0] <= tag:
                self._parts += [b"".join(fixed), pending.pop(0)]
                fixed = []
            if tag not in self._vrs:
                fixed.append(data)
        self._parts += [b"".join(fixed), *pending]

    def render(self, values: Mapping[int, bytes]) -> bytes:
        """Return the data set with ``values``; a varying element without a value is left out."""
        syntax = self.transfer_syntax_uid
        parts: list[bytes] = []
        for part in self._parts:
            if isinstance(part, bytes):
                parts.append(part)
            elif part in values:
                parts.append(element(part, self._vrs[part], values[part], syntax))
        return b"".join(parts)


def pixel_element(
    frames: Sequence[Pixels], plan: PixelPlan, transfer_syntax_uid: str, layout: Layout | None = None
) -> bytes:
    """Return the pixel data element of ``frames``, with extended offset tables before it if asked."""
    if is_native(transfer_syntax_uid):
        little = transfer_syntax_uid != ExplicitVRBigEndian
        value = native_bytes(list(frames), plan, little_endian=little)
        match plan.kind:
            case SampleKind.FLOAT_32:
                return element(FLOAT_PIXEL_DATA, "OF", value, transfer_syntax_uid)
            case SampleKind.FLOAT_64:
                return element(DOUBLE_FLOAT_PIXEL_DATA, "OD", value, transfer_syntax_uid)
        # Implicit VR means OW (PS3.5 A.1); with it or with more than 8 bits OW is the only choice.
        vr = "OB" if plan.kind.bits_allocated <= 8 and transfer_syntax_uid != ImplicitVRLittleEndian else "OW"
        return element(PIXEL_DATA, vr, value + b"\0" * (len(value) % 2), transfer_syntax_uid)
    return encapsulate([encode_frame(f, plan, transfer_syntax_uid) for f in frames], layout or Layout())


def encapsulate(frames: Sequence[bytes], layout: Layout) -> bytes:
    """Return encapsulated Pixel Data (PS3.5 A.4), with (7FE0,0001) and (7FE0,0002) if extended."""
    items: list[bytes] = []
    offsets: list[int] = []
    position = 0
    for data in frames:
        offsets.append(position)
        for fragment in _fragments(data, layout.fragments):
            item = struct.pack("<HHL", 0xFFFE, 0xE000, len(fragment)) + fragment
            items.append(item)
            position += len(item)
    table = b"".join(struct.pack("<L", n) for n in offsets) if layout.offset_table == "basic" else b""
    extended = b""
    if layout.offset_table == "extended":
        if layout.fragments != 1:
            raise ValueError("an extended offset table needs one fragment a frame (PS3.3 C.7.6.3.1.8)")
        lengths = [len(data) + len(data) % 2 for data in frames]
        extended = element(EXTENDED_OFFSETS, "OV", struct.pack(f"<{len(frames)}Q", *offsets))
        extended += element(EXTENDED_LENGTHS, "OV", struct.pack(f"<{len(frames)}Q", *lengths))
    header = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
    basic = struct.pack("<HHL", 0xFFFE, 0xE000, len(table)) + table
    return b"".join((extended, header, basic, *items, struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)))


def _fragments(data: bytes, count: int) -> list[bytes]:
    data += b"\0" * (len(data) % 2)
    size = max(2, (len(data) // count + 1) // 2 * 2)
    cuts = [min(len(data), n * size) for n in range(count)] + [len(data)]
    return [data[a:b] for a, b in itertools.pairwise(cuts) if b > a]


def finish_data_set(data_set: bytes, transfer_syntax_uid: str) -> bytes:
    """Return the data set as it is stored: deflated if the transfer syntax says so (PS3.5 A.5)."""
    if transfer_syntax_uid != DeflatedExplicitVRLittleEndian:
        return data_set
    deflater = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    deflated = deflater.compress(data_set) + deflater.flush()
    return deflated + b"\0" * (len(deflated) % 2)
