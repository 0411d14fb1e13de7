"""Frame tables: where each frame lies, and never the wrong bytes."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable
from struct import pack

import pytest
from gantry_dicom.elements import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from gantry_dicom.errors import CannotProcess, NotFound
from gantry_dicom.frames import FrameTable, Range
from gantry_dicom.gate import admit
from gantry_testing import raw
from hypothesis import given
from hypothesis import strategies as st

JPEG = "1.2.840.10008.1.2.4.50"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
RLE = "1.2.840.10008.1.2.5"
MPEG4 = "1.2.840.10008.1.2.4.102"
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"


def jpeg(data: bytes) -> bytes:
    """A frame with markers and 29 bytes of them; ``data`` must be of odd length."""
    assert len(data) % 2
    return (
        b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x02\x00\x03\x01\x01\x11\x00"
        b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + data + b"\xff\xd9"
    )


A, B, C = jpeg(b"a"), jpeg(b"bbb"), jpeg(b"ccccc")


def frames_of(
    pixel_data: bytes, syntax: str = raw.EXPLICIT, **image: object
) -> tuple[FrameTable, bytes, tuple[str, ...]]:
    data = raw.part10(raw.image(pixel_data, **image), syntax)
    admission = admit(data)
    assert admission.transfer_syntax_uid == syntax
    return FrameTable.unpack(admission.frame_table), data, admission.warnings


def read(data: bytes, ranges: Iterable[Range]) -> bytes:
    return b"".join(data[offset : offset + length] for offset, length in ranges)


def served(pixel_data: bytes, syntax: str = JPEG, **image: object) -> list[bytes]:
    """Every frame that the table serves, in order; the one behind the last must be refused."""
    table, data, _ = frames_of(pixel_data, syntax, **image)
    for absent in (0, -1, table.count + 1, 10**12):
        with pytest.raises(NotFound):
            table.ranges(absent)
    return [read(data, table.ranges(number)) for number in range(1, table.count + 1)]


# Native


@pytest.mark.parametrize("planar", [0, 1])
def test_odd_rgb_frames_follow_each_other_without_padding(planar: int) -> None:
    pixels = bytes(range(90))
    frames = served(
        raw.element(0x7FE00010, "OB", pixels), raw.EXPLICIT, rows=5, columns=3, samples=3, frames="2 ",
        photometric="RGB", extra=[(0x00280006, raw.us(0x00280006, planar))],
    )  # fmt: skip
    assert frames == [pixels[:45], pixels[45:]]


def test_one_bit_frames_begin_within_a_byte() -> None:
    pixels = bytes.fromhex("f52ac44c6603")
    table, data, _ = frames_of(
        raw.element(0x7FE00010, "OB", pixels), rows=3, columns=5, bits_allocated=1, frames="3 "
    )
    realigned = [table.native_frame(number, read(data, table.ranges(number))) for number in (1, 2, 3)]
    assert [frame.hex() for frame in realigned] == ["f52a", "8819", "990d"]
    assert [table.bits(number).bit_offset for number in (1, 2, 3)] == [0, 7, 6]


@pytest.mark.parametrize(("vr", "bits_allocated"), [("OW", 8), ("OB", 8), ("OW", 16), ("OL", 32)])
def test_big_endian_frames_come_out_little_endian(vr: str, bits_allocated: int) -> None:
    size = bits_allocated // 8
    pixels = bytes(range(30 * size))
    unit = {"OB": 1, "OW": 2, "OL": 4}[vr]
    words = [pixels[at : at + unit] for at in range(0, len(pixels), unit)]
    stored = b"".join(word[::-1] for word in words)
    table = FrameTable(
        "native", EXPLICIT_BIG, 0x7FE00010, vr, 0, len(stored), bits_allocated, 2, 2, 15 * bits_allocated
    )
    frames = [table.native_frame(number, read(stored, table.ranges(number))) for number in (1, 2)]
    assert frames == [pixels[: 15 * size], pixels[15 * size :]]


def test_ybr_full_422_has_two_bytes_a_pixel_unless_only_three_fit() -> None:
    half = raw.element(0x7FE00010, "OB", bytes(range(24)))
    assert [
        len(frame) for frame in served(half, raw.EXPLICIT, samples=3, frames="2 ", photometric="YBR_FULL_422")
    ] == [12, 12]
    full = raw.element(0x7FE00010, "OB", bytes(range(36)))
    assert [
        len(frame) for frame in served(full, raw.EXPLICIT, samples=3, frames="2 ", photometric="YBR_FULL_422")
    ] == [18, 18]


@pytest.mark.parametrize(("tag", "vr", "size"), [(0x7FE00008, "OF", 4), (0x7FE00009, "OD", 8)])
def test_float_pixels_are_frames_too(tag: int, vr: str, size: int) -> None:
    pixels = bytes(range(12 * size))
    data = raw.part10(
        raw.instance(
            (0x00280008, raw.element(0x00280008, "IS", b"2 ")), (0x00280010, raw.us(0x00280010, 2)),
            (0x00280011, raw.us(0x00280011, 3)), (tag, raw.element(tag, vr, pixels)),
        )
    )  # fmt: skip
    table = FrameTable.unpack(admit(data).frame_table)
    assert (table.pixel_data_tag, table.bits_allocated) == (tag, size * 8)
    assert read(data, table.ranges(2)) == pixels[6 * size :]


def test_short_pixel_data_serves_its_whole_frames_only() -> None:
    table, _, warnings = frames_of(raw.element(0x7FE00010, "OB", bytes(16)), frames="3 ")
    assert (table.count, table.stated_count) == (2, 3)
    assert "frames-missing" in warnings


def test_long_pixel_data_serves_the_stated_frames() -> None:
    table, data, warnings = frames_of(raw.element(0x7FE00010, "OB", bytes(106)))
    assert table.count == 1
    assert "pixel-data-too-long" in warnings
    assert table.bulk_range == Range(len(data) - 106, 106)


@pytest.mark.parametrize("frames", ["", "0 ", "1A", "-3", "1.5 "])
def test_a_number_of_frames_that_is_none_counts_as_one(frames: str) -> None:
    assert served(raw.element(0x7FE00010, "OB", bytes(range(6))), raw.EXPLICIT, frames=frames) == [
        bytes(range(6))
    ]


@pytest.mark.parametrize(
    "image",
    [{"bits_allocated": 7}, {"rows": 0}, {"bits_allocated": 0}, {"samples": 0}, {"bits_allocated": 128}],
)
def test_nonsense_dimensions_promise_no_frame(image: dict[str, int]) -> None:
    table, _, warnings = frames_of(raw.element(0x7FE00010, "OB", bytes(64)), **image)
    assert table.count == 0
    assert "frame-boundaries-unknown" in warnings


def test_deflated_frames_lie_in_the_inflated_data_set() -> None:
    data_set = raw.image(raw.element(0x7FE00010, "OB", bytes(range(12))), frames="2 ")
    deflater = zlib.compressobj(wbits=-15)
    stream = deflater.compress(data_set) + deflater.flush()
    admission = admit(raw.part10(stream, "1.2.840.10008.1.2.1.99"))
    table = FrameTable.unpack(admission.frame_table)
    assert table.kind == "deflated"
    assert read(data_set, table.ranges(2)) == bytes(range(6, 12))


# Encapsulated


def test_one_fragment_a_frame_needs_no_table() -> None:
    assert served(raw.encapsulated(A, B, C), frames="3 ") == [A, B, C]


def test_fragments_are_grouped_by_the_codestreams_markers() -> None:
    parts = [piece for frame in (A, B, C) for piece in (frame[:20], frame[20:])]
    assert served(raw.encapsulated(*parts), frames="3 ") == [A, B, C]


def test_a_single_frame_owns_all_fragments() -> None:
    pieces = [C[at : at + 8] for at in range(0, len(C), 8)]
    assert served(raw.encapsulated(*pieces)) == [C]
    assert served(raw.encapsulated(b"unknown ", b"fragment"), JPEG_2000) == [b"unknown fragment"]


def test_missing_frames_are_not_there_and_the_others_are() -> None:
    table, _, warnings = frames_of(raw.encapsulated(A, B), JPEG, frames="3 ")
    assert (table.count, table.stated_count) == (2, 3)
    assert "frames-missing" in warnings
    assert served(raw.encapsulated(A, B), frames="3 ") == [A, B]


@pytest.mark.parametrize("offsets", [[0, 4], [0, 10_000_000], [8, 38], [0, 0], [38, 0], [0, 38, 80]])
def test_an_offset_table_that_contradicts_the_markers_loses(offsets: list[int]) -> None:
    table, _, warnings = frames_of(raw.encapsulated(A, B, offsets=offsets), JPEG, frames="2 ")
    assert table.count == 2
    assert served(raw.encapsulated(A, B, offsets=offsets), frames="2 ") == [A, B]
    if offsets != [0, 38]:
        assert "offset-table-wrong" in warnings


def test_a_table_that_skips_a_marker_loses() -> None:
    # By the table frame 2 is C; the markers show that B is a frame of its own.
    offsets = [0, len(A) + len(B) + 16]
    assert served(raw.encapsulated(A, B, C, offsets=offsets), frames="2 ") == [A, B]


def test_the_offset_table_decides_where_there_are_no_markers() -> None:
    parts = (b"secret", b"of", b"somebody")
    assert served(raw.encapsulated(*parts, offsets=[0, 14]), JPEG_2000, frames="2 ") == [
        b"secret",
        b"ofsomebody",
    ]


def test_without_markers_or_table_no_frame_is_certain() -> None:
    table, data, warnings = frames_of(raw.encapsulated(b"secret", b"of", b"somebody"), JPEG_2000, frames="2 ")
    assert table.count == 0
    assert "frame-boundaries-unknown" in warnings
    assert read(data, table.stream_ranges()) == b"secretofsomebody"


def test_as_many_fragments_as_frames_are_one_each_even_if_some_are_damaged() -> None:
    assert served(raw.encapsulated(A, b"damaged!", C), frames="3 ") == [A, b"damaged!", C]


def test_a_partial_offset_table_is_trusted_up_to_its_last_frame() -> None:
    parts = (b"one!", b"two!", b"three!", b"four")
    assert served(raw.encapsulated(*parts, offsets=[0, 12]), JPEG_2000, frames="3 ") == [b"one!"]


def test_numbering_behind_a_glued_frame_is_not_guessed() -> None:
    # The fragment after A is damaged: it may be frame 2, or the rest of frame 1.
    assert served(raw.encapsulated(A, b"damaged!", B), frames="4 ") == []
    assert served(raw.encapsulated(A, B, b"damaged!", C), frames="5 ") == [A]


def test_the_extended_offset_table_groups_fragments() -> None:
    parts = (b"secret", b"of", b"somebody")
    extra = [
        (0x7FE00001, raw.element(0x7FE00001, "OV", pack("<2Q", 0, 14))),
        (0x7FE00002, raw.element(0x7FE00002, "OV", pack("<2Q", 6, 10))),
    ]
    assert served(raw.encapsulated(*parts), JPEG_2000, frames="2 ", extra=extra) == [b"secret", b"ofsomebody"]


def test_rle_frames_are_one_fragment_each() -> None:
    frame = pack("<16L", 1, 64, *[0] * 14) + b"\1ab\0"
    assert served(raw.encapsulated(frame, frame), RLE, frames="2 ") == [frame, frame]
    assert served(raw.encapsulated(frame, frame), RLE, frames="4 ") == [frame, frame]


def test_deflated_image_frames_are_one_fragment_each() -> None:
    assert served(raw.encapsulated(b"abcd", b"ef"), DEFLATED_FRAMES, frames="2 ") == [b"abcd", b"ef"]


def test_video_is_one_stream() -> None:
    table, data, _ = frames_of(raw.encapsulated(b"ftyp", b"moov"), MPEG4, frames="120 ")
    assert (table.count, table.stated_count) == (1, 120)
    assert read(data, table.ranges(1)) == b"ftypmoov"


def test_a_private_transfer_syntax_gives_the_value_and_no_frame() -> None:
    for pixel_data, kind in (
        (raw.element(0x7FE00010, "OB", bytes(6)), "native"),
        (raw.encapsulated(A), "encapsulated"),
    ):
        table, _, _ = frames_of(pixel_data, "1.2.999.1")
        assert (table.kind, table.count) == (kind, 0)
        assert table.bulk_range.length > 0


def test_empty_pixel_data_has_no_frames() -> None:
    assert served(raw.encapsulated()) == []
    assert served(raw.element(0x7FE00010, "OB"), raw.EXPLICIT) == []


@pytest.mark.parametrize("frames", ["2000000000", "9" * 12])
def test_an_absurd_number_of_frames_costs_nothing(frames: str) -> None:
    started = time.perf_counter()
    for pixel_data, syntax in (
        (raw.encapsulated(A, B), JPEG),
        (raw.element(0x7FE00010, "OB", bytes(12)), raw.EXPLICIT),
    ):
        table = frames_of(pixel_data, syntax, frames=frames)[0]
        assert table.count == 2
        assert len(table.pack()) < 60
    assert time.perf_counter() - started < 0.5


def test_an_absurd_offset_table_costs_no_more_than_its_bytes() -> None:
    offsets = range(0, 400_000, 2)
    assert served(raw.encapsulated(A, B, offsets=offsets), frames="2 ") == [A, B]


# Packing


def test_no_pixels_pack_to_nothing() -> None:
    assert FrameTable().pack() == b""
    assert FrameTable.unpack(b"") == FrameTable()
    with pytest.raises(NotFound):
        FrameTable().ranges(1)
    with pytest.raises(NotFound):
        _ = FrameTable().bulk_range


PIXELS = (0x7FE00010, "OB", 1000, 66, 8)
LENGTHS = (10, 300, 6)
GOLDEN = (
    (
        FrameTable("native", EXPLICIT_LITTLE, 0x7FE00010, "OW", 7764, 524288, 16, 1, 1, 4194304),
        "0101034f5710d43c80802010010180808002",
    ),
    (
        FrameTable("encapsulated", IMPLICIT_LITTLE, *PIXELS, 3, 3, 0, 1016, LENGTHS, ()),
        "01020a4f4210e807420803030010030aac0206",
    ),
    (
        FrameTable("encapsulated", EXPLICIT_LITTLE, *PIXELS, 2, 2, 0, 1016, LENGTHS, (2, 1)),
        "0102034f4210e807420802020010030aac02060201",
    ),
    (FrameTable(encoding=EXPLICIT_LITTLE), "010003"),
)


@pytest.mark.parametrize(("table", "packed"), GOLDEN)
def test_the_packed_form_stays_what_stored_indexes_hold(table: FrameTable, packed: str) -> None:
    assert table.pack().hex() == packed
    unpacked = FrameTable.unpack(bytes.fromhex(packed))
    assert unpacked.pack() == table.pack()
    assert [unpacked.ranges(n) for n in range(1, table.count + 1)] == [
        table.ranges(n) for n in range(1, table.count + 1)
    ]


@given(st.lists(st.integers(0, 1 << 33), min_size=1, max_size=60), st.data())
def test_packing_loses_nothing(lengths: list[int], data: st.DataObject) -> None:
    groups: list[int] = []
    while sum(groups) < len(lengths):
        groups.append(data.draw(st.integers(1, len(lengths) - sum(groups))))
    frames = len(groups)
    layout = (5016, tuple(lengths), () if max(groups) == 1 else tuple(groups))
    table = FrameTable(
        "encapsulated", EXPLICIT_LITTLE, 0x7FE00010, "OB", 5000, 1 << 40, 8, frames, frames, 0, *layout
    )
    unpacked = FrameTable.unpack(table.pack())
    assert unpacked == table
    every = [one for number in range(1, table.count + 1) for one in unpacked.ranges(number)]
    assert every == unpacked.stream_ranges()
    assert [one.length for one in every] == lengths


def test_a_thousand_frames_pack_to_a_few_bytes_each() -> None:
    lengths = [20_000 + (number * 7919) % 3000 for number in range(1000)]
    table = FrameTable(
        "encapsulated", EXPLICIT_LITTLE, 0x7FE00010, "OB", 5000, 1 << 30, 8, 1000, 1000, 0, 5016, lengths, ()
    )
    assert len(table.pack()) < 3000


@given(st.binary(min_size=1, max_size=80))
def test_other_bytes_are_no_frame_table(data: bytes) -> None:
    for attempt in (data, b"\1" + data):
        try:
            table = FrameTable.unpack(attempt)
        except CannotProcess:
            continue
        for number in (1, table.count):
            try:
                table.ranges(number)
            except NotFound:
                continue
