"""The admission gate: what is checked, pure and bounded, before an object is acknowledged.

What the gate passes can be served; what it refuses gets its reason while the sender is still
there. The same gate runs over stored objects again when the index is rebuilt.

Native pixel bytes are never looked at, so a mapped file costs its header only. Time is linear in
the number of elements and fragments; memory is that of the header, and of the inflated data set
(within ``GateLimits``) for a deflated one.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from gantry_dicom.admission import DEFAULT_LIMITS, Admission, Expected, GateLimits
from gantry_dicom.deflated import inflate
from gantry_dicom.detection import could_be_bare, sniff_encoding, true_transfer_syntax_uid
from gantry_dicom.elements import (
    PIXEL_DATA_TAGS,
    Buffer,
    Element,
    Encoding,
    Malformed,
    NestedTooDeeply,
    NotTerminated,
    Overrun,
    TooManyFragments,
    is_encapsulated,
    walk,
)
from gantry_dicom.frames import FrameTable
from gantry_dicom.header import DataSetHeader
from gantry_dicom.part10 import (
    MEDIA_STORAGE_SOP_CLASS_UID,
    MEDIA_STORAGE_SOP_INSTANCE_UID,
    SOURCE_APPLICATION_ENTITY_TITLE,
    TRANSFER_SYNTAX_UID,
    Meta,
    build_meta,
    parse_meta,
)
from gantry_dicom.pixel_layout import LAYOUT_TAGS, build_layout
from gantry_dicom.refusals import Refusal, Refused
from gantry_dicom.transfer_syntaxes import TransferSyntax, lookup
from gantry_dicom.uids import MEDIA_STORAGE_DIRECTORY, assigned_uid, has_leading_zero, is_valid_uid, trim_uid

__all__ = [
    "UID_ASSIGNED",
    "Admission",
    "DataSetHeader",
    "Expected",
    "GateLimits",
    "Refusal",
    "Refused",
    "admit",
    "admit_data_set",
    "header_from_prefix",
    "header_of",
]

SOP_CLASS_UID = 0x00080016
SOP_INSTANCE_UID = 0x00080018
STUDY_INSTANCE_UID = 0x0020000D
SERIES_INSTANCE_UID = 0x0020000E
_UID_TAGS = (SOP_CLASS_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID, SERIES_INSTANCE_UID)
_ASSIGNABLE = (STUDY_INSTANCE_UID, SERIES_INSTANCE_UID)
_UID_NAMES = {
    SOP_CLASS_UID: "SOP Class UID",
    SOP_INSTANCE_UID: "SOP Instance UID",
    STUDY_INSTANCE_UID: "Study Instance UID",
    SERIES_INSTANCE_UID: "Series Instance UID",
}
_WANTED = frozenset((*_UID_TAGS, *LAYOUT_TAGS, *PIXEL_DATA_TAGS))

# Warnings, as static names for logs and manifests.
FILE_META_REBUILT = "file-meta-rebuilt"
UID_LEADING_ZERO = "uid-leading-zero"
# The object names no study or series; it is found under a UID that was assigned to it.
UID_ASSIGNED = "uid-assigned"
FILE_IN_DATA_SET = "file-in-data-set"
FILE_META_DIFFERS = "file-meta-differs-from-data-set"


@dataclass(frozen=True, slots=True)
class _Body:
    """A data set that has been walked: ``buffer[start:]`` (the inflated one for deflated)."""

    buffer: Buffer
    start: int
    encoding: Encoding
    found: dict[int, Element]
    duplicates: frozenset[int]
    pixel_data: Element | None
    deflated: bool


def admit(
    buffer: Buffer, *, limits: GateLimits = DEFAULT_LIMITS, expected: Expected | None = None
) -> Admission:
    """Admit a file of PS3.10, however incomplete its File Meta, or a bare data set.

    Raises ``Refused``.
    """
    meta = _meta(buffer)
    return _admit(buffer, meta, meta.text(TRANSFER_SYNTAX_UID), expected, limits, None)


def admit_data_set(
    buffer: Buffer,
    transfer_syntax_uid: str,
    *,
    expected: Expected | None = None,
    limits: GateLimits = DEFAULT_LIMITS,
    source_ae_title: str = "",
) -> Admission:
    """Admit a data set as C-STORE carries it, in the transfer syntax of its presentation context.

    ``meta`` of the admission is always a complete File Meta group. A sender that puts a whole
    file (or group 0002) into the data set is understood too. Raises ``Refused``.
    """
    meta = Meta(0, {}, complete=False)
    if bytes(buffer[:4]) == b"\x02\x00\x00\x00" or bytes(buffer[128:132]) == b"DICM":
        meta = _meta(buffer)
    stated = meta.text(TRANSFER_SYNTAX_UID) or trim_uid(transfer_syntax_uid)
    return _admit(buffer, meta, stated, expected, limits, source_ae_title)


def header_of(stored_object: Buffer, *, limits: GateLimits = DEFAULT_LIMITS) -> tuple[DataSetHeader, bytes]:
    """Return header and packed frame table of a stored object. Raises ``Refused``."""
    admission = admit(stored_object, limits=limits)
    return admission.header, admission.frame_table


def header_from_prefix(
    prefix: Buffer, total_size: int, *, limits: GateLimits = DEFAULT_LIMITS
) -> tuple[DataSetHeader, bytes] | None:
    """Return header and packed frame table of a stored object of which only the start was read.

    That is enough where native pixel data reaches from within the prefix to the object's end.
    Returns None when more bytes, or the whole object, are needed. Raises ``Refused`` only where
    the prefix is the whole object.
    """
    if total_size <= len(prefix):
        return header_of(prefix, limits=limits)
    try:
        meta = parse_meta(prefix)
        start = meta.data_set_offset
        syntax = lookup(meta.text(TRANSFER_SYNTAX_UID) or "")
        # What gate and File Meta disagree about, or inflates, is left to a look at the whole.
        if not meta.complete or syntax is None or syntax.deflated:
            return None
        if sniff_encoding(prefix, start, len(prefix)) not in (syntax.encoding, None):
            return None
        body = _walk_body(prefix, start, total_size, syntax.encoding, limits, deflated=False)
    except (struct.error, Malformed, Refused):
        return None
    pixel_data = body.pixel_data
    if pixel_data is None or is_encapsulated(pixel_data) or syntax.encapsulated:
        return None
    if pixel_data.end != total_size:
        return None
    return _header(body, total_size, 0), _layout(body, syntax, 0)[1]


def _meta(buffer: Buffer) -> Meta:
    if len(buffer) < 8:
        raise Refused(Refusal.NOT_DICOM, "too short")
    try:
        return parse_meta(buffer)
    except Overrun as error:
        raise Refused(Refusal.TRUNCATED, error.detail) from error
    except Malformed as error:
        raise Refused(Refusal.NOT_DICOM, error.detail) from error


def _admit(
    buffer: Buffer,
    meta: Meta,
    stated_uid: str | None,
    expected: Expected | None,
    limits: GateLimits,
    source_ae_title: str | None,
) -> Admission:
    start, size = meta.data_set_offset, len(buffer)
    stated = lookup(stated_uid) if stated_uid is not None else None
    warnings: list[str] = []
    if meta.text(MEDIA_STORAGE_SOP_CLASS_UID) == MEDIA_STORAGE_DIRECTORY:
        raise Refused(Refusal.DICOMDIR)
    if start == size:
        raise Refused(Refusal.TRUNCATED, "nothing after the File Meta group")
    if not meta.values and stated_uid is None and not could_be_bare(buffer, start, size):
        raise Refused(Refusal.NOT_DICOM)
    if stated_uid is not None and not is_valid_uid(stated_uid):
        raise Refused(Refusal.WRONG_TRANSFER_SYNTAX, "the Transfer Syntax UID is not legal")

    if stated is not None and stated.deflated:
        inflated = inflate(buffer, start, limits.max_inflated_bytes)
        body = _walk_body(inflated, 0, len(inflated), stated.encoding, limits, deflated=True)
    else:
        body = _walk_detected(buffer, start, stated, limits)

    pixel_bytes = 0 if body.pixel_data is None else body.pixel_data.end - body.pixel_data.header_offset
    if len(body.buffer) - body.start - pixel_bytes > limits.max_header_bytes:
        raise Refused(Refusal.TOO_LARGE, "too many bytes outside the pixel data")
    uids = _uids(body, warnings)
    _compare(uids, expected)
    transfer_syntax_uid = true_transfer_syntax_uid(
        body.buffer, body.encoding, body.pixel_data, stated_uid, warnings
    )
    syntax = lookup(transfer_syntax_uid)

    new_meta = _new_meta(meta, uids, transfer_syntax_uid, source_ae_title, warnings)
    meta_length = start if new_meta is None else len(new_meta)
    shift = 0 if body.deflated else meta_length - start
    _, frame_table, layout_warnings = _layout(body, syntax, shift)
    return Admission(
        sop_class_uid=uids[SOP_CLASS_UID],
        sop_instance_uid=uids[SOP_INSTANCE_UID],
        study_instance_uid=uids[STUDY_INSTANCE_UID],
        series_instance_uid=uids[SERIES_INSTANCE_UID],
        transfer_syntax_uid=transfer_syntax_uid,
        meta=new_meta,
        meta_length=meta_length,
        data_set_offset=start,
        header=_header(body, len(body.buffer), shift),
        frame_table=frame_table,
        warnings=(*warnings, *layout_warnings),
    )


def _walk_detected(buffer: Buffer, start: int, stated: TransferSyntax | None, limits: GateLimits) -> _Body:
    """Walk the data set in the encoding that its first element shows, else in the stated one."""
    sniffed = sniff_encoding(buffer, start, len(buffer))
    candidates = [sniffed] if sniffed is not None else []
    if stated is not None and stated.encoding not in candidates:
        candidates.append(stated.encoding)
    failure: Refused | None = None
    for encoding in candidates:
        try:
            return _walk_body(buffer, start, len(buffer), encoding, limits, deflated=False)
        except Refused as refused:
            failure = failure or refused
    raise failure or Refused(Refusal.MALFORMED, "the first element does not fit")


def _walk_body(
    buffer: Buffer, start: int, end: int, encoding: Encoding, limits: GateLimits, *, deflated: bool
) -> _Body:
    found: dict[int, Element] = {}
    duplicates: set[int] = set()
    try:
        for element in walk(
            buffer, start, end, encoding, max_depth=limits.max_depth, only=_WANTED, deep=True
        ):
            if element.tag in found:
                duplicates.add(element.tag)
            else:
                found[element.tag] = element
    except NestedTooDeeply as error:
        raise Refused(Refusal.NESTED_TOO_DEEPLY, error.detail) from error
    except NotTerminated as error:
        raise Refused(Refusal.NOT_TERMINATED, error.detail) from error
    except Overrun as error:
        raise Refused(Refusal.TRUNCATED, error.detail) from error
    except TooManyFragments as error:
        raise Refused(Refusal.TOO_LARGE, error.detail) from error
    except Malformed as error:
        raise Refused(Refusal.MALFORMED, error.detail) from error
    if not duplicates.isdisjoint(PIXEL_DATA_TAGS):
        raise Refused(Refusal.MALFORMED, "pixel data occurs twice")
    pixels = [element for tag, element in found.items() if tag in PIXEL_DATA_TAGS]
    return _Body(
        buffer, start, encoding, found, frozenset(duplicates), pixels[0] if pixels else None, deflated
    )


def _uids(body: _Body, warnings: list[str]) -> dict[int, str]:
    """Return the identifying UIDs without padding, each unique and legal.

    Class and instance must be there. An instance that names no study or series (old
    files, objects of no patient) is kept and gets UIDs of its own for them.
    """
    uids: dict[int, str] = {}
    for tag in _UID_TAGS:
        element = body.found.get(tag)
        name = _UID_NAMES[tag]
        if element is None and tag in _ASSIGNABLE:
            continue
        if element is None:
            raise Refused(Refusal.MISSING_UID, f"{name} is missing")
        if tag in body.duplicates:
            raise Refused(Refusal.AMBIGUOUS_UID, f"{name} occurs twice")
        # 64 characters and their padding; more is refused unread.
        value = bytes(body.buffer[element.value_offset : element.value_offset + min(element.length, 128)])
        uid = trim_uid(value.decode("latin-1"))
        if not uid and tag in _ASSIGNABLE:
            continue
        if not uid:
            raise Refused(Refusal.MISSING_UID, f"{name} is empty")
        if not is_valid_uid(uid) or element.length > len(value):
            reason = Refusal.ILLEGAL_SOP_INSTANCE_UID if tag == SOP_INSTANCE_UID else Refusal.ILLEGAL_UID
            raise Refused(reason, f"{name} is not a UID")
        if has_leading_zero(uid) and UID_LEADING_ZERO not in warnings:
            warnings.append(UID_LEADING_ZERO)
        uids[tag] = uid
    if uids[SOP_CLASS_UID] == MEDIA_STORAGE_DIRECTORY:
        raise Refused(Refusal.DICOMDIR)
    for tag in _ASSIGNABLE:
        if tag not in uids:
            uids[tag] = assigned_uid(_UID_NAMES[tag], uids[SOP_INSTANCE_UID])
            warnings.append(UID_ASSIGNED)
    return uids


def _compare(uids: dict[int, str], expected: Expected | None) -> None:
    if expected is None:
        return
    for tag, wanted, reason in (
        (SOP_CLASS_UID, expected.sop_class_uid, Refusal.SOP_CLASS_MISMATCH),
        (SOP_INSTANCE_UID, expected.sop_instance_uid, Refusal.SOP_INSTANCE_MISMATCH),
        (STUDY_INSTANCE_UID, expected.study_instance_uid, Refusal.STUDY_MISMATCH),
    ):
        if wanted is not None and trim_uid(wanted) != uids[tag]:
            raise Refused(reason, f"{_UID_NAMES[tag]} differs")


def _new_meta(
    meta: Meta,
    uids: dict[int, str],
    transfer_syntax_uid: str,
    source_ae_title: str | None,
    warnings: list[str],
) -> bytes | None:
    """Return the File Meta group to store, None when the one received is complete.

    Files whose media storage UIDs differ from the data set's are common and come back byte for
    byte all the same; only the transfer syntax has to be true.
    """
    if source_ae_title is None:
        class_uid = meta.text(MEDIA_STORAGE_SOP_CLASS_UID)
        instance_uid = meta.text(MEDIA_STORAGE_SOP_INSTANCE_UID)
        if (class_uid or uids[SOP_CLASS_UID]) != uids[SOP_CLASS_UID] or (
            instance_uid or uids[SOP_INSTANCE_UID]
        ) != uids[SOP_INSTANCE_UID]:
            warnings.append(FILE_META_DIFFERS)
        is_complete = meta.complete and class_uid is not None and instance_uid is not None
        if is_complete and meta.text(TRANSFER_SYNTAX_UID) == transfer_syntax_uid:
            return None
        warnings.append(FILE_META_REBUILT)
        source_ae_title = meta.text(SOURCE_APPLICATION_ENTITY_TITLE) or ""
    elif meta.values:
        warnings.append(FILE_IN_DATA_SET)
    return build_meta(uids[SOP_CLASS_UID], uids[SOP_INSTANCE_UID], transfer_syntax_uid, source_ae_title[:16])


def _layout(
    body: _Body, syntax: TransferSyntax | None, shift: int
) -> tuple[FrameTable, bytes, Sequence[str]]:
    if body.pixel_data is None:
        # Where the transfer syntax is private, only the table can say how the data set is written.
        table = FrameTable(encoding=body.encoding if syntax is None else None)
        return table, table.pack(), ()
    found = {tag: element for tag, element in body.found.items() if tag not in body.duplicates}
    layout = build_layout(
        body.buffer, body.pixel_data, found, body.encoding, syntax, shift=shift, deflated=body.deflated
    )
    return layout.table, layout.table.pack(), layout.warnings


def _header(body: _Body, end: int, shift: int) -> DataSetHeader:
    buffer, start, pixel_data = body.buffer, body.start, body.pixel_data
    if pixel_data is None:
        return DataSetHeader(
            encoding=body.encoding,
            before_pixel_data=bytes(buffer[start:end]),
            after_pixel_data=b"",
            before_offset=start + shift,
            after_offset=end + shift,
            deflated=body.deflated,
        )
    return DataSetHeader(
        encoding=body.encoding,
        before_pixel_data=bytes(buffer[start : pixel_data.header_offset]),
        after_pixel_data=bytes(buffer[pixel_data.end : end]),
        pixel_data_vr=pixel_data.vr,
        pixel_data_tag=pixel_data.tag,
        pixel_data_offset=pixel_data.value_offset + shift,
        pixel_data_length=pixel_data.length,
        encapsulated=is_encapsulated(pixel_data),
        before_offset=start + shift,
        after_offset=pixel_data.end + shift,
        deflated=body.deflated,
    )
