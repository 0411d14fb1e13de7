"""Which representation of an instance or a frame a caller gets (PS3.18 8.7.3, 10.4.4).

Pure: ranges in, a choice out. Each range is tried in the caller's order; the first that
can be given is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from gantry_dicom.errors import NotAcceptable
from gantry_dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, TransferSyntax, lookup
from gantry_imaging.decode import NATIVE_TRANSFER_SYNTAXES, can_decode

from gantry_gateway.media_types import MediaType, matches

DICOM = "application/dicom"
OCTET_STREAM = "application/octet-stream"
MULTIPART = "multipart/related"
ANY_SYNTAX = "*"


class Delivery(Enum):
    """How an instance or frame goes out."""

    AS_STORED = "as-stored"
    EXPLICIT_LITTLE_ENDIAN = "explicit-little-endian"


@dataclass(frozen=True, slots=True)
class InstanceChoice:
    """Single part or multipart, and the transfer syntax wished for (``None``: the default)."""

    single_part: bool
    transfer_syntax: str | None


@dataclass(frozen=True, slots=True)
class FrameChoice:
    """How frames go out, and the Content-Type of each."""

    single_part: bool
    delivery: Delivery
    content_type: str


def choose_instance(ranges: Sequence[MediaType], *, single_allowed: bool) -> InstanceChoice:
    """Choose how whole instances are answered; raises ``NotAcceptable``."""
    for wanted in ranges:
        transfer_syntax = wanted.parameters.get("transfer-syntax")
        if wanted.essence == MULTIPART:
            if matches(wanted.parameters.get("type", DICOM).lower(), DICOM):
                return InstanceChoice(single_part=False, transfer_syntax=transfer_syntax)
        elif wanted.essence in ("*/*", "multipart/*"):
            return InstanceChoice(single_part=False, transfer_syntax=transfer_syntax)
        elif single_allowed and matches(wanted.essence, DICOM):
            return InstanceChoice(single_part=True, transfer_syntax=transfer_syntax)
    raise NotAcceptable(
        f'instances are answered as {MULTIPART}; type="{DICOM}", a single one also as {DICOM}'
    )


def delivery_of(stored: str, wanted: str | None) -> Delivery | None:
    """Return how an instance stored in one transfer syntax is given in another, if it can be.

    Without a wish the default is Explicit VR Little Endian, unless only lossy data exist
    or nothing here can decode them: then as stored (PS3.18 8.7.3.5.2).
    """
    if wanted in (ANY_SYNTAX, stored):
        return Delivery.AS_STORED
    if wanted is None:
        if stored == EXPLICIT_VR_LITTLE_ENDIAN:
            return Delivery.AS_STORED
        syntax = lookup(stored)
        if syntax is None or syntax.lossy or not can_decode(stored):
            return Delivery.AS_STORED
        return Delivery.EXPLICIT_LITTLE_ENDIAN
    if wanted == EXPLICIT_VR_LITTLE_ENDIAN and can_decode(stored):
        return Delivery.EXPLICIT_LITTLE_ENDIAN
    return None


def choose_frame(ranges: Sequence[MediaType], stored: str, *, single_allowed: bool) -> FrameChoice:
    """Choose how frames of an instance stored as ``stored`` are answered; raises ``NotAcceptable``."""
    for wanted in ranges:
        is_multipart = wanted.essence in (MULTIPART, "*/*", "multipart/*")
        if not is_multipart and not single_allowed:
            continue
        inner = wanted.essence
        if inner == MULTIPART:
            inner = wanted.parameters.get("type", OCTET_STREAM).lower()
        found = _frame_delivery(inner, wanted.parameters.get("transfer-syntax"), stored)
        if found is not None:
            delivery, content_type = found
            return FrameChoice(not is_multipart, delivery, content_type)
    raise NotAcceptable(
        f'frames are answered as {MULTIPART}; type="{OCTET_STREAM}", or in the media type they are stored in'
    )


def _frame_delivery(inner: str, syntax: str | None, stored: str) -> tuple[Delivery, str] | None:
    stored_syntax = lookup(stored)
    is_native = stored in NATIVE_TRANSFER_SYNTAXES
    stored_label = EXPLICIT_VR_LITTLE_ENDIAN if is_native else stored
    native = (Delivery.EXPLICIT_LITTLE_ENDIAN, _labelled(OCTET_STREAM, EXPLICIT_VR_LITTLE_ENDIAN))
    if inner in (OCTET_STREAM, "*/*", "application/*", "multipart/*"):
        if syntax in (None, EXPLICIT_VR_LITTLE_ENDIAN) and can_decode(stored):
            return native
        if syntax in (ANY_SYNTAX, stored_label) or (syntax is None and inner != OCTET_STREAM):
            media_type = OCTET_STREAM if inner == OCTET_STREAM else _media_type(stored_syntax)
            return native if is_native else (Delivery.AS_STORED, _labelled(media_type, stored))
        return None
    if is_native or stored_syntax is None or not matches(inner, stored_syntax.media_type):
        return None
    if syntax in (None, ANY_SYNTAX, stored):
        return Delivery.AS_STORED, _labelled(stored_syntax.media_type, stored)
    return None


def _media_type(syntax: TransferSyntax | None) -> str:
    return OCTET_STREAM if syntax is None else syntax.media_type


def _labelled(media_type: str, transfer_syntax_uid: str) -> str:
    return f"{media_type}; transfer-syntax={transfer_syntax_uid}"
