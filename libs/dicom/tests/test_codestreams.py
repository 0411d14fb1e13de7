"""The transfer syntax that a codestream is really in, checked on files that are labelled rightly."""

from __future__ import annotations

from struct import pack

import pytest
from gantry_dicom.codestreams import true_transfer_syntax
from gantry_dicom.elements import EXPLICIT_LITTLE, fragments, walk
from gantry_dicom.transfer_syntaxes import lookup
from gantry_testing import datapack

FAMILIES = {
    "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.203", "1.2.840.10008.1.2.5",
}  # fmt: skip
LABELLED = [file for file in datapack.files("good") if file.entry["transfer_syntax"] in FAMILIES]
# Without a label a reversible JPEG 2000 stream is only known to be JPEG 2000, and a frame in a
# process that its syntax merely allows is given the narrower one.
WITHOUT_LABEL = {
    "1.2.840.10008.1.2.4.51": {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"},
    "1.2.840.10008.1.2.4.57": {"1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"},
    "1.2.840.10008.1.2.4.81": {"1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"},
    "1.2.840.10008.1.2.4.90": {"1.2.840.10008.1.2.4.91"},
    "1.2.840.10008.1.2.4.201": {"1.2.840.10008.1.2.4.203"},
}


@pytest.mark.parametrize("file", LABELLED, ids=str)
def test_a_true_label_is_kept_and_a_missing_one_is_found(file: datapack.DataFile) -> None:
    data = file.read()
    start = 144 + int.from_bytes(data[140:144], "little")
    pixels = [e for e in walk(data, start, len(data), EXPLICIT_LITTLE) if e.tag == 0x7FE00010]
    if not pixels:
        pytest.skip("no pixel data")
    first = list(fragments(data, pixels[0], EXPLICIT_LITTLE))[1]
    uid = file.entry["transfer_syntax"]
    assert true_transfer_syntax(data, first.start, first.end, lookup(uid)) == uid
    assert true_transfer_syntax(data, first.start, first.end, None) in WITHOUT_LABEL.get(uid, {uid})


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe0\x00\x02",
        b"\xff\xd8\xff\xe0\xff\xff",
        b"\xff\xd8\xff\xe0\x00\x00" * 3,
        b"\xff\xd8\xff\xf7\x00\x02\xff\xda\x00\x03\xff",
        b"\xff\x4f\xff\x51\x00\x02",
        b"\xff\x4f\xff\x51" + pack(">HH", 4, 0x8000),
        b"\x00\x00\x00\x0cjP  \r\n\x87\n",
        bytes(64),
    ],
)
def test_a_stream_that_does_not_say_is_not_guessed(stream: bytes) -> None:
    assert true_transfer_syntax(stream, 0, len(stream), None) is None
    assert true_transfer_syntax(stream, 0, len(stream), lookup("1.2.840.10008.1.2.4.70")) is None
