"""Bytes of the PDUs of association control, read and written (PS3.8 9.3, PS3.7 D.3.3).

P-DATA-TF is not here: ``reader`` takes it apart as it arrives and ``messages`` writes it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import IntEnum
from typing import Any

from gantry_dimse.errors import BadPdu
from gantry_dimse.negotiation import (
    Abort,
    AbortReason,
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


class PduType(IntEnum):
    """The types of PDU (PS3.8 9.3.1)."""

    ASSOCIATE_RQ = 0x01
    ASSOCIATE_AC = 0x02
    ASSOCIATE_RJ = 0x03
    P_DATA_TF = 0x04
    RELEASE_RQ = 0x05
    RELEASE_RP = 0x06
    ABORT = 0x07


class ItemType(IntEnum):
    """The types of item and sub-item (PS3.8 9.3.2, 9.3.3; PS3.7 D.3.3)."""

    APPLICATION_CONTEXT = 0x10
    PRESENTATION_CONTEXT_RQ = 0x20
    PRESENTATION_CONTEXT_AC = 0x21
    ABSTRACT_SYNTAX = 0x30
    TRANSFER_SYNTAX = 0x40
    USER_INFORMATION = 0x50
    MAXIMUM_LENGTH = 0x51
    IMPLEMENTATION_CLASS_UID = 0x52
    ASYNC_WINDOW = 0x53
    ROLE_SELECTION = 0x54
    IMPLEMENTATION_VERSION_NAME = 0x55
    EXTENDED_NEGOTIATION = 0x56
    COMMON_EXTENDED_NEGOTIATION = 0x57
    USER_IDENTITY_RQ = 0x58
    USER_IDENTITY_AC = 0x59


# Every PDU begins with type, a reserved byte and the length of the rest.
PDU_HEAD = struct.Struct(">BxL")
_ITEM_HEAD = struct.Struct(">BxH")
_TITLES = struct.Struct(">H2x16s16s32x")
_SHORT = struct.Struct(">H")
_LONG = struct.Struct(">L")
_PAIR = struct.Struct(">HH")
# The shortest A-ASSOCIATE: its fixed fields (PS3.8 Tables 9-11 and 9-17).
ASSOCIATE_FIXED_BYTES = _TITLES.size
# A peer that takes less than this in a P-DATA-TF would cost us more than it could use.
_LEAST_MAXIMUM_LENGTH = 128

RELEASE_RQ = PDU_HEAD.pack(PduType.RELEASE_RQ, 4) + bytes(4)
RELEASE_RP = PDU_HEAD.pack(PduType.RELEASE_RP, 4) + bytes(4)


def encode_request(request: AssociateRequest) -> bytes:
    """Return the A-ASSOCIATE-RQ."""
    contexts = b"".join(
        _item(
            ItemType.PRESENTATION_CONTEXT_RQ,
            bytes((context.context_id, 0, 0, 0))
            + _item(ItemType.ABSTRACT_SYNTAX, context.abstract_syntax.encode("latin-1"))
            + b"".join(
                _item(ItemType.TRANSFER_SYNTAX, uid.encode("latin-1")) for uid in context.transfer_syntaxes
            ),
        )
        for context in request.contexts
    )
    return _associate(PduType.ASSOCIATE_RQ, request, contexts, ItemType.USER_IDENTITY_RQ)


def encode_accept(accept: AssociateAccept) -> bytes:
    """Return the A-ASSOCIATE-AC."""
    contexts = b"".join(
        _item(
            ItemType.PRESENTATION_CONTEXT_AC,
            bytes((context.context_id, 0, context.result, 0))
            + _item(ItemType.TRANSFER_SYNTAX, context.transfer_syntax.encode("latin-1")),
        )
        for context in accept.contexts
    )
    return _associate(PduType.ASSOCIATE_AC, accept, contexts, ItemType.USER_IDENTITY_AC)


def encode_reject(reject: AssociateReject) -> bytes:
    """Return the A-ASSOCIATE-RJ."""
    return PDU_HEAD.pack(PduType.ASSOCIATE_RJ, 4) + bytes((0, reject.result, reject.source, reject.reason))


def encode_abort(abort: Abort) -> bytes:
    """Return the A-ABORT."""
    return PDU_HEAD.pack(PduType.ABORT, 4) + bytes((0, 0, abort.source, abort.reason))


def decode_request(body: bytes) -> AssociateRequest:
    """Read an A-ASSOCIATE-RQ from what follows its PDU head. Raises ``BadPdu``."""
    version, called, calling, application, contexts, user = _read_associate(
        body, ItemType.PRESENTATION_CONTEXT_RQ, _proposed_context
    )
    if len({context.context_id for context in contexts}) != len(contexts):
        raise BadPdu("two presentation contexts have one number")
    return AssociateRequest(called, calling, tuple(contexts), user, application, version)


def decode_accept(body: bytes) -> AssociateAccept:
    """Read an A-ASSOCIATE-AC from what follows its PDU head. Raises ``BadPdu``."""
    version, called, calling, application, contexts, user = _read_associate(
        body, ItemType.PRESENTATION_CONTEXT_AC, _answered_context
    )
    return AssociateAccept(called, calling, tuple(contexts), user, application, version)


def decode_reject(body: bytes) -> AssociateReject:
    """Read an A-ASSOCIATE-RJ from the four bytes after its PDU head."""
    return AssociateReject(*body[1:4])


def decode_abort(body: bytes) -> Abort:
    """Read an A-ABORT from the four bytes after its PDU head."""
    return Abort(*body[2:4])


def _associate(
    kind: PduType, value: AssociateRequest | AssociateAccept, contexts: bytes, identity: ItemType
) -> bytes:
    body = (
        _TITLES.pack(value.protocol_version, _title(value.called_ae_title), _title(value.calling_ae_title))
        + _item(ItemType.APPLICATION_CONTEXT, value.application_context_name.encode("latin-1"))
        + contexts
        + _item(ItemType.USER_INFORMATION, _user_information(value.user, identity))
    )
    return PDU_HEAD.pack(kind, len(body)) + body


def _user_information(user: UserInformation, identity: ItemType) -> bytes:
    items = [
        _item(ItemType.MAXIMUM_LENGTH, _LONG.pack(user.maximum_length)),
        _item(ItemType.IMPLEMENTATION_CLASS_UID, user.implementation_class_uid.encode("latin-1")),
    ]
    if user.async_window is not None:
        window = user.async_window
        items.append(_item(ItemType.ASYNC_WINDOW, _PAIR.pack(window.invoked, window.performed)))
    items += [
        _item(ItemType.ROLE_SELECTION, _counted(role.sop_class_uid) + bytes((role.scu, role.scp)))
        for role in user.roles
    ]
    if user.implementation_version_name:
        name = user.implementation_version_name.encode("latin-1")
        items.append(_item(ItemType.IMPLEMENTATION_VERSION_NAME, name))
    items += [
        _item(ItemType.EXTENDED_NEGOTIATION, _counted(each.sop_class_uid) + each.information)
        for each in user.extended
    ]
    items += [_common_extended(each) for each in user.common_extended]
    if identity == ItemType.USER_IDENTITY_RQ and user.user_identity is not None:
        who = user.user_identity
        items.append(
            _item(
                identity,
                bytes((who.kind, who.response_requested)) + _counted(who.primary) + _counted(who.secondary),
            )
        )
    if identity == ItemType.USER_IDENTITY_AC and user.identity_response is not None:
        items.append(_item(identity, _counted(user.identity_response)))
    return b"".join(items)


def _common_extended(each: CommonExtendedNegotiation) -> bytes:
    related = b"".join(map(_counted, each.related_sop_class_uids))
    return _item(
        ItemType.COMMON_EXTENDED_NEGOTIATION,
        _counted(each.sop_class_uid) + _counted(each.service_class_uid) + _counted(related),
    )


def _item(kind: ItemType, data: bytes) -> bytes:
    return _ITEM_HEAD.pack(kind, len(data)) + data


def _counted(value: str | bytes) -> bytes:
    data = value.encode("latin-1") if isinstance(value, str) else value
    return _SHORT.pack(len(data)) + data


def _title(title: str) -> bytes:
    return title.encode("latin-1", "replace").ljust(16)[:16]


def _read_associate(
    body: bytes, context_type: ItemType, read_context: Callable[[bytes], Any]
) -> tuple[int, str, str, str, list[Any], UserInformation]:
    if len(body) < ASSOCIATE_FIXED_BYTES:
        raise BadPdu("an A-ASSOCIATE PDU is cut off")
    version, called, calling = _TITLES.unpack_from(body)
    application = ""
    contexts = []
    user = UserInformation(implementation_class_uid="", implementation_version_name="")
    for kind, data in _items(body, ASSOCIATE_FIXED_BYTES):
        if kind == ItemType.APPLICATION_CONTEXT:
            application = _uid(data)
        elif kind == context_type:
            contexts.append(read_context(data))
        elif kind == ItemType.USER_INFORMATION:
            user = _read_user_information(data, user)
        # PS3.8 9.3.1: items that are not recognised are ignored.
    return version, _text(called), _text(calling), application, contexts, user


def _proposed_context(data: bytes) -> ProposedContext:
    context_id, abstract_syntax, transfer_syntaxes = _read_context(data)
    if not context_id % 2:
        raise BadPdu("the number of a presentation context is even")
    if len(abstract_syntax) != 1 or not transfer_syntaxes:
        raise BadPdu("a presentation context lacks its syntaxes")
    return ProposedContext(context_id, abstract_syntax[0], tuple(transfer_syntaxes))


def _answered_context(data: bytes) -> ContextAnswer:
    context_id, _, transfer_syntaxes = _read_context(data)
    return ContextAnswer(context_id, data[2], transfer_syntaxes[0] if transfer_syntaxes else "")


def _read_context(data: bytes) -> tuple[int, list[str], list[str]]:
    if len(data) < 4:
        raise BadPdu("a presentation context is cut off")
    abstract_syntaxes, transfer_syntaxes = [], []
    for kind, value in _items(data, 4):
        if kind == ItemType.ABSTRACT_SYNTAX:
            abstract_syntaxes.append(_uid(value))
        elif kind == ItemType.TRANSFER_SYNTAX:
            transfer_syntaxes.append(_uid(value))
    return data[0], abstract_syntaxes, transfer_syntaxes


def _read_user_information(data: bytes, user: UserInformation) -> UserInformation:
    found: dict[str, Any] = {}
    several: dict[str, list[Any]] = {"roles": [], "extended": [], "common_extended": []}
    for kind, value in _items(data, 0):
        try:
            if kind in _SINGLE_SUB_ITEMS:
                name, read = _SINGLE_SUB_ITEMS[kind]
                found[name] = read(value)
            elif kind in _REPEATED_SUB_ITEMS:
                name, read = _REPEATED_SUB_ITEMS[kind]
                several[name].append(read(value))
        except (struct.error, IndexError):
            raise BadPdu("an item of the user information is cut off") from None
    found |= {name: tuple(values) for name, values in several.items()}
    user = replace(user, **found)
    if 0 < user.maximum_length < _LEAST_MAXIMUM_LENGTH:
        raise BadPdu("the maximum length is too short for any message")
    return user


def _async_window(value: bytes) -> AsyncWindow:
    return AsyncWindow(*_PAIR.unpack(value))


def _role(value: bytes) -> RoleSelection:
    uid, rest = _take(value)
    return RoleSelection(_uid(uid), rest[0] == 1, rest[1] == 1)


def _extended(value: bytes) -> ExtendedNegotiation:
    uid, information = _take(value)
    return ExtendedNegotiation(_uid(uid), information)


def _common(value: bytes) -> CommonExtendedNegotiation:
    sop_class, rest = _take(value)
    service_class, rest = _take(rest)
    related, _ = _take(rest)
    uids = []
    while related:
        uid, related = _take(related)
        uids.append(_uid(uid))
    return CommonExtendedNegotiation(_uid(sop_class), _uid(service_class), tuple(uids))


def _identity(value: bytes) -> UserIdentity:
    primary, rest = _take(value[2:])
    secondary, _ = _take(rest)
    return UserIdentity(value[0], primary, secondary, value[1] == 1)


def _identity_response(value: bytes) -> bytes:
    return _take(value)[0]


def _maximum_length(value: bytes) -> int:
    (length,) = _LONG.unpack(value)
    return int(length)


# Where each sub-item of the user information goes, and how it is read.
_SINGLE_SUB_ITEMS: dict[int, tuple[str, Callable[[bytes], Any]]] = {
    ItemType.MAXIMUM_LENGTH: ("maximum_length", _maximum_length),
    ItemType.IMPLEMENTATION_CLASS_UID: ("implementation_class_uid", lambda value: _uid(value)),
    ItemType.IMPLEMENTATION_VERSION_NAME: ("implementation_version_name", lambda value: _text(value)),
    ItemType.ASYNC_WINDOW: ("async_window", _async_window),
    ItemType.USER_IDENTITY_RQ: ("user_identity", _identity),
    ItemType.USER_IDENTITY_AC: ("identity_response", _identity_response),
}
_REPEATED_SUB_ITEMS: dict[int, tuple[str, Callable[[bytes], Any]]] = {
    ItemType.ROLE_SELECTION: ("roles", _role),
    ItemType.EXTENDED_NEGOTIATION: ("extended", _extended),
    ItemType.COMMON_EXTENDED_NEGOTIATION: ("common_extended", _common),
}


def _items(data: bytes, position: int) -> Iterator[tuple[int, bytes]]:
    while position < len(data):
        if len(data) - position < _ITEM_HEAD.size:
            raise BadPdu("an item is cut off")
        kind, length = _ITEM_HEAD.unpack_from(data, position)
        position += _ITEM_HEAD.size
        if length > len(data) - position:
            raise BadPdu("an item is longer than what holds it")
        yield kind, data[position : position + length]
        position += length


def _take(data: bytes) -> tuple[bytes, bytes]:
    """Return a value that its length precedes, and what follows it."""
    (length,) = _SHORT.unpack_from(data)
    end = _SHORT.size + length
    if end > len(data):
        raise BadPdu("a value is longer than its item")
    return data[_SHORT.size : end], data[end:]


def _uid(data: bytes) -> str:
    # PS3.8 F: not padded, which not everybody knows.
    return data.decode("latin-1").strip("\0 ")


def _text(data: bytes) -> str:
    return data.decode("latin-1").strip("\0 ")


def unexpected(kind: int) -> AbortReason:
    """Return the reason of the A-ABORT that answers a PDU of type ``kind`` in a state it is not for."""
    return AbortReason.UNEXPECTED_PDU if kind in set(PduType) else AbortReason.UNRECOGNIZED_PDU
