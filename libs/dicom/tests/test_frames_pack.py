"""Frame ranges of the shared pack against the hashes in its manifest."""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter

import pytest
from gantry_dicom.codestreams import recognise
from gantry_dicom.elements import EXPLICIT_LITTLE, walk
from gantry_dicom.errors import NotFound
from gantry_dicom.frames import FrameTable
from gantry_dicom.gate import Refused, admit
from gantry_dicom.pixel_layout import LAYOUT_TAGS, build_layout
from gantry_dicom.transfer_syntaxes import Codestream, lookup
from gantry_testing import datapack

UNCOMPRESSED = "stored bytes, little endian, stored planar configuration"
ONE_BIT = "bits unpacked to one byte (0/1) per pixel"


def _admitted(file: datapack.DataFile) -> tuple[FrameTable, bytes] | None:
    data = file.read()
    try:
        admission = admit(data)
    except Refused:
        return None
    stored = data if admission.meta is None else admission.meta + data[admission.data_set_offset :]
    table = FrameTable.unpack(admission.frame_table)
    if table.kind == "deflated":
        stored = zlib.decompressobj(-15).decompress(stored[admission.meta_length :])
    return table, stored


def _frame(table: FrameTable, stored: bytes, number: int) -> bytes:
    content = b"".join(stored[offset : offset + length] for offset, length in table.ranges(number))
    if table.kind == "encapsulated":
        return content
    frame = table.native_frame(number, content)
    if table.bits_allocated == 1:
        bits = int.from_bytes(frame, "little")
        return bytes(bits >> at & 1 for at in range(table.frame_bits))
    return frame


def _with_hashes(kind: str) -> list[datapack.DataFile]:
    return [
        file
        for file in datapack.files()
        if (file.entry.get("pixels") or {}).get("bytes") == kind and file.entry["pixels"].get("frames_sha256")
    ]


@pytest.mark.parametrize("file", [*_with_hashes(UNCOMPRESSED), *_with_hashes(ONE_BIT)], ids=str)
def test_uncompressed_frames_are_the_bytes_that_two_other_readers_agree_on(file: datapack.DataFile) -> None:
    found = _admitted(file)
    if found is None:
        pytest.skip("refused by the gate; test_gate_pack names it")
    table, stored = found
    pixels = file.entry["pixels"]
    if table.kind == "encapsulated":
        pytest.skip("encapsulated uncompressed: frames are compared by the decoders' tests")
    hashes = [hashlib.sha256(_frame(table, stored, n)).hexdigest() for n in range(1, table.count + 1)]
    stated = pixels["frames_sha256"]
    listed = hashes if len(stated) == len(hashes) else [*hashes[:4], *hashes[-2:]]
    assert listed == stated


@pytest.mark.parametrize(
    "file", [file for file in datapack.files() if (file.entry.get("image") or {}).get("rows")], ids=str
)
def test_every_image_serves_as_many_frames_as_it_states(file: datapack.DataFile) -> None:
    found = _admitted(file)
    if found is None:
        pytest.skip("refused by the gate; test_gate_pack names it")
    table = found[0]
    if table.kind == "none":
        assert file.name in WITHOUT_PIXELS
        return
    stated = file.entry["image"].get("frames")
    expected = FEWER.get(file.name, stated if isinstance(stated, int) and stated > 0 else 1)
    if table.kind == "encapsulated" and file.entry["transfer_syntax"].startswith("1.2.840.10008.1.2.4.10"):
        expected = 1
    assert table.count == expected
    with pytest.raises(NotFound):
        table.ranges(table.count + 1)
    for number in range(1, min(table.count, 50) + 1):
        for offset, length in table.ranges(number):
            assert table.value_offset <= offset <= offset + length <= table.value_offset + table.value_length


# Rows and Columns without pixel data.
WITHOUT_PIXELS = {
    "charset/chrJapMulti.dcm",
    "charset/chrJapMultiExplicitIR6.dcm",
    "charset/chrKoreanMulti.dcm",
}

# Files that cannot serve the frames they state (see the notes in the pack's manifest).
FEWER: dict[str, int] = {
    "made/broken/bits_nonsense.dcm": 0,
    "made/broken/dims_65535.dcm": 0,
    "made/broken/frames_huge.dcm": 2,
    "made/broken/frames_missing.dcm": 1,
    "made/broken/pixels_short_but_consistent.dcm": 0,
    "made/odd/private_transfer_syntax.dcm": 0,
}


def test_compressed_frames_begin_with_a_codestream() -> None:
    seen: Counter[str] = Counter()
    for file in datapack.files("good"):
        syntax = lookup(file.entry["transfer_syntax"] or "")
        found = _admitted(file)
        if found is None or syntax is None or found[0].kind != "encapsulated":
            continue
        if syntax.codestream in (Codestream.VIDEO, Codestream.FRAGMENT):
            continue
        table, stored = found
        for number in range(1, table.count + 1):
            first = table.ranges(number)[0]
            family = recognise(stored[first.offset : first.offset + 12])
            assert family is not Codestream.NONE, file.name
            seen[family.value] += 1
    assert {"jpeg", "jpeg-2000", "rle"} <= set(seen)


def test_frames_of_a_multi_frame_jpeg_2000_image_are_whole_codestreams() -> None:
    """The gate refuses the file for its UID of 67 characters; its frames can still be found."""
    file = next(
        file for file in datapack.files() if file.name == "weasis/jpeg2000-multiframe-multifragments.dcm"
    )
    data = file.read()
    start = 144 + int.from_bytes(data[140:144], "little")
    elements = {element.tag: element for element in walk(data, start, len(data), EXPLICIT_LITTLE)}
    found = {tag: element for tag, element in elements.items() if tag in LAYOUT_TAGS}
    syntax = lookup("1.2.840.10008.1.2.4.91")
    table = build_layout(data, elements[0x7FE00010], found, EXPLICIT_LITTLE, syntax).table
    assert table.count == table.stated_count == 19
    for number in range(1, 20):
        frame = b"".join(data[offset : offset + length] for offset, length in table.ranges(number))
        assert frame.startswith(b"\xff\x4f\xff\x51")
        assert frame.rstrip(b"\0").endswith(b"\xff\xd9")


def test_wrong_offset_tables_serve_the_true_frames() -> None:
    reference: list[bytes] | None = None
    files = {file.name: file for file in datapack.files("broken")}
    for name in (
        "made/broken/bot_wrong.dcm",
        "made/broken/bot_out_of_range.dcm",
        "made/broken/frames_huge.dcm",
    ):
        found = _admitted(files[name])
        assert found is not None
        table, stored = found
        frames = [_frame(table, stored, number) for number in (1, 2)]
        assert all(frame.startswith(b"\xff\x4f\xff\x51") for frame in frames)
        reference = reference or frames
        assert frames == reference
