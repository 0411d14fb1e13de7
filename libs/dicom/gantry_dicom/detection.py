"""What a data set really is written in, told from its bytes."""

from __future__ import annotations

from struct import unpack_from

from gantry_dicom.codestreams import true_transfer_syntax
from gantry_dicom.element_headers import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    LONG,
    SHORT,
    UNDEFINED_LENGTH,
    Buffer,
    Element,
    Encoding,
)
from gantry_dicom.elements import fragments, is_encapsulated
from gantry_dicom.refusals import Refusal, Refused
from gantry_dicom.transfer_syntaxes import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    Codestream,
    TransferSyntax,
    lookup,
)

TRANSFER_SYNTAX_CORRECTED = "transfer-syntax-corrected"
TRANSFER_SYNTAX_PRIVATE = "transfer-syntax-private"
IMPLICIT_ENCAPSULATED = "implicit-vr-encapsulated"

# A data set with the UIDs that the archive needs begins in group 0008 (or with group lengths
# of group 0000/0004 in old exports); anything else without a File Meta is not DICOM.
_LAST_FIRST_GROUP = 0x0008


def sniff_encoding(buffer: Buffer, start: int, end: int) -> Encoding | None:
    """Return the encoding that the first element suggests, or None when nothing fits."""
    if start + 8 > end:
        return None
    code = bytes(buffer[start + 4 : start + 6])
    if code in SHORT or code in LONG:
        little, big = unpack_from("<H", buffer, start)[0], unpack_from(">H", buffer, start)[0]
        return EXPLICIT_LITTLE if little <= big else EXPLICIT_BIG
    length = unpack_from("<L", buffer, start + 4)[0]
    if length == UNDEFINED_LENGTH or start + 8 + length <= end:
        return IMPLICIT_LITTLE
    return None


def could_be_bare(buffer: Buffer, start: int, end: int) -> bool:
    """Whether a data set without any File Meta may begin at ``start``."""
    encoding = sniff_encoding(buffer, start, end)
    if encoding is None:
        return False
    group = unpack_from("<H" if encoding.little_endian else ">H", buffer, start)[0]
    return bool(group <= _LAST_FIRST_GROUP) and group % 2 == 0


def true_transfer_syntax_uid(
    buffer: Buffer,
    encoding: Encoding,
    pixel_data: Element | None,
    stated_uid: str | None,
    warnings: list[str],
) -> str:
    """Return the transfer syntax that a data set of ``encoding`` is really in.

    ``stated_uid`` is kept wherever the bytes allow; a private one always is. What was odd is
    added to ``warnings``. Raises ``Refused`` when the syntax cannot be told.
    """
    stated = lookup(stated_uid) if stated_uid is not None else None
    if stated_uid is not None and stated is None:
        warnings.append(TRANSFER_SYNTAX_PRIVATE)
        return stated_uid
    if pixel_data is not None and is_encapsulated(pixel_data):
        true_uid = _encapsulated_syntax(buffer, pixel_data, encoding, stated)
        if not encoding.explicit:
            warnings.append(IMPLICIT_ENCAPSULATED)
    elif (
        stated is not None
        and stated.encoding == encoding
        and (not stated.encapsulated or pixel_data is None or pixel_data.length == 0)
    ):
        return stated.uid
    else:
        true_uid = _native_syntax(encoding)
    if stated is not None and true_uid != stated.uid:
        warnings.append(TRANSFER_SYNTAX_CORRECTED)
    return true_uid


def _native_syntax(encoding: Encoding) -> str:
    if not encoding.explicit:
        return IMPLICIT_VR_LITTLE_ENDIAN
    return EXPLICIT_VR_LITTLE_ENDIAN if encoding.little_endian else EXPLICIT_VR_BIG_ENDIAN


def _encapsulated_syntax(
    buffer: Buffer, pixel_data: Element, encoding: Encoding, stated: TransferSyntax | None
) -> str:
    """Return the syntax of encapsulated pixel data: the stated one unless the codestream denies it."""
    if stated is not None and stated.codestream in (Codestream.VIDEO, Codestream.FRAGMENT):
        return stated.uid
    parts = fragments(buffer, pixel_data, encoding)
    next(parts, None)
    first = next(parts, None)
    true_uid = None
    if first is not None:
        true_uid = true_transfer_syntax(buffer, first.start, first.end, stated)
    if true_uid is not None:
        return true_uid
    if stated is not None and stated.encapsulated:
        return stated.uid
    raise Refused(Refusal.WRONG_TRANSFER_SYNTAX, "encapsulated pixel data of an unknown kind")
