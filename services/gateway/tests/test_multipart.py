"""multipart/related: reading hostile bodies, writing safe ones (case O-14, O-15; S11, S12)."""

import contextlib
from email import message_from_bytes

import pytest
from gantry_dicom.errors import BadRequest
from gantry_gateway.multipart import (
    MultipartReader,
    PartData,
    PartEnded,
    PartStarted,
    closing,
    new_boundary,
    part_head,
)
from hypothesis import given
from hypothesis import strategies as st


def read(body, boundary, step):
    reader = MultipartReader(boundary)
    parts = []
    for start in range(0, len(body), step):
        for event in reader.feed(body[start : start + step]):
            if isinstance(event, PartStarted):
                parts.append((event.headers, bytearray()))
            elif isinstance(event, PartData):
                parts[-1][1].extend(event.data)
            else:
                assert isinstance(event, PartEnded)
    reader.finish()
    return [(headers, bytes(data)) for headers, data in parts]


def body_of(parts, boundary):
    pieces = []
    for number, data in enumerate(parts):
        pieces += [part_head(boundary, {"Content-Type": "application/dicom"}, first=number == 0), data]
    return b"".join([*pieces, closing(boundary)])


@given(
    st.lists(st.binary(max_size=300), min_size=1, max_size=5),
    st.integers(1, 400),
    st.from_regex(r"[0-9A-Za-z'()+_,\-./:=?]{1,70}", fullmatch=True),
)
def test_what_is_written_is_read_back_whatever_the_chunks(parts, step, boundary):
    delimiter = b"--" + boundary.encode()
    if any(delimiter in data for data in parts):
        return
    found = read(body_of(parts, boundary), boundary, step)
    assert [data for _, data in found] == parts


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_preamble_and_epilogue_are_ignored(step):
    body = b"text before\r\n" + body_of([b"abc"], "b") + b"\r\ntext after --b\r\n"
    assert read(body, "b", step) == [({"content-type": "application/dicom"}, b"abc")]


@pytest.mark.parametrize("step", [1, 5, 1000])
def test_a_boundary_inside_the_data_does_not_split_the_part(step):
    data = b"x--b y\r\n-b\r\n--c--b--"
    assert read(body_of([data], "b"), "b", step)[0][1] == data


def test_header_names_are_lower_case_and_values_trimmed():
    body = b"--b\r\nCONTENT-Type:  application/dicom \r\nX-Y: z\r\n\r\nd\r\n--b--\r\n"
    assert read(body, "b", 1000)[0][0] == {"content-type": "application/dicom", "x-y": "z"}


@pytest.mark.parametrize(
    "body",
    [b"", b"no delimiter at all", b"--b--\r\n", b"--b\r\n\r\ndata that never ends", b"--b\r\nbroken"],
)
def test_a_body_without_a_whole_part_is_the_callers_error(body):
    with pytest.raises(BadRequest):
        read(body, "b", 1000)


@pytest.mark.parametrize("boundary", ["", "x" * 71, "ü"])
def test_an_impossible_boundary_is_refused(boundary):
    with pytest.raises(BadRequest):
        MultipartReader(boundary)


def feed_for_ever(reader, chunk):
    for _ in range(1000):
        reader.feed(chunk)


def test_endless_part_headers_are_refused():
    reader = MultipartReader("b")
    reader.feed(b"--b\r\n")
    with pytest.raises(BadRequest):
        feed_for_ever(reader, b"A: " + b"z" * 1000 + b"\r\n")


def test_an_endless_preamble_is_refused_in_bounded_memory():
    reader = MultipartReader("b")
    with pytest.raises(BadRequest):
        feed_for_ever(reader, b"x" * 1000)


@given(st.binary(max_size=500), st.integers(1, 50))
def test_no_body_crashes_the_reader(body, step):
    with contextlib.suppress(BadRequest):
        read(b"--b\r\n" + body, "b", step)


# Pieces of which bodies are made, right ones and near misses.
PIECES = st.lists(
    st.sampled_from(
        [
            *(b"--b", b"--b--", b"--c", b"--", b"-", b"\r\n", b"\r", b"\n", b" ", b"\0", b"data"),
            *(b"Content-Type: application/dicom", b"Name:", b": value"),
        ]
    ),
    max_size=30,
).map(b"".join)


def read_or_refused(body, step):
    try:
        return read(body, "b", step)
    except BadRequest:
        return None


@given(PIECES, st.integers(1, 20))
def test_it_does_not_matter_how_a_body_is_cut(body, step):
    assert read_or_refused(body, step) == read_or_refused(body, len(body) + 1)


def test_two_bodies_never_share_a_boundary():
    assert len({new_boundary() for _ in range(1000)}) == 1000


def test_a_written_body_is_standard_mime():
    boundary = new_boundary()
    head = f'Content-Type: multipart/related; type="application/dicom"; boundary={boundary}\r\n\r\n'.encode()
    message = message_from_bytes(head + body_of([b"one", b"two"], boundary))
    assert [part.get_payload(decode=True) for part in message.get_payload()] == [b"one", b"two"]
