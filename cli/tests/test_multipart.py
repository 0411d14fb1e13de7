"""A multipart answer comes apart into exactly the parts it was made of."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from gantry_cli.multipart import read_parts
from gantry_dicom.errors import BadRequest
from hypothesis import given
from hypothesis import strategies as st

TYPE = 'multipart/related; type="application/dicom"; boundary=XX'


def body_of(parts: list[bytes], *, headers: bytes = b"Content-Type: application/dicom\r\n") -> bytes:
    return b"".join(b"--XX\r\n" + headers + b"\r\n" + part + b"\r\n" for part in parts) + b"--XX--\r\n"


def read(content_type: str, chunks: list[bytes]) -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        return [file.read_bytes() for file in read_parts(content_type, chunks, Path(folder))]


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


looks_like_a_boundary = st.sampled_from([b"\r\n", b"--", b"XX", b"\r\n--X", b"-", b"a" * 50, b"\0"])
contents = (
    st.lists(looks_like_a_boundary, max_size=8).map(b"".join).filter(lambda data: b"\r\n--XX" not in data)
)


@given(parts=st.lists(contents, max_size=4), size=st.integers(1, 70), with_headers=st.booleans())
def test_parts_come_back_however_the_body_is_cut(parts: list[bytes], size: int, with_headers: bool):
    headers = b"Content-Type: application/dicom\r\nContent-Location: a\r\n" if with_headers else b""
    assert read(TYPE, cut(body_of(parts, headers=headers), size)) == parts


def test_a_quoted_boundary_and_a_preamble_are_understood():
    data = b"ignore me\r\n" + body_of([b"one", b"two"])
    assert read('multipart/related; boundary="XX"', [data]) == [b"one", b"two"]


def test_a_single_part_answer_is_one_instance():
    assert read("application/dicom", [b"ab", b"cd"]) == [b"abcd"]


@pytest.mark.parametrize("end", [5, 40, -6])
def test_an_answer_that_ends_early_is_an_error(end: int):
    with pytest.raises(BadRequest, match="ends in the middle"):
        read(TYPE, [body_of([b"0123456789"])[:end]])


@pytest.mark.parametrize("content_type", ["text/html", "", "multipart/related"])
def test_another_type_is_an_error(content_type: str):
    with pytest.raises(BadRequest, match="not DICOM"):
        read(content_type, [b"x"])
