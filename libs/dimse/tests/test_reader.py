"""The reader of PDUs: any splits, any bytes, bounded memory."""

import itertools
import struct
import tracemalloc

import pytest
from gantry_dimse.errors import BadPdu
from gantry_dimse.limits import Limits
from gantry_dimse.messages import pdus_of
from gantry_dimse.negotiation import AbortReason
from gantry_dimse.pdus import RELEASE_RP, RELEASE_RQ
from gantry_dimse.reader import COMMAND, LAST, PduReader
from hypothesis import given
from hypothesis import strategies as st

LIMITS = Limits(maximum_pdu_bytes=1000, maximum_request_bytes=500)


class Collector:
    """Notes what comes, pieces of one fragment joined."""

    def __init__(self):
        self.seen = []
        self.fragment_open = False

    def data_begins(self):
        self.seen.append("data")

    def fragment(self, context_id, control, piece, *, ends):
        if self.fragment_open:
            self.seen[-1][2] += bytes(piece)
        else:
            self.seen.append([context_id, control, bytes(piece)])
        self.fragment_open = not ends

    def pdu(self, kind, body):
        self.seen.append((kind, body))


def read(chunks):
    collector = Collector()
    reader = PduReader(collector, LIMITS)
    error = None
    try:
        for chunk in chunks:
            reader.feed(memoryview(chunk))
    except BadPdu as raised:
        error = raised.reason
    return collector.seen, error


def pdv(context_id, control, data):
    return struct.pack(">LBB", len(data) + 2, context_id, control) + data


def p_data(*values):
    body = b"".join(values)
    return struct.pack(">BxL", 4, len(body)) + body


PDUS = [
    p_data(pdv(1, 3, b"command"), pdv(1, 0, b"d" * 300), pdv(1, 2, b"")),
    RELEASE_RQ,
    p_data(pdv(3, 2, b"x")),
    RELEASE_RP,
]
STREAM = b"".join(PDUS)
SEEN = [
    "data", [1, 3, b"command"], [1, 0, b"d" * 300], [1, 2, b""], (5, bytes(4)),
    "data", [3, 2, b"x"], (6, bytes(4)),
]  # fmt: skip


def test_several_values_in_a_pdu_are_told_apart():
    assert read([STREAM]) == (SEEN, None)


@given(st.lists(st.integers(0, len(STREAM)), max_size=30))
def test_it_does_not_matter_how_the_stream_is_cut(cuts):
    edges = [0, *sorted(cuts), len(STREAM)]
    assert read([STREAM[a:b] for a, b in itertools.pairwise(edges)]) == (SEEN, None)


@given(st.integers(0, len(STREAM) - 1))
def test_a_stream_that_ends_early_gives_what_came(length):
    seen, error = read([STREAM[:length]])
    assert error is None
    assert len(seen) <= len(SEEN)


@given(st.lists(st.binary(max_size=60), max_size=8), st.integers(0, len(STREAM)))
def test_garbage_ends_in_bad_pdu_or_waits_for_more(chunks, begins):
    whole = [STREAM[:begins], *chunks]
    one, error = read([b"".join(whole)])
    several, same = read(whole)
    assert (one, error) == (several, same)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n", AbortReason.UNRECOGNIZED_PDU),
        (struct.pack(">BxL", 4, 0xFFFFFFFF), AbortReason.INVALID_PDU_PARAMETER),
        (struct.pack(">BxL", 4, 1001), AbortReason.INVALID_PDU_PARAMETER),
        (struct.pack(">BxL", 4, 5), AbortReason.INVALID_PDU_PARAMETER),
        (struct.pack(">BxL", 1, 501), AbortReason.INVALID_PDU_PARAMETER),
        (struct.pack(">BxL", 1, 67), AbortReason.INVALID_PDU_PARAMETER),
        (struct.pack(">BxL", 7, 5), AbortReason.INVALID_PDU_PARAMETER),
        (struct.pack(">BxLLBB", 4, 8, 5, 1, 3), AbortReason.INVALID_PDU_PARAMETER),
        (struct.pack(">BxLLBB", 4, 8, 0xFFFFFFFF, 1, 3), AbortReason.INVALID_PDU_PARAMETER),
        (struct.pack(">BxLLBB", 4, 8, 1, 1, 3), AbortReason.INVALID_PDU_PARAMETER),
        (struct.pack(">BxLLBB", 4, 8, 2, 1, 3), AbortReason.INVALID_PDU_PARAMETER),
    ],
    ids=["HTTP", "4 GB", "too long", "no value", "long request", "short request", "long abort",
         "value too long", "value of 4 GB", "value too short", "rest too short"],
)  # fmt: skip
def test_what_is_no_pdu_is_refused_at_its_head(data, reason):
    assert read([data])[1] is reason
    assert read([data[n : n + 1] for n in range(len(data))])[1] is reason


def test_a_pdu_that_declares_4_gb_allocates_nothing():
    tracemalloc.start()
    try:
        read([struct.pack(">BxL", 4, 0xFFFFFFF0)])
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=3000), st.integers(128, 900), st.booleans())
def test_what_is_cut_into_pdus_is_put_together_again(data, longest, last):
    control = COMMAND | (LAST if last else 0)
    parts = list(pdus_of(5, data, control, longest))
    seen, error = read([b"".join(parts)])
    assert error is None
    values = [each for each in seen if each != "data"]
    assert b"".join(value for _, _, value in values) == data
    assert [each[1] & LAST for each in values] == [0] * (len(values) - 1) + [LAST if last else 0]
    assert all(len(value) <= longest - 6 for _, _, value in values)


def test_being_in_the_middle_of_a_pdu_is_known():
    reader = PduReader(Collector(), LIMITS)
    outside = [0]
    for n in range(len(STREAM)):
        reader.feed(memoryview(STREAM[n : n + 1]))
        if not reader.mid_pdu:
            outside.append(n + 1)
    assert outside == [0, *itertools.accumulate(map(len, PDUS))]
    assert reader.pdus == len(PDUS)
