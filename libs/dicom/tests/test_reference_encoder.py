"""The encoder is held to pydicom's reading: over the data pack, and over generated data sets."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass

import orjson
from gantry_dicom.charsets import DEFAULT
from gantry_dicom.element_json import Level, Run, encode_level
from gantry_dicom.elements import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, Encoding
from gantry_dicom.gate import GateLimits, admit
from gantry_dicom.header import DataSetHeader
from gantry_dicom.json_encoder import EncoderMemo, encode_elements
from gantry_dicom.reference_encoder import encode_with_pydicom, reference_objects
from gantry_dicom.refusals import Refused
from gantry_testing import datapack
from gantry_testing.raw import element, implicit, item
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.datadict import DicomDictionary

# Files that pydicom misreads: VR "??" makes it switch to Implicit VR; an item that runs past
# the end of its sequence is cut silently.
_MISREAD = ("made/odd/vr_unknown.dcm", "dicomdir/DICOMDIR-nooffset")


def by_encoder(header, memo=None):
    fragments = encode_elements(header, memo).fragments
    return json.loads(b"{" + b"".join(fragments.values())[:-1].replace(b"\x1d", b"\\u001d") + b"}")


def by_pydicom(header):
    objects = {f"{tag:08X}": attribute for tag, attribute in reference_objects(header).items()}
    return json.loads(orjson.dumps(objects))


def test_the_encoder_equals_pydicom_on_every_file_the_gate_admits():
    compared, different = 0, []
    for file in datapack.files():
        try:
            header = admit(file.read(), limits=GateLimits(max_inflated_bytes=1 << 24)).header
        except Refused:
            continue
        if file.name in _MISREAD:
            continue
        compared += 1
        memo = EncoderMemo()
        remembered = encode_elements(header, memo).fragments
        same = remembered == encode_elements(header, memo).fragments == encode_elements(header).fragments
        if not same or by_encoder(header) != by_pydicom(header):
            different.append(file.name)
    assert different == []
    assert compared > 450


# Generated data sets: a model that can be written in each encoding.

_VRS = "AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SS ST SV TM UC UI UL UR US UT UV"
_TAGS = {
    vr: [
        tag
        for tag, entry in sorted(DicomDictionary.items())
        if entry[0] == vr
        and 0x00080006 <= tag < 0x7FE00000
        and tag >> 16 != 0x0028
        and tag >> 16 != 0x0004
        and tag & 0xFFFF
    ][:8]
    for vr in [*_VRS.split(), "SQ"]
}
_UNITS = {
    "AT": "H", "FD": "d", "FL": "f", "SL": "l", "SS": "h", "SV": "q", "UL": "L", "US": "H", "UV": "Q",
    "OW": "H", "OL": "L", "OF": "L", "OD": "Q", "OV": "Q",
}  # fmt: skip


@dataclass(frozen=True)
class Model:
    """One element: ``value`` is bytes, numbers (packed with the VR's unit) or items (of models)."""

    tag: int
    vr: str
    value: bytes | tuple

    def octets(self, encoding: Encoding) -> bytes:
        if isinstance(self.value, bytes):
            return self.value
        if self.vr == "SQ":
            order = "<" if encoding.little_endian else ">"
            return b"".join(item(write(models, encoding), order=order) for models in self.value)
        order = "<" if encoding.little_endian else ">"
        return struct.pack(f"{order}{len(self.value)}{_UNITS[self.vr]}", *self.value)


def write(models, encoding: Encoding) -> bytes:
    order = "<" if encoding.little_endian else ">"
    parts = []
    for model in sorted(models, key=lambda model: model.tag):
        octets = model.octets(encoding)
        if encoding.explicit:
            parts.append(element(model.tag, model.vr, octets, order=order))
        else:
            parts.append(implicit(model.tag, octets))
    return b"".join(parts)


_TEXT = st.text(
    alphabet=st.one_of(
        st.sampled_from('aZ09 ^=\\.-+eE"/'), st.characters(max_codepoint=0x7F, exclude_characters="\x1b")
    ),
    max_size=12,
)
_NUMBERS = st.lists(
    st.one_of(
        st.from_regex(r"[-+]?[0-9]{0,18}\.?[0-9]{0,4}([eE][-+]?[0-9]{1,3})?", fullmatch=True),
        st.sampled_from(["NaN", "1,5", "", " 7 ", "0x1", "Infinity", "9007199254740993", "-0", "007"]),
    ),
    max_size=4,
).map("\\".join)


def _values(vr: str) -> st.SearchStrategy:
    if vr in ("DS", "IS"):
        return _NUMBERS.map(str.encode)
    if vr in ("FD", "FL"):
        return st.lists(st.floats(width=64 if vr == "FD" else 32), max_size=4).map(tuple)
    if vr in _UNITS:
        unit = _UNITS[vr]
        bits = 8 * struct.calcsize(f"<{unit}")
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if unit.islower() else (0, 2**bits - 1)
        size = 4 if vr != "AT" else 2
        numbers = st.lists(st.integers(low, high), max_size=size)
        if vr == "AT":
            numbers = numbers.map(lambda found: found[: len(found) // 2 * 2])
        return numbers.map(tuple)
    if vr == "OB":
        return st.one_of(st.binary(max_size=8), st.just(b"x" * 1025))
    return _TEXT.map(lambda text: text.encode("ascii"))


@st.composite
def _models(draw, depth: int = 2):
    vrs = st.sampled_from([*_VRS.split(), *(["SQ"] * 4 if depth else [])])
    models = {}
    for vr in draw(st.lists(vrs, max_size=6)):
        tag = draw(st.sampled_from(_TAGS[vr]))
        if vr == "SQ":
            value = draw(st.lists(_models(depth=depth - 1), max_size=3).map(tuple))
        else:
            value = draw(_values(vr))
        models[tag] = Model(tag, vr, value)
    return tuple(models.values())


@given(_models())
@settings(max_examples=150, deadline=None)
def test_generated_data_sets_equal_pydicom_in_every_encoding(models):
    found = []
    for encoding in (EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG):
        header = DataSetHeader(encoding, write(models, encoding), b"")
        found.append(by_encoder(header))
        assert found[-1] == by_pydicom(header)
        memo = EncoderMemo()
        assert by_encoder(header, memo) == by_encoder(header, memo) == found[-1]
    assert found[0] == found[1] == found[2]


@given(_models(), st.binary(max_size=12), st.integers(0, 400))
@settings(max_examples=150, deadline=None)
def test_the_loop_in_place_equals_the_walker_on_whole_and_damaged_bytes(models, patch, position):
    data_set = write(models, EXPLICIT_LITTLE)
    position = min(position, len(data_set))
    data_set = data_set[:position] + patch + data_set[position + len(patch) :]
    made = []
    for in_place in (True, False):
        run = Run(None)
        level = Level(data_set, 0, len(data_set), EXPLICIT_LITTLE, DEFAULT)
        try:
            encode_level(run, level, in_place=in_place)
        except Exception as error:
            made.append(type(error))
        else:
            made.append((level.fragments, run.oddities))
    assert made[0] == made[1]


@given(
    st.sampled_from(sorted(set(_VRS.split()))),
    st.binary(max_size=40),
    st.sampled_from([b"", b"ISO_IR 100", b"ISO_IR 192", b"\\ISO 2022 IR 149", b"GB18030"]),
)
@settings(max_examples=300, deadline=None)
def test_any_octets_equal_pydicom(vr, octets, label):
    data_set = element(0x00080005, "CS", label) + element(0x00111001, vr, octets)
    header = DataSetHeader(EXPLICIT_LITTLE, data_set, b"")
    assert by_encoder(header) == by_pydicom(header)


def test_the_fallback_gives_the_same_fragments():
    models = (
        Model(0x00080060, "CS", b"CT"),
        Model(0x00420011, "OB", b"x" * 2000),
        Model(0x00100010, "PN", b"A"),
    )
    header = DataSetHeader(EXPLICIT_LITTLE, write(models, EXPLICIT_LITTLE), b"")
    fragments, oddities = encode_with_pydicom(header)
    assert fragments == encode_elements(header).fragments
    assert oddities == ("data set: read by pydicom",)
