"""The byte walker: every encoding, every length, no recursion."""

from __future__ import annotations

import mmap
import time
import tracemalloc
from io import BytesIO
from struct import pack

import pytest
from gantry_dicom.elements import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    Element,
    Encoding,
    Malformed,
    NestedTooDeeply,
    NotTerminated,
    Overrun,
    fragments,
    is_encapsulated,
    is_sequence,
    item_encoding,
    items,
    walk,
)
from gantry_testing import datapack, raw
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence


def walked(data: bytes, encoding: Encoding = EXPLICIT_LITTLE, **options: object) -> list[Element]:
    return list(walk(data, 0, len(data), encoding, **options))


def value_of(data: bytes, element: Element) -> bytes:
    return data[element.value_offset : element.value_offset + element.length]


def test_short_and_long_lengths_are_read_and_elements_tile_the_data_set() -> None:
    data = raw.element(0x00080005, "CS", b"ISO_IR 6") + raw.element(0x00420011, "OB", b"\1\2")
    first, second = walked(data)
    assert first == (0x00080005, "CS", 0, 8, 8, 16)
    assert second == (0x00420011, "OB", 16, 28, 2, 30)


def test_big_endian_is_walked_natively() -> None:
    nested = raw.item(raw.element(0x00080100, "SH", b"AB", order=">"), order=">")
    data = raw.element(0x00280010, "US", b"\1\0", order=">") + raw.element(
        0x00400555, "SQ", nested, order=">"
    )
    rows, sequence = walked(data, EXPLICIT_BIG, deep=True)
    assert (rows.tag, rows.vr, rows.length) == (0x00280010, "US", 2)
    (only,) = items(data, sequence, EXPLICIT_BIG)
    (code,) = walk(data, only.start, only.end, EXPLICIT_BIG)
    assert value_of(data, code) == b"AB"


def test_implicit_vr_comes_from_the_dictionary_and_private_creators_are_lo() -> None:
    data = b"".join(
        (
            raw.implicit(0x00080000, pack("<L", 0)),
            raw.implicit(0x00100010, b"A^B "),
            raw.implicit(0x00210010, b"ACME"),
            raw.implicit(0x00211001, b"one "),
            raw.implicit(0x60000010, b"\1\0"),
            raw.implicit(0x60003000, b"\1\0"),
            raw.implicit(0x7FE00010, b"\1\0"),
        )
    )
    assert [element.vr for element in walked(data, IMPLICIT_LITTLE)] == [
        "UL",
        "PN",
        "LO",
        "UN",
        "US",
        "OW",
        "OW",
    ]


def test_duplicate_and_missing_private_creators_leave_every_element_under_its_own_tag() -> None:
    data = b"".join(
        (
            raw.element(0x00210010, "LO", b"ACME"),
            raw.element(0x00210011, "LO", b"ACME"),
            raw.element(0x00211001, "SH", b"one "),
            raw.element(0x00211101, "SH", b"two "),
            raw.element(0x00291001, "SH", b"lost"),
        )
    )
    assert [value_of(data, element) for element in walked(data)] == [
        b"ACME",
        b"ACME",
        b"one ",
        b"two ",
        b"lost",
    ]


@pytest.mark.parametrize("code", ["ZZ", "\6\0", "??"])
def test_an_unknown_vr_code_becomes_un_and_shifts_nothing(code: str) -> None:
    data = raw.element(0x00411001, code, b"abcd") + raw.element(0x00420010, "ST", b"next")
    unknown, following = walked(data)
    assert (unknown.vr, value_of(data, unknown)) == ("UN", b"abcd")
    assert value_of(data, following) == b"next"


def test_an_unknown_vr_code_with_a_32_bit_length_is_read_as_well() -> None:
    future = pack("<HH", 0x0041, 0x1001) + b"XX\0\0" + pack("<L", 4) + b"abcd"
    data = future + raw.element(0x00420010, "ST", b"next")
    unknown, following = walked(data)
    assert (unknown.vr, value_of(data, unknown)) == ("UN", b"abcd")
    assert value_of(data, following) == b"next"


def test_odd_lengths_do_not_shift_what_follows() -> None:
    odd_sequence = raw.element(0x00411003, "SQ", raw.item(raw.element(0x00080060, "CS", b"CTX")))
    data = (
        raw.element(0x00411001, "LO", b"abc")
        + raw.element(0x00411002, "LO", b"defg")
        + odd_sequence
        + raw.element(0x00420010, "ST", b"next")
    )
    first, second, _, last = walked(data, deep=True)
    assert (value_of(data, first), value_of(data, second), value_of(data, last)) == (b"abc", b"defg", b"next")


def test_un_of_undefined_length_is_a_hidden_implicit_sequence() -> None:
    hidden = raw.item(raw.implicit(0x00080060, b"CT"), undefined=True)
    data = raw.undefined_sequence(0x4453100C, hidden, vr="UN") + raw.element(0x54000110, "OW", b"\1\2")
    sequence, following = walked(data)
    assert is_sequence(sequence)
    assert following.tag == 0x54000110
    inside = item_encoding(data, sequence, EXPLICIT_LITTLE)
    assert inside == IMPLICIT_LITTLE
    (only,) = items(data, sequence, inside)
    (modality,) = walk(data, only.start, only.end, inside)
    assert (modality.vr, value_of(data, modality)) == ("CS", b"CT")


def test_un_of_undefined_length_with_explicit_vr_inside_is_understood() -> None:
    hidden = raw.item(raw.element(0x00080060, "CS", b"CT"), undefined=True)
    data = raw.undefined_sequence(0x4453100C, hidden, vr="UN") + raw.element(0x54000110, "OW", b"\1\2")
    sequence, following = walked(data)
    assert item_encoding(data, sequence, EXPLICIT_LITTLE) == EXPLICIT_LITTLE
    assert following.tag == 0x54000110


def test_encapsulated_pixel_data_is_a_series_of_fragments() -> None:
    data = raw.encapsulated(b"abcd", b"ef", offsets=[0]) + raw.element(0xFFFCFFFC, "OB", b"\0\0")
    pixels, padding = walked(data)
    assert is_encapsulated(pixels)
    assert padding.tag == 0xFFFCFFFC
    assert [data[start:end] for start, end in fragments(data, pixels, EXPLICIT_LITTLE)] == [
        b"\0\0\0\0",
        b"abcd",
        b"ef",
    ]


def test_trailing_zeros_are_padding_and_other_left_overs_are_not() -> None:
    data = raw.element(0x00080060, "CS", b"CT")
    for zeros in (1, 7, 8, 512):
        assert len(walked(data + bytes(zeros))) == 1
        assert len(walked(raw.implicit(0x00080060, b"CT") + bytes(zeros), IMPLICIT_LITTLE)) == 1
    with pytest.raises(Malformed):
        walked(data + b"\0\0\0\0\0\0\0\1")


@pytest.mark.parametrize("encoding", [EXPLICIT_LITTLE, IMPLICIT_LITTLE])
def test_a_run_of_zeros_is_gone_through_once(encoding: Encoding) -> None:
    started = time.perf_counter()
    with pytest.raises(Malformed):
        walked(bytes(20_000_000) + b"\1", encoding)
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (raw.element(0x00100020, "LO", b"short", length=65534), Overrun),
        (raw.element(0x7FE00010, "OW", b"\0\0", length=0x7FFFFFF0), Overrun),
        (raw.element(0x00100020, "LO")[:6], Overrun),
        (raw.element(0x7FE00010, "OW")[:10], Overrun),
        (raw.element(0x00400555, "SQ", raw.item(bytes(8)), length=raw.UNDEFINED), NotTerminated),
        (raw.encapsulated(b"abcd", terminated=False), NotTerminated),
        (raw.encapsulated(b"abcd")[:-10], NotTerminated),
        (raw.element(0x00400555, "SQ", b"", length=raw.UNDEFINED), NotTerminated),
        (raw.element(0x00400555, "SQ", b"\x40\0\x55\5SQ\0\0", length=raw.UNDEFINED), Malformed),
        (raw.element(0x00100010, "UT", b"", length=raw.UNDEFINED), Malformed),
        (raw.item(b""), Malformed),
        (raw.SEQUENCE_DELIMITER, Malformed),
    ],
)
def test_a_length_that_does_not_fit_is_malformed(data: bytes, error: type[Malformed]) -> None:
    with pytest.raises(error):
        walked(data)


@pytest.mark.parametrize(
    "nested",
    [
        raw.item(b"")[:4],
        raw.item(b"ab")[:-2] + b"",
        pack("<HHL", 0xFFFE, 0xE000, 4000) + bytes(32),
        raw.item(raw.element(0x00080100, "SH", b"A", length=200)),
        raw.element(0x00080100, "SH", b"AB"),
    ],
)
def test_deep_also_checks_inside_sequences_of_known_length(nested: bytes) -> None:
    data = raw.element(0x00400555, "SQ", nested) + raw.element(0x00400556, "ST", b"text")
    assert len(walked(data)) == 2
    with pytest.raises(Malformed):
        walked(data, deep=True)


def _nested(levels: int, *, undefined: bool) -> bytes:
    if undefined:
        opening = raw.element(0x00400555, "SQ", length=raw.UNDEFINED) + pack(
            "<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF
        )
        return opening * levels + (raw.ITEM_DELIMITER + raw.SEQUENCE_DELIMITER) * levels
    data = b""
    for _ in range(levels):
        data = raw.element(0x00400555, "SQ", raw.item(data))
    return data


@pytest.mark.parametrize("undefined", [True, False])
def test_depth_is_bounded_by_the_limit_and_never_by_the_stack(undefined: bool) -> None:
    assert len(walked(_nested(100, undefined=undefined), deep=True)) == 1
    deep = _nested(4011, undefined=undefined)
    with pytest.raises(NestedTooDeeply):
        walked(deep, deep=True)
    assert len(walked(deep, deep=True, max_depth=5000)) == 1


def test_sharing_the_ends_makes_walking_all_levels_linear() -> None:
    data = _nested(2000, undefined=True)
    ends: dict[int, tuple[int, int]] = {}
    level = walked(data, ends=ends, max_depth=3000)
    started = time.perf_counter()
    depth = 0
    while level:
        depth += 1
        (only,) = items(data, level[0], EXPLICIT_LITTLE, ends=ends, max_depth=3000)
        level = list(walk(data, only.start, only.end, EXPLICIT_LITTLE, ends=ends, max_depth=3000))
    assert depth == 2000
    assert time.perf_counter() - started < 1.0


def test_sixty_thousand_tiny_elements_cost_bounded_time_and_memory() -> None:
    file = next(file for file in datapack.files("broken") if file.name.endswith("many_elements.dcm"))
    data = file.read()
    start = 132 + 12 + int.from_bytes(data[140:144], "little")
    tracemalloc.start()
    count = sum(1 for _ in walk(data, start, len(data), EXPLICIT_LITTLE))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count > 60_000
    assert peak < 1_000_000


def test_any_buffer_is_walked_alike() -> None:
    data = raw.image(raw.encapsulated(b"abcd"))
    mapped = mmap.mmap(-1, len(data))
    mapped[:] = data
    expected = walked(data)
    for buffer in (bytearray(data), memoryview(data), mapped):
        assert list(walk(buffer, 0, len(data), EXPLICIT_LITTLE, deep=True)) == expected


def test_only_yields_the_tags_asked_for_and_still_checks_the_rest() -> None:
    data = raw.instance((0x00400555, raw.element(0x00400555, "SQ", raw.item())))
    assert [element.tag for element in walked(data, only={0x0020000D})] == [0x0020000D]
    with pytest.raises(Overrun):
        walked(data + raw.element(0x00420011, "OB", length=10), only={0x0020000D})


TEXT = st.text("ABC123_ ", max_size=16)
LEAVES = st.one_of(
    st.tuples(st.sampled_from([0x00100010, 0x00081070]), st.just("PN"), TEXT),
    st.tuples(st.sampled_from([0x00080060, 0x00180015]), st.just("CS"), TEXT),
    st.tuples(st.sampled_from([0x00280010, 0x00280011]), st.just("US"), st.integers(0, 65535)),
    st.tuples(
        st.just(0x00420011), st.just("OB"), st.binary(max_size=300).map(lambda b: b + bytes(len(b) % 2))
    ),
    st.tuples(st.just(0x00081190), st.just("UR"), TEXT),
    st.tuples(st.sampled_from([0x00091001, 0x00091002]), st.just("UN"), st.just(b"opaque")),
    st.tuples(st.just(0x00090010), st.just("LO"), st.just("ACME")),
)


def _data_set(leaves: list[tuple[int, str, object]]) -> Dataset:
    dataset = Dataset()
    for tag, vr, value in leaves:
        dataset.add(DataElement(tag, vr, value))
    return dataset


@st.composite
def data_sets(draw: st.DrawFn, depth: int = 3) -> Dataset:
    dataset = _data_set(draw(st.lists(LEAVES, max_size=6)))
    if depth:
        for tag in draw(
            st.lists(st.sampled_from([0x00081140, 0x00400555, 0x00081115]), unique=True, max_size=2)
        ):
            nested = draw(st.lists(data_sets(depth=depth - 1), max_size=3))
            for one in nested:
                one.is_undefined_length_sequence_item = draw(st.booleans())
            element = DataElement(tag, "SQ", Sequence(nested))
            element.is_undefined_length = draw(st.booleans())
            dataset.add(element)
    return dataset


def _outline(buffer: bytes, start: int, end: int, encoding: Encoding) -> list[object]:
    outline: list[object] = []
    for element in walk(buffer, start, end, encoding, deep=True):
        if is_sequence(element):
            inside = item_encoding(buffer, element, encoding)
            content: object = [
                _outline(buffer, one.start, one.end, inside) for one in items(buffer, element, inside)
            ]
        else:
            content = value_of(buffer, element)
        outline.append((element.tag, content))
    return outline


def _as_pydicom_reads(data: bytes, encoding: Encoding) -> list[object]:
    dataset = read_dataset(
        BytesIO(data), is_implicit_VR=not encoding.explicit, is_little_endian=encoding.little_endian
    )
    return _raw_outline(dataset)


def _raw_outline(dataset: Dataset) -> list[object]:
    outline: list[object] = []
    for tag in sorted(dataset.keys()):
        element = dataset.get_item(tag)
        if element.VR == "SQ" or (element.VR is None and dataset[tag].VR == "SQ"):
            content: object = [_raw_outline(one) for one in dataset[tag].value]
        else:
            content = element.value or b""
        outline.append((int(tag), content))
    return outline


@pytest.mark.filterwarnings("ignore:Invalid value for VR:UserWarning")
@pytest.mark.parametrize("encoding", [EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG])
@given(dataset=data_sets())
@settings(max_examples=60, deadline=None)
def test_the_walker_finds_what_pydicom_finds(encoding: Encoding, dataset: Dataset) -> None:
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = encoding.little_endian, not encoding.explicit
    write_dataset(out, dataset)
    data = out.getvalue()
    assert _outline(data, 0, len(data), encoding) == _as_pydicom_reads(data, encoding)


@given(st.binary(max_size=400), st.sampled_from([EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG]))
@settings(max_examples=400, deadline=None)
def test_random_bytes_are_walked_or_malformed(data: bytes, encoding: Encoding) -> None:
    try:
        found = walked(data, encoding, deep=True)
    except Malformed:
        return
    position = 0
    for element in found:
        assert element.header_offset == position
        position = element.end
    assert not data[position:].strip(b"\0")
