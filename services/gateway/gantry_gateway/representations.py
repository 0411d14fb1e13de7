"""Which representation of an instance or a frame a caller gets (PS3.18 8.7.3, 10.4.4).

Pure: ranges in, a choice out. Ranges are tried by their weight; of those that weigh the same
the one that needs no transcoding is taken, then the first that can be met.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import groupby

from gantry_dicom.errors import NotAcceptable
from gantry_dicom.frames import FrameTable
from gantry_dicom.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    lookup,
)
from gantry_imaging.decode import NATIVE_TRANSFER_SYNTAXES, can_decode
from gantry_imaging.encode import can_encode

from gantry_gateway.media_types import MediaType, matches

DICOM = "application/dicom"
OCTET_STREAM = "application/octet-stream"
ZIP = "application/zip"
MULTIPART = "multipart/related"
ANY_SYNTAX = "*"
_ANYTHING = frozenset(("*/*", "multipart/*"))
# PS3.18 8.7.3: what is stored in these is never sent in them.
_NEVER_SENT = frozenset((IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN))
_WHOLE_OBJECT_ONLY = frozenset((DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,))

# PS3.18 Table 8.7.3-5: the transfer syntax of each compressed media type where none is named.
DEFAULT_SYNTAXES: Mapping[str, str] = {
    "image/jpeg": "1.2.840.10008.1.2.4.70",
    "image/dicom-rle": "1.2.840.10008.1.2.5",
    "image/jls": "1.2.840.10008.1.2.4.80",
    "image/jp2": "1.2.840.10008.1.2.4.90",
    "image/jpx": "1.2.840.10008.1.2.4.92",
    "image/jphc": "1.2.840.10008.1.2.4.201",
    "image/jxl": "1.2.840.10008.1.2.4.110",
}
# Names of earlier editions, and what clients write for them.
_ALIASES: Mapping[str, str] = {
    "image/x-dicom-rle": "image/dicom-rle",
    "image/dicom+rle": "image/dicom-rle",
    "image/x-jls": "image/jls",
    "image/dicom+jpeg-ls": "image/jls",
    "image/dicom+jls": "image/jls",
    "image/dicom+jpeg": "image/jpeg",
    "image/jpg": "image/jpeg",
    "image/dicom+jp2": "image/jp2",
    "image/dicom+jpx": "image/jpx",
    "image/x-jphc": "image/jphc",
    "video/mpeg2": "video/mpeg",
    "video/h265": "video/mp4",
}


class Form(Enum):
    """What the objects of a study, series or instance go out as."""

    MULTIPART = "multipart"
    SINGLE = "single"
    ZIP = "zip"
    # Values of the objects instead of the objects.
    BULK_DATA = "bulk-data"


@dataclass(frozen=True, slots=True)
class InstanceChoice:
    """The form, and the transfer syntaxes wished for in it (``None``: the default).

    Groups of wishes that weigh the same, best first.
    """

    form: Form
    wishes: tuple[tuple[str | None, ...], ...]


@dataclass(frozen=True, slots=True)
class FrameChoice:
    """How frames go out, in which transfer syntax, and the Content-Type of each."""

    single_part: bool
    target: str
    content_type: str


def choose_instance(ranges: Sequence[MediaType], *, single_allowed: bool) -> InstanceChoice:
    """Choose how whole instances are answered; raises ``NotAcceptable``.

    The best range that can be met decides the form; further ranges of the same form are wishes
    for the instances that cannot be given in its transfer syntax.
    """
    form: Form | None = None
    wishes = []
    for group in _by_weight(ranges):
        wished = []
        for wanted in group:
            found = _form(wanted, single_allowed=single_allowed)
            if found is not None and form in (None, found):
                form = found
                wished.append(wanted.parameters.get("transfer-syntax"))
        wishes.append(tuple(wished))
    if form is None:
        raise NotAcceptable(
            f'instances are answered as {MULTIPART}; type="{DICOM}", as {ZIP}, a single one as {DICOM}'
        )
    return InstanceChoice(form, tuple(filter(None, wishes)))


def _by_weight(ranges: Sequence[MediaType]) -> list[list[MediaType]]:
    return [list(group) for _, group in groupby(ranges, key=lambda wanted: wanted.quality)]


def _form(wanted: MediaType, *, single_allowed: bool) -> Form | None:
    if wanted.essence in _ANYTHING:
        return Form.MULTIPART
    if wanted.essence == MULTIPART:
        inner = inner_type(wanted, DICOM)
        if matches(inner, DICOM):
            return Form.MULTIPART
        return Form.BULK_DATA if inner == OCTET_STREAM or inner in DEFAULT_SYNTAXES else None
    if single_allowed and matches(wanted.essence, DICOM):
        return Form.SINGLE
    return Form.ZIP if wanted.essence == ZIP else None


def inner_type(wanted: MediaType, default: str) -> str:
    """Return the type of the parts that a multipart range asks for, by today's name."""
    inner = wanted.parameters.get("type", default).lower()
    return _ALIASES.get(inner, inner)


def target_syntax(stored: str, table: FrameTable, wished: str | None) -> str | None:
    """Return the transfer syntax in which an object is given, or ``None`` when it cannot be.

    Without a wish that is Explicit VR Little Endian, unless only lossy data exist or nothing
    here can decode them: then as stored (PS3.18 8.7.3.5.2). Implicit VR and big endian are
    never given.
    """
    if wished in (ANY_SYNTAX, stored):
        if stored not in _NEVER_SENT:
            return stored
        return EXPLICIT_VR_LITTLE_ENDIAN if wished == ANY_SYNTAX else None
    can_change = _can_decode_all(stored, table)
    if wished is None:
        syntax = lookup(stored)
        only_lossy = syntax is not None and syntax.lossy and table.kind != "none"
        return EXPLICIT_VR_LITTLE_ENDIAN if can_change and not only_lossy else stored
    if not can_change:
        return None
    if wished in (EXPLICIT_VR_LITTLE_ENDIAN, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN):
        return wished
    has_all_frames = table.count > 0 and table.count == table.stated_count
    return wished if has_all_frames and _can_encode(wished, table) else None


def choose_frame(
    ranges: Sequence[MediaType], stored: str, table: FrameTable, *, single_allowed: bool
) -> FrameChoice:
    """Choose how frames of an instance stored as ``stored`` are answered; raises ``NotAcceptable``."""
    as_stored = _sent_as_stored(stored)
    for group in _by_weight(ranges):
        choices = [
            choice
            for wanted in group
            if (choice := _choice(wanted, stored, table, single_allowed=single_allowed)) is not None
        ]
        if choices:
            return next((choice for choice in choices if choice.target == as_stored), choices[0])
    raise NotAcceptable(
        f'frames are answered as {MULTIPART}; type="{OCTET_STREAM}", or compressed without loss as one of '
        f"{', '.join(DEFAULT_SYNTAXES)}"
    )


def _choice(wanted: MediaType, stored: str, table: FrameTable, *, single_allowed: bool) -> FrameChoice | None:
    is_multipart = wanted.essence == MULTIPART or wanted.essence in _ANYTHING
    if not is_multipart and not single_allowed:
        return None
    inner = inner_type(wanted, OCTET_STREAM) if wanted.essence == MULTIPART else wanted.essence
    found = _frame(_ALIASES.get(inner, inner), wanted.parameters.get("transfer-syntax"), stored, table)
    if found is None:
        return None
    target, media_type = found
    return FrameChoice(not is_multipart, target, f"{media_type}; transfer-syntax={target}")


def _frame(inner: str, wished: str | None, stored: str, table: FrameTable) -> tuple[str, str] | None:
    """Return transfer syntax and media type of frames for one range, or ``None``."""
    as_stored = _sent_as_stored(stored)
    stored_type = _media_type(as_stored)
    is_octets = inner == OCTET_STREAM
    if is_octets or inner in ("*/*", "application/*", "multipart/*"):
        if wished in (None, EXPLICIT_VR_LITTLE_ENDIAN) and can_decode(stored):
            return EXPLICIT_VR_LITTLE_ENDIAN, OCTET_STREAM
        if wished in (ANY_SYNTAX, as_stored) or (wished is None and not is_octets):
            return as_stored, OCTET_STREAM if is_octets else stored_type
        target = _encoded(wished, stored, table) if wished else None
        return None if target is None else (target, OCTET_STREAM if is_octets else _media_type(target))
    if matches(inner, stored_type) and stored_type != OCTET_STREAM and wished in (None, ANY_SYNTAX, stored):
        syntax = lookup(stored)
        default = DEFAULT_SYNTAXES.get(stored_type)
        # Lossless data can be had in the default of their type, others as they are.
        if wished is not None or syntax is None or syntax.lossy or _encoded(default, stored, table) is None:
            return stored, stored_type
        return (default or stored), stored_type
    media_type = next((offered for offered in DEFAULT_SYNTAXES if matches(inner, offered)), None)
    if media_type is None:
        return None
    target = _encoded(DEFAULT_SYNTAXES[media_type] if wished in (None, ANY_SYNTAX) else wished, stored, table)
    return (target, media_type) if target is not None and _media_type(target) == media_type else None


def _encoded(target: str | None, stored: str, table: FrameTable) -> str | None:
    """Return ``target`` where frames can be given compressed in it."""
    if target is None or target in _NEVER_SENT or target in _WHOLE_OBJECT_ONLY:
        return None
    if target == stored:
        return target
    return target if can_decode(stored) and _can_encode(target, table) else None


def _can_encode(target: str, table: FrameTable) -> bool:
    is_float = table.pixel_data_tag not in (0, 0x7FE00010)
    return not is_float and can_encode(target, table.bits_allocated)


def _can_decode_all(stored: str, table: FrameTable) -> bool:
    """Tell whether an object can be given decompressed: nothing of it is missing or a secret."""
    if stored in NATIVE_TRANSFER_SYNTAXES:
        return True
    syntax = lookup(stored)
    if syntax is None or not syntax.encapsulated:
        return False
    return table.kind == "none" or (can_decode(stored) and table.count == table.stated_count)


def labelled_syntax(content_type: str) -> str:
    """Return the transfer syntax that a Content-Type of ours names."""
    return content_type.rpartition("transfer-syntax=")[2]


def _sent_as_stored(stored: str) -> str:
    """Return the transfer syntax of frames that are sent as they lie."""
    return EXPLICIT_VR_LITTLE_ENDIAN if stored in NATIVE_TRANSFER_SYNTAXES else stored


def _media_type(transfer_syntax_uid: str) -> str:
    syntax = lookup(transfer_syntax_uid)
    return OCTET_STREAM if syntax is None else syntax.media_type
