"""Command sets: Implicit VR Little Endian, group 0000 only (PS3.7 6.3.1, Annex E)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from gantry_dimse.errors import BadPdu


class CommandField(IntEnum):
    """Requests (PS3.7 E.1-1); an answer has the highest bit set, C-CANCEL has none."""

    C_STORE = 0x0001
    C_GET = 0x0010
    C_FIND = 0x0020
    C_MOVE = 0x0021
    C_ECHO = 0x0030
    N_EVENT_REPORT = 0x0100
    N_GET = 0x0110
    N_SET = 0x0120
    N_ACTION = 0x0130
    N_CREATE = 0x0140
    N_DELETE = 0x0150
    C_CANCEL = 0x0FFF


RESPONSE = 0x8000
NO_DATA_SET = 0x0101
DATA_SET = 0x0001
MEDIUM, HIGH, LOW = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Command:
    """A command set; what is not in it is ``None``. Fields bear the keywords of PS3.7 E.1."""

    command_field: int
    affected_sop_class_uid: str | None = None
    requested_sop_class_uid: str | None = None
    message_id: int | None = None
    message_id_being_responded_to: int | None = None
    move_destination: str | None = None
    priority: int | None = None
    command_data_set_type: int = NO_DATA_SET
    status: int | None = None
    offending_element: tuple[int, ...] | None = None
    error_comment: str | None = None
    error_id: int | None = None
    affected_sop_instance_uid: str | None = None
    requested_sop_instance_uid: str | None = None
    event_type_id: int | None = None
    attribute_identifier_list: tuple[int, ...] | None = None
    action_type_id: int | None = None
    number_of_remaining_suboperations: int | None = None
    number_of_completed_suboperations: int | None = None
    number_of_failed_suboperations: int | None = None
    number_of_warning_suboperations: int | None = None
    move_originator_application_entity_title: str | None = None
    move_originator_message_id: int | None = None

    @property
    def is_response(self) -> bool:
        """Whether it answers another command."""
        return bool(self.command_field & RESPONSE)

    @property
    def has_data_set(self) -> bool:
        """Whether a data set follows (PS3.7 9.1: any value but 0101H)."""
        return self.command_data_set_type != NO_DATA_SET

    @property
    def name(self) -> str:
        """The name of the service and -RQ or -RSP, as "C-STORE-RQ"; for logs."""
        field = self.command_field & ~RESPONSE
        service = CommandField(field).name.replace("_", "-") if field in set(CommandField) else f"{field:04X}"
        return f"{service}-{'RSP' if self.is_response else 'RQ'}"


# PS3.7 E.1: the element of each field and its VR, in the order they are written.
_ELEMENTS: dict[str, tuple[int, str]] = {
    "affected_sop_class_uid": (0x0002, "UI"),
    "requested_sop_class_uid": (0x0003, "UI"),
    "command_field": (0x0100, "US"),
    "message_id": (0x0110, "US"),
    "message_id_being_responded_to": (0x0120, "US"),
    "move_destination": (0x0600, "AE"),
    "priority": (0x0700, "US"),
    "command_data_set_type": (0x0800, "US"),
    "status": (0x0900, "US"),
    "offending_element": (0x0901, "AT"),
    "error_comment": (0x0902, "LO"),
    "error_id": (0x0903, "US"),
    "affected_sop_instance_uid": (0x1000, "UI"),
    "requested_sop_instance_uid": (0x1001, "UI"),
    "event_type_id": (0x1002, "US"),
    "attribute_identifier_list": (0x1005, "AT"),
    "action_type_id": (0x1008, "US"),
    "number_of_remaining_suboperations": (0x1020, "US"),
    "number_of_completed_suboperations": (0x1021, "US"),
    "number_of_failed_suboperations": (0x1022, "US"),
    "number_of_warning_suboperations": (0x1023, "US"),
    "move_originator_application_entity_title": (0x1030, "AE"),
    "move_originator_message_id": (0x1031, "US"),
}

_HEAD = struct.Struct("<HHL")
_GROUP_LENGTH = struct.Struct("<HHLL")
_US = struct.Struct("<H")
_TAG = struct.Struct("<HH")
# PS3.7 E.1: Error Comment is an LO, of which 64 characters are allowed.
_LONGEST_COMMENT = 64


def _read_us(value: bytes) -> int:
    (number,) = _US.unpack(value)
    return int(number)


def _read_tags(value: bytes) -> tuple[int, ...]:
    return tuple(group << 16 | element for group, element in _TAG.iter_unpack(value))


def _read_text(value: bytes) -> str:
    return value.decode("latin-1").strip("\0 ")


def _write_uid(value: str) -> bytes:
    data = value.encode("latin-1", "replace")
    return data + b"\0" if len(data) % 2 else data


def _write_text(value: str) -> bytes:
    data = value.encode("latin-1", "replace")[:_LONGEST_COMMENT]
    return data + b" " if len(data) % 2 else data


def _write_tags(tags: tuple[int, ...]) -> bytes:
    return b"".join(_TAG.pack(tag >> 16, tag & 0xFFFF) for tag in tags)


_READERS: dict[str, Callable[[bytes], Any]] = {
    "UI": _read_text,
    "US": _read_us,
    "AE": _read_text,
    "LO": _read_text,
    "AT": _read_tags,
}
_WRITERS: dict[str, Callable[[Any], bytes]] = {
    "UI": _write_uid,
    "US": _US.pack,
    "AE": _write_text,
    "LO": _write_text,
    "AT": _write_tags,
}
_DECODERS = {element: (name, _READERS[vr]) for name, (element, vr) in _ELEMENTS.items()}
_ENCODERS = [(name, element, _WRITERS[vr]) for name, (element, vr) in _ELEMENTS.items()]


def encode_command(command: Command) -> bytes:
    """Return the command set, with its group length."""
    parts: list[bytes] = []
    for name, element, write in _ENCODERS:
        value = getattr(command, name)
        if value is not None:
            data = write(value)
            parts += (_HEAD.pack(0, element, len(data)), data)
    body = b"".join(parts)
    return _GROUP_LENGTH.pack(0, 0, 4, len(body)) + body


def decode_command(data: bytes | bytearray) -> Command:
    """Read a command set; elements that PS3.7 does not know are passed over. Raises ``BadPdu``."""
    found: dict[str, Any] = {}
    position, end = 0, len(data)
    while position < end:
        if end - position < _HEAD.size:
            raise BadPdu("a command set is cut off")
        group, element, length = _HEAD.unpack_from(data, position)
        position += _HEAD.size
        if group:
            raise BadPdu("a command set holds what is no command element")
        if length > end - position:
            raise BadPdu("an element is longer than its command set")
        known = _DECODERS.get(element)
        if known is not None and length:
            name, read = known
            try:
                found[name] = read(bytes(data[position : position + length]))
            except struct.error:
                raise BadPdu("an element of a command set has the wrong length") from None
        position += length
    if "command_field" not in found:
        raise BadPdu("a command set does not say which command it is")
    command = Command(**found)
    if command.is_response or command.command_field == CommandField.C_CANCEL:
        if command.message_id_being_responded_to is None:
            raise BadPdu("an answer does not say what it answers")
    elif command.message_id is None:
        raise BadPdu("a request has no message id")
    return command
