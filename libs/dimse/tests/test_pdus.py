"""PDUs byte for byte, and against pynetdicom's reading of them."""

import pytest
from gantry_dimse.errors import BadPdu
from gantry_dimse.negotiation import (
    Abort,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    AsyncWindow,
    CommonExtendedNegotiation,
    ContextAnswer,
    ExtendedNegotiation,
    ProposedContext,
    RoleSelection,
    UserIdentity,
    UserInformation,
)
from gantry_dimse.pdus import (
    RELEASE_RP,
    RELEASE_RQ,
    decode_abort,
    decode_accept,
    decode_reject,
    decode_request,
    encode_abort,
    encode_accept,
    encode_reject,
    encode_request,
)
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom import pdu as their_pdus

TITLES = b"ARCHIVE         " + b"MODALITY        "
# Every item there is, as PS3.8 9.3.2 and PS3.7 D.3.3 lay it out.
REQUEST_BYTES = bytes.fromhex("0100 0000011d 0001 0000") + TITLES + bytes(32) + bytes.fromhex(
    "1000 0015" + b"1.2.840.10008.3.1.1.1".hex()
    + "2000 002e 01000000"
    + "3000 0011" + b"1.2.840.10008.1.1".hex()
    + "4000 0011" + b"1.2.840.10008.1.2".hex()
    + "2000 001e 03000000"
    + "3000 0007" + b"1.2.3.4".hex()
    + "4000 0003" + b"1.2".hex()
    + "4000 0004" + b"1.22".hex()
    + "5000 0068"
    + "5100 0004 00040000"
    + "5200 0005" + b"1.2.9".hex()
    + "5300 0004 0008 0001"
    + "5400 000b 0007" + b"1.2.3.4".hex() + "00 01"
    + "5500 0006" + b"GANTRY".hex()
    + "5600 000b 0007" + b"1.2.3.4".hex() + "0101"
    + "5700 0013 0007" + b"1.2.3.4".hex() + "0003" + b"4.2".hex() + "0003 0001" + b"9".hex()
    + "5800 000c 02 01 0004" + b"user".hex() + "0002" + b"pw".hex()
)  # fmt: skip
REQUEST = AssociateRequest(
    "ARCHIVE",
    "MODALITY",
    (
        ProposedContext(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",)),
        ProposedContext(3, "1.2.3.4", ("1.2", "1.22")),
    ),
    UserInformation(
        0x40000,
        "1.2.9",
        "GANTRY",
        AsyncWindow(8, 1),
        (RoleSelection("1.2.3.4", scu=False, scp=True),),
        (ExtendedNegotiation("1.2.3.4", b"\x01\x01"),),
        (CommonExtendedNegotiation("1.2.3.4", "4.2", ("9",)),),
        UserIdentity(2, b"user", b"pw", response_requested=True),
    ),
)
ACCEPT_BYTES = bytes.fromhex("0200 000000ad 0001 0000") + TITLES + bytes(32) + bytes.fromhex(
    "1000 0015" + b"1.2.840.10008.3.1.1.1".hex()
    + "2100 0019 01000000 4000 0011" + b"1.2.840.10008.1.2".hex()
    + "2100 000b 03000300 4000 0003" + b"1.2".hex()
    + "5000 0020"
    + "5100 0004 00004000"
    + "5200 0005" + b"1.2.9".hex()
    + "5500 0001" + b"G".hex()
    + "5900 0006 0004" + b"okay".hex()
)  # fmt: skip
ACCEPT = AssociateAccept(
    "ARCHIVE",
    "MODALITY",
    (ContextAnswer(1, 0, "1.2.840.10008.1.2"), ContextAnswer(3, 3, "1.2")),
    UserInformation(0x4000, "1.2.9", "G", identity_response=b"okay"),
)


def test_a_request_is_written_and_read_byte_for_byte():
    assert encode_request(REQUEST).hex() == REQUEST_BYTES.hex()
    assert decode_request(REQUEST_BYTES[6:]) == REQUEST


def test_an_acceptance_is_written_and_read_byte_for_byte():
    assert encode_accept(ACCEPT).hex() == ACCEPT_BYTES.hex()
    assert decode_accept(ACCEPT_BYTES[6:]) == ACCEPT


def test_short_pdus_byte_for_byte():
    assert encode_reject(AssociateReject(1, 3, 2)) == bytes.fromhex("0300 00000004 00 01 03 02")
    assert decode_reject(bytes.fromhex("00010302")) == AssociateReject(1, 3, 2)
    assert encode_abort(Abort(2, 6)) == bytes.fromhex("0700 00000004 0000 02 06")
    assert decode_abort(bytes.fromhex("00000206")) == Abort(2, 6)
    assert bytes.fromhex("0500 00000004 00000000") == RELEASE_RQ
    assert bytes.fromhex("0600 00000004 00000000") == RELEASE_RP


def test_pynetdicom_reads_what_we_write_and_writes_what_we_read():
    request = their_pdus.A_ASSOCIATE_RQ()
    request.decode(encode_request(REQUEST))
    assert (request.called_ae_title.strip(), request.calling_ae_title.strip()) == ("ARCHIVE", "MODALITY")
    assert [c.context_id for c in request.presentation_context] == [1, 3]
    assert decode_request(request.encode()[6:]) == REQUEST
    accept = their_pdus.A_ASSOCIATE_AC()
    accept.decode(encode_accept(ACCEPT))
    assert [c.result for c in accept.presentation_context] == [0, 3]


def test_secrets_are_not_shown():
    assert "pw" not in repr(REQUEST)
    assert "okay" not in repr(ACCEPT)


def test_unknown_items_are_passed_over():
    odd = encode_request(REQUEST)[6:] + bytes.fromhex("9900 0003 010203")
    assert decode_request(odd) == REQUEST


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.replace(bytes.fromhex("0100000030000011"), bytes.fromhex("0200000030000011")),
        lambda data: data.replace(bytes.fromhex("0300000030000007"), bytes.fromhex("0100000030000007")),
        lambda data: data.replace(bytes.fromhex("5100000400040000"), bytes.fromhex("5100000400000010")),
        lambda data: data.replace(bytes.fromhex("530000040008"), bytes.fromhex("530000030008")),
        lambda data: data[:-1],
        lambda data: data[:60],
    ],
    ids=["even number", "number twice", "maximum length of 16", "short window", "cut off", "no fixed part"],
)
def test_an_illegal_request_is_refused(spoil):
    data = encode_request(REQUEST)[6:]
    assert spoil(data) != data
    with pytest.raises(BadPdu):
        decode_request(spoil(data))


uids = st.text("0123456789.", min_size=1, max_size=64)
titles = st.text("ABCDEF_0123", min_size=1, max_size=16)
requests = st.builds(
    AssociateRequest,
    titles,
    titles,
    st.lists(
        st.builds(
            ProposedContext,
            st.integers(0, 127).map(lambda n: 2 * n + 1),
            uids,
            st.lists(uids, min_size=1, max_size=4).map(tuple),
        ),
        max_size=5,
        unique_by=lambda context: context.context_id,
    ).map(tuple),
    st.builds(
        UserInformation,
        st.sampled_from([0, 128, 1 << 32 - 1]),
        uids,
        st.text("ABC", max_size=16),
        st.none() | st.builds(AsyncWindow, st.integers(0, 65535), st.integers(0, 65535)),
        st.lists(st.builds(RoleSelection, uids, st.booleans(), st.booleans()), max_size=3).map(tuple),
        st.lists(st.builds(ExtendedNegotiation, uids, st.binary(max_size=20)), max_size=3).map(tuple),
        st.lists(
            st.builds(CommonExtendedNegotiation, uids, uids, st.lists(uids, max_size=3).map(tuple)),
            max_size=2,
        ).map(tuple),
        st.none()
        | st.builds(
            UserIdentity, st.integers(1, 5), st.binary(max_size=99), st.binary(max_size=9), st.booleans()
        ),
    ),
)


@given(requests)
def test_what_is_written_is_read_again(request):
    assert decode_request(encode_request(request)[6:]) == request


@given(st.binary(max_size=400), st.integers(0, 300), st.binary(max_size=8))
def test_garbage_is_refused_and_nothing_else(garbage, position, patch):
    data = encode_request(REQUEST)[6:]
    for body in (garbage, data[:position] + patch + data[position + len(patch) :], data[:position]):
        for decode in (decode_request, decode_accept):
            try:
                decode(body)
            except BadPdu:
                continue
