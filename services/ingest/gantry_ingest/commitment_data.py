"""Data sets of the Storage Commitment Push Model (PS3.4 J.3.2, J.3.3), read and written."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from gantry.commitment.v1.commitment_pb2 import CommitmentReport, InstanceReference
from gantry_commitment.documents import MAX_REFERENCES
from gantry_dicom.elements import Buffer, Element, Encoding, item_encoding, items, walk
from gantry_dicom.errors import BadRequest, CannotProcess, TooLarge
from gantry_dicom.uids import is_valid_uid, trim_uid

TRANSACTION_UID = 0x00081195
REFERENCED_SOP_SEQUENCE = 0x00081199
FAILED_SOP_SEQUENCE = 0x00081198
REFERENCED_SOP_CLASS_UID = 0x00081150
REFERENCED_SOP_INSTANCE_UID = 0x00081155
FAILURE_REASON = 0x00081197

_ITEM = 0xFFFEE000


def read_request(data: Buffer, encoding: Encoding) -> tuple[str, list[InstanceReference]]:
    """Return the Transaction UID and the instances that an action information names.

    Raises ``CannotProcess`` when the bytes are no data set, ``BadRequest`` when something is
    missing or is no UID, ``TooLarge`` for more instances than are taken.
    """
    try:
        elements = {element.tag: element for element in walk(data, 0, len(data), encoding)}
        transaction_uid = _uid(data, elements, TRANSACTION_UID)
        sequence = elements.get(REFERENCED_SOP_SEQUENCE)
        references = [] if sequence is None else list(_references(data, sequence, encoding))
    except (struct.error, IndexError) as error:
        raise CannotProcess("the data set ends in the middle of an element") from error
    if not references:
        raise BadRequest("Referenced SOP Sequence is missing or empty")
    return transaction_uid, references


def write_report(report: CommitmentReport, *, explicit: bool) -> bytes:
    """Return the event information of ``report``; in it are the good ones, the failed ones, or both."""
    writer = _Writer(explicit)
    committed = [
        writer.uid(REFERENCED_SOP_CLASS_UID, reference.sop_class_uid)
        + writer.uid(REFERENCED_SOP_INSTANCE_UID, reference.sop_instance_uid)
        for reference in report.committed
    ]
    failed = [
        writer.uid(REFERENCED_SOP_CLASS_UID, failure.reference.sop_class_uid)
        + writer.uid(REFERENCED_SOP_INSTANCE_UID, failure.reference.sop_instance_uid)
        + writer.element(FAILURE_REASON, b"US", struct.pack("<H", failure.failure_reason))
        for failure in report.failed
    ]
    # In the order of their tags (PS3.5 7.1).
    return b"".join(
        (
            writer.uid(TRANSACTION_UID, report.transaction_uid),
            writer.sequence(FAILED_SOP_SEQUENCE, failed) if failed else b"",
            writer.sequence(REFERENCED_SOP_SEQUENCE, committed) if committed else b"",
        )
    )


def _references(data: Buffer, sequence: Element, encoding: Encoding) -> Iterable[InstanceReference]:
    inner = item_encoding(data, sequence, encoding)
    for count, (start, end) in enumerate(items(data, sequence, inner)):
        if count >= MAX_REFERENCES:
            raise TooLarge(f"a request names at most {MAX_REFERENCES} instances")
        elements = {element.tag: element for element in walk(data, start, end, inner)}
        yield InstanceReference(
            sop_class_uid=_uid(data, elements, REFERENCED_SOP_CLASS_UID),
            sop_instance_uid=_uid(data, elements, REFERENCED_SOP_INSTANCE_UID),
        )


def _uid(data: Buffer, elements: dict[int, Element], tag: int) -> str:
    element = elements.get(tag)
    if element is None:
        raise BadRequest(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) is missing")
    value = bytes(data[element.value_offset : element.value_offset + element.length])
    uid = trim_uid(value.decode("ascii", "replace"))
    if not is_valid_uid(uid):
        raise BadRequest(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) is no UID")
    return uid


class _Writer:
    """Writes elements in Explicit or Implicit VR Little Endian."""

    def __init__(self, explicit: bool) -> None:
        self._explicit = explicit

    def element(self, tag: int, vr: bytes, value: bytes) -> bytes:
        """Return one element; ``value`` has an even length."""
        head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
        if not self._explicit:
            return head + struct.pack("<I", len(value)) + value
        if vr == b"SQ":
            return head + vr + b"\0\0" + struct.pack("<I", len(value)) + value
        return head + vr + struct.pack("<H", len(value)) + value

    def uid(self, tag: int, uid: str) -> bytes:
        """Return a UI element, padded with NUL (PS3.5 6.2)."""
        value = uid.encode("ascii")
        return self.element(tag, b"UI", value + b"\0" * (len(value) % 2))

    def sequence(self, tag: int, contents: Iterable[bytes]) -> bytes:
        """Return a sequence of items, lengths given."""
        head = struct.pack("<HH", _ITEM >> 16, _ITEM & 0xFFFF)
        return self.element(
            tag, b"SQ", b"".join(head + struct.pack("<I", len(item)) + item for item in contents)
        )
