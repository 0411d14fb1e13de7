"""Instances with one thing wrong, and what an archive must say to each.

``Mutation.refusals`` holds the reasons of ``gantry_dicom.refusals`` that are right; empty
means that the instance must be stored, and come back byte for byte.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gantry_dicom.refusals import Refusal
from gantry_dicom.uids import assigned_uid
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
)

from gantry_testing.synthetic.encoding import element, file_meta
from gantry_testing.synthetic.studies import generate_study
from gantry_testing.synthetic.values import Instance, make_uid

SOP_CLASS, SOP_INSTANCE, STUDY, SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
SEQUENCE = 0x00081140
_UNDEFINED = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Mutation:
    """A file and what must come of it; ``sop_uid`` is the instance's, had it been whole."""

    name: str
    data: bytes
    sop_uid: str
    study_uid: str
    refusals: tuple[Refusal, ...] = ()


def mutations(seed: int = 0) -> Iterator[Mutation]:
    """Yield every mutation, each of an instance of its own."""
    for number, (name, (refusals, change)) in enumerate(_TABLE.items()):
        (instance,) = generate_study(10_000 + seed, "MR", number=number, size=(32, 40))
        study_uid = instance.study_uid
        if name in _WITHOUT_STUDY:
            study_uid = assigned_uid("Study Instance UID", instance.sop_uid)
        yield Mutation(name, change(instance), instance.sop_uid, study_uid, refusals)


def find(data_set: bytes, tag: int) -> tuple[int, int]:
    """Return where a top-level element of an Explicit VR Little Endian data set begins and ends.

    For the data sets made here: no undefined lengths before the element. Raises ``KeyError``.
    """
    position = 0
    while position < len(data_set):
        group, number = struct.unpack_from("<HH", data_set, position)
        if data_set[position + 4 : position + 6] in {b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC", b"OF", b"OD"}:
            end = position + 12 + struct.unpack_from("<L", data_set, position + 8)[0]
        else:
            end = position + 8 + struct.unpack_from("<H", data_set, position + 6)[0]
        if group << 16 | number == tag:
            return position, end
        position = end
    raise KeyError(f"{tag:08X}")


def replace_element(instance: Instance, tag: int, new: bytes) -> bytes:
    """Return the file with the element of ``tag`` replaced by ``new``."""
    data_set = instance.data_set
    start, end = find(data_set, tag)
    return _file(instance, data_set[:start] + new + data_set[end:])


def insert_element(instance: Instance, before: int, new: bytes) -> bytes:
    """Return the file with ``new`` put in front of the element of tag ``before``."""
    start, _ = find(instance.data_set, before)
    return _file(instance, instance.data_set[:start] + new + instance.data_set[start:])


def _file(instance: Instance, data_set: bytes) -> bytes:
    return instance.data[: instance.data_set_offset] + data_set


def _labelled(instance: Instance, data_set: bytes, transfer_syntax_uid: str) -> bytes:
    return file_meta(instance.sop_class_uid, instance.sop_uid, transfer_syntax_uid) + data_set


def _uid(tag: int, value: str) -> Callable[[Instance], bytes]:
    return lambda instance: replace_element(instance, tag, element(tag, "UI", value.encode()))


def _without(tag: int) -> Callable[[Instance], bytes]:
    return lambda instance: replace_element(instance, tag, b"")


def _twice(tag: int) -> Callable[[Instance], bytes]:
    other = element(tag, "UI", make_uid("another").encode())
    return lambda instance: insert_element(instance, tag, other)


def _value(tag: int, vr: str, value: bytes) -> Callable[[Instance], bytes]:
    return lambda instance: replace_element(instance, tag, element(tag, vr, value))


def _cut_in(tag: int, into: int = 10) -> Callable[[Instance], bytes]:
    def cut(instance: Instance) -> bytes:
        start, _ = find(instance.data_set, tag)
        return instance.data[: instance.data_set_offset + start + into]

    return cut


def _as(kind: str, made_in: str, labelled: str | None = None) -> Callable[[Instance], bytes]:
    """Return another instance with the same UIDs, made in one transfer syntax and labelled as another."""

    def make(instance: Instance) -> bytes:
        (other,) = generate_study(20_000, kind, size=(32, 40), transfer_syntax=made_in)
        data_set = other.data_set
        for mine, yours in (
            (other.study_uid, instance.study_uid),
            (other.series_uid, instance.series_uid),
            (other.sop_uid, instance.sop_uid),
        ):
            data_set = data_set.replace(mine.encode(), yours.encode())
        meta = file_meta(other.sop_class_uid, instance.sop_uid, labelled or made_in)
        return meta + data_set

    return make


def _without_end(change: Callable[[Instance], bytes]) -> Callable[[Instance], bytes]:
    # The sequence delimitation item is the last 8 bytes of an encapsulated instance.
    return lambda instance: change(instance)[:-8]


def _deflated(change: Callable[[bytes], bytes]) -> Callable[[Instance], bytes]:
    def make(instance: Instance) -> bytes:
        deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        deflated = change(deflater.compress(instance.data_set) + deflater.flush())
        return _labelled(instance, deflated, DeflatedExplicitVRLittleEndian)

    return make


def _deflate_bomb(instance: Instance) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    size = 300_000_000
    start, _ = find(instance.data_set, 0x7FE00010)
    parts = [deflater.compress(instance.data_set[:start])]
    parts.append(deflater.compress(struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, size)))
    zeros = bytes(1_000_000)
    parts += [deflater.compress(zeros) for _ in range(size // len(zeros))]
    return _labelled(instance, b"".join([*parts, deflater.flush()]), DeflatedExplicitVRLittleEndian)


def _nested(depth: int) -> Callable[[Instance], bytes]:
    begin = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, _UNDEFINED)
    begin += struct.pack("<HHL", 0xFFFE, 0xE000, _UNDEFINED)
    end = struct.pack("<HHL", 0xFFFE, 0xE00D, 0) + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    return lambda instance: insert_element(instance, 0x00100010, begin * depth + end * depth)


def _open_sequence(instance: Instance) -> bytes:
    start, _ = find(instance.data_set, 0x7FE00010)
    opened = struct.pack("<HH2sHL", 0x0088, 0x0200, b"SQ", 0, _UNDEFINED)
    return _file(instance, instance.data_set[:start] + opened)


def _odd_length(instance: Instance) -> bytes:
    """Return the file with a text of odd length: against PS3.5 7.1, and met in practice."""
    odd = struct.pack("<HH2sH", 0x0008, 0x1030, b"LO", 3) + b"odd"
    return replace_element(instance, 0x00081030, odd)


# Kept under a Study Instance UID that the archive assigns (docs/adr/0005).
_WITHOUT_STUDY = frozenset({"no-study-uid", "empty-study-uid"})
_CUT_OFF = (Refusal.TRUNCATED, Refusal.NOT_TERMINATED, Refusal.MALFORMED)
_NO_SOP_INSTANCE_UID = (Refusal.MISSING_UID, Refusal.ILLEGAL_SOP_INSTANCE_UID)
_NAN = element(0x00189073, "FD", struct.pack("<d", float("nan")))
_HOSTILE = b"<script>alert(1)</script>'; DROP TABLE study; --"
_LONG_UID = "1." + "2345678901" * 6 + "2345"

_TABLE: dict[str, tuple[tuple[Refusal, ...], Callable[[Instance], bytes]]] = {
    # not an object at all
    "empty": ((Refusal.NOT_DICOM,), lambda _: b""),
    "text": ((Refusal.NOT_DICOM,), lambda _: b"This is no picture of anything at all. " * 20),
    "zeros": ((Refusal.NOT_DICOM, Refusal.MALFORMED, Refusal.MISSING_UID), lambda _: bytes(4096)),
    "preamble-only": ((Refusal.NOT_DICOM, Refusal.TRUNCATED), lambda _: bytes(128) + b"DICM"),
    # cut off
    "cut-in-meta": ((Refusal.NOT_DICOM, Refusal.TRUNCATED), lambda instance: instance.data[:170]),
    "cut-after-meta": (_CUT_OFF, lambda instance: instance.data[: instance.data_set_offset]),
    "cut-in-header": (_CUT_OFF, _cut_in(STUDY)),
    "cut-in-sequence": (_CUT_OFF, _cut_in(0x00400275, 30)),
    "cut-in-native-pixels": (_CUT_OFF, lambda instance: instance.data[:-100]),
    "cut-by-one-byte": (_CUT_OFF, lambda instance: instance.data[:-1]),
    "cut-in-fragment": (_CUT_OFF, lambda i: _as("MR", JPEG2000Lossless)(i)[:-60]),
    "no-sequence-delimiter": (_CUT_OFF, _without_end(_as("MR", JPEGLSLossless))),
    "sequence-never-closed": (_CUT_OFF, _open_sequence),
    # identity
    "no-sop-class-uid": ((Refusal.MISSING_UID,), _without(SOP_CLASS)),
    "no-sop-instance-uid": ((Refusal.MISSING_UID,), _without(SOP_INSTANCE)),
    "blank-sop-instance-uid": (_NO_SOP_INSTANCE_UID, _uid(SOP_INSTANCE, "  ")),
    "letters-in-study-uid": ((Refusal.ILLEGAL_UID,), _uid(STUDY, "1.2.abc.4")),
    "path-as-study-uid": ((Refusal.ILLEGAL_UID,), _uid(STUDY, "../../etc/passwd")),
    "long-study-uid": ((Refusal.ILLEGAL_UID,), _uid(STUDY, _LONG_UID)),
    "double-dot-in-series-uid": ((Refusal.ILLEGAL_UID,), _uid(SERIES, "1.2..4")),
    "letters-in-sop-instance-uid": ((Refusal.ILLEGAL_SOP_INSTANCE_UID,), _uid(SOP_INSTANCE, "1.2.abc")),
    "two-sop-instance-uids": ((Refusal.AMBIGUOUS_UID,), _twice(SOP_INSTANCE)),
    "two-study-uids": ((Refusal.AMBIGUOUS_UID,), _twice(STUDY)),
    # deflate
    "deflate-garbage": ((Refusal.DEFLATE_DAMAGED,), _deflated(lambda _: b"\xff\xfe\xfd" * 100)),
    "deflate-cut": ((Refusal.DEFLATE_DAMAGED,), _deflated(lambda data: data[: len(data) // 2])),
    "deflate-bomb": ((Refusal.INFLATES_TOO_LARGE,), _deflate_bomb),
    "nested-4000": ((Refusal.NESTED_TOO_DEEPLY,), _nested(4000)),
    # wrong but storable
    "no-study-uid": ((), _without(STUDY)),
    "empty-study-uid": ((), _uid(STUDY, "")),
    "no-series-uid": ((), _without(SERIES)),
    "empty-series-uid": ((), _uid(SERIES, "")),
    "nested-20": ((), _nested(20)),
    "impossible-date": ((), _value(0x00080020, "DA", b"20230231")),
    "date-with-dots": ((), _value(0x00080020, "DA", b"2023.02.28")),
    "text-as-date": ((), _value(0x00100030, "DA", b"unknown")),
    "number-out-of-range": ((), _value(0x00200013, "IS", b"99999999999")),
    "text-as-number": ((), _value(0x00200011, "IS", b"first")),
    "unknown-vr": ((), _value(0x00081030, "??", b"described")),
    "odd-length-text": ((), _odd_length),
    "name-twice": ((), lambda i: insert_element(i, 0x00100010, element(0x00100010, "PN", b"Other^Name"))),
    "no-patient-id": ((), _without(0x00100020)),
    "no-modality": ((), _without(0x00080060)),
    "hostile-values": ((), _value(0x00100010, "PN", _HOSTILE)),
    "line-breaks-in-a-name": ((), _value(0x00100010, "PN", b"Name\r\nSet-Cookie: a=b^X")),
    "wrong-bytes-for-the-charset": ((), _value(0x00100010, "PN", b"M\xfcller^\xff\xfe")),
    "unknown-charset": ((), _value(0x00080005, "CS", b"ISO_IR 999")),
    "not-a-number": ((), lambda i: insert_element(i, 0x00200010, _NAN)),
    "trailing-padding": ((), lambda i: i.data + element(0xFFFCFFFC, "OB", bytes(126))),
    # mislabelled, told from the bytes
    "implicit-labelled-explicit": ((), _as("MR", ImplicitVRLittleEndian, ExplicitVRLittleEndian)),
    "explicit-labelled-implicit": ((), _as("MR", ExplicitVRLittleEndian, ImplicitVRLittleEndian)),
    "big-endian-labelled-little": ((), _as("MR", ExplicitVRBigEndian, ExplicitVRLittleEndian)),
    "native-labelled-jpeg": ((), _as("MR", ExplicitVRLittleEndian, JPEGBaseline8Bit)),
    "jpeg-ls-labelled-jpeg-2000": ((), _as("MR", JPEGLSLossless, JPEG2000Lossless)),
    "no-meta": ((), lambda instance: instance.data_set),
    "no-preamble": ((), lambda instance: instance.data[132:]),
}  # fmt: skip
