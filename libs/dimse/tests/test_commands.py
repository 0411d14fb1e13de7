"""Command sets byte for byte, and whatever else may come as one."""

import struct
from dataclasses import fields

import pytest
from gantry_dimse.commands import _ELEMENTS, Command, CommandField, decode_command, encode_command
from gantry_dimse.entity import Response, answer_to
from gantry_dimse.errors import BadPdu
from hypothesis import given
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR

STORE_RSP = bytes.fromhex(
    "0000 0000 04000000 42000000"
    "0000 0200 08000000" + b"1.2.3.4\0".hex()
    + "0000 0001 02000000 0180"
    + "0000 2001 02000000 0700"
    + "0000 0008 02000000 0101"
    + "0000 0009 02000000 00a7"
    + "0000 0010 02000000" + b"1\0".hex()
)  # fmt: skip


def test_an_answer_is_written_and_read_byte_for_byte():
    request = Command(
        CommandField.C_STORE,
        affected_sop_class_uid="1.2.3.4",
        message_id=7,
        priority=0,
        command_data_set_type=1,
        affected_sop_instance_uid="1",
    )
    answer = answer_to(request, Response(0xA700))
    assert encode_command(answer).hex() == STORE_RSP.hex()
    assert decode_command(STORE_RSP) == answer
    assert (answer.name, request.name) == ("C-STORE-RSP", "C-STORE-RQ")


def test_every_field_is_written_and_is_what_the_dictionary_says():
    assert set(_ELEMENTS) == {each.name for each in fields(Command)}
    assert dict(_ELEMENTS.values()) == {element: dictionary_VR(element) for element, _ in _ELEMENTS.values()}


commands = st.builds(
    Command,
    st.sampled_from([*CommandField, *(field | 0x8000 for field in CommandField)]),
    message_id=st.integers(0, 65535),
    message_id_being_responded_to=st.integers(0, 65535),
    affected_sop_class_uid=st.none() | st.text("0123456789.", min_size=1, max_size=64),
    move_destination=st.none() | st.text("ABC_1", min_size=1, max_size=16),
    status=st.none() | st.integers(0, 65535),
    offending_element=st.none() | st.lists(st.integers(0, 0xFFFFFFFF), min_size=1, max_size=3).map(tuple),
    error_comment=st.none() | st.text("abc", min_size=1, max_size=64),
    number_of_failed_suboperations=st.none() | st.integers(0, 65535),
)


@given(commands)
def test_what_is_written_is_read_again(command):
    data = encode_command(command)
    assert struct.unpack_from("<L", data, 8)[0] == len(data) - 12
    assert decode_command(data) == command


@given(st.binary(max_size=200), st.integers(0, len(STORE_RSP)), st.binary(max_size=4))
def test_garbage_is_refused_and_nothing_else(garbage, position, patch):
    spoiled = STORE_RSP[:position] + patch + STORE_RSP[position + len(patch) :]
    for data in (garbage, spoiled, STORE_RSP[:position]):
        try:
            decode_command(data)
        except BadPdu:
            continue


@pytest.mark.parametrize(
    "command",
    [
        Command(CommandField.C_ECHO),
        Command(CommandField.C_ECHO | 0x8000, message_id=1),
        Command(CommandField.C_CANCEL, message_id=1),
    ],
    ids=["request without id", "answer to nothing", "cancel of nothing"],
)
def test_a_command_that_cannot_be_told_apart_is_refused(command):
    with pytest.raises(BadPdu):
        decode_command(encode_command(command))


def test_a_long_comment_is_cut_to_what_its_vr_allows():
    assert (
        len(decode_command(encode_command(Command(1, message_id=1, error_comment="x" * 99))).error_comment)
        == 64
    )
