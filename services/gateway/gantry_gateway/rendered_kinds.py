"""What kind of thing an instance is to whoever renders it, and the media types that it has (PS3.18 8.7.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from gantry_dicom.errors import BadRequest, NotAcceptable
from gantry_dicom.frames import FrameTable
from gantry_dicom.transfer_syntaxes import Codestream, lookup
from gantry_imaging.picture_files import RENDERED_TYPES
from gantry_index.records import StoredInstance

from gantry_gateway.media_types import MediaType, choose
from gantry_gateway.report_pages import HTML, PLAIN
from gantry_gateway.representations import MULTIPART, OCTET_STREAM

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_REPORTS = f"{_STORAGE}88."
_STATES = f"{_STORAGE}11."
# PS3.3 A.45, A.85, A.104: the media type that each encapsulated document class is for.
_DOCUMENTS: Mapping[str, str] = {
    f"{_STORAGE}104.1": "application/pdf",
    f"{_STORAGE}104.2": "text/xml",
    f"{_STORAGE}104.3": "model/stl",
    f"{_STORAGE}104.4": "model/obj",
    f"{_STORAGE}104.5": "model/mtl",
}
# What an icon says, by the beginning of the SOP Class UID; the longest that fits counts.
_LABELS: Mapping[str, str] = {
    _REPORTS: "SR",
    f"{_REPORTS}59": "KEY",
    _STATES: "PR",
    f"{_STORAGE}104.1": "PDF",
    f"{_STORAGE}104.2": "CDA",
    f"{_STORAGE}104.3": "STL",
    f"{_STORAGE}104.4": "OBJ",
    f"{_STORAGE}104.5": "MTL",
    f"{_STORAGE}9.": "WAVE",
    f"{_STORAGE}9.1.": "ECG",
    f"{_STORAGE}481.": "RT",
    f"{_STORAGE}481.3": "STRUCT",
    f"{_STORAGE}481.5": "PLAN",
    f"{_STORAGE}66": "REG",
    f"{_STORAGE}66.4": "SEG",
    f"{_STORAGE}67": "RWV",
    f"{_STORAGE}91.1": "ANN",
}


class Kind(Enum):
    """How an instance is rendered."""

    IMAGE = "image"
    VIDEO = "video"
    STATE = "presentation state"
    REPORT = "report"
    DOCUMENT = "document"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class RenderedChoice:
    """The media type of each rendered part, and whether it comes alone."""

    media_type: str
    single_part: bool


def kind_of(instance: StoredInstance, table: FrameTable) -> Kind:
    """Return how an instance is rendered."""
    if table.kind != "none":
        syntax = lookup(instance.transfer_syntax_uid)
        is_video = syntax is not None and syntax.codestream is Codestream.VIDEO
        return Kind.VIDEO if is_video else Kind.IMAGE
    if instance.sop_class_uid.startswith(_STATES):
        return Kind.STATE
    if instance.sop_class_uid.startswith(_REPORTS):
        return Kind.REPORT
    return Kind.DOCUMENT if instance.sop_class_uid in _DOCUMENTS else Kind.OTHER


def media_types_of(instance: StoredInstance, kind: Kind) -> Sequence[str]:
    """Return the rendered media types of an instance, its default first."""
    if kind in (Kind.IMAGE, Kind.STATE):
        return RENDERED_TYPES
    if kind is Kind.REPORT:
        return (HTML, PLAIN)
    if kind is Kind.DOCUMENT:
        return (_DOCUMENTS[instance.sop_class_uid],)
    if kind is Kind.VIDEO:
        syntax = lookup(instance.transfer_syntax_uid)
        return (OCTET_STREAM if syntax is None else syntax.media_type,)
    return ()


def choose_rendered(
    ranges: Sequence[MediaType], offered: Sequence[str], *, single_allowed: bool
) -> RenderedChoice | None:
    """Return how something offered in some media types is given, ``None`` when no range takes it."""
    for wanted in ranges:
        is_multipart = wanted.essence in (MULTIPART, "multipart/*")
        inner = inner_range(wanted) if is_multipart else wanted
        if not is_multipart and not single_allowed and wanted.essence != "*/*":
            continue
        media_type = choose((inner,), offered)
        if media_type is not None:
            return RenderedChoice(media_type, single_part=single_allowed and not is_multipart)
    return None


def inner_range(wanted: MediaType) -> MediaType:
    """Return the range that a multipart range asks its parts to be in."""
    inner, _, subtype = wanted.parameters.get("type", "*/*").lower().partition("/")
    return MediaType(inner, subtype, wanted.parameters, wanted.quality)


def refuse_transfer_syntax(ranges: Iterable[MediaType]) -> None:
    """Raise ``BadRequest`` where a rendered type is asked for in a transfer syntax (PS3.18 8.7.4)."""
    if any("transfer-syntax" in wanted.parameters for wanted in ranges):
        raise BadRequest("a rendered resource has no transfer syntax")


def not_acceptable(offered: Iterable[str]) -> NotAcceptable:
    """Return the error that says which rendered types there are; the caller raises it."""
    types = ", ".join(dict.fromkeys(offered))
    return NotAcceptable(
        f"what is asked for is rendered as {types}" if types else "there is nothing to render"
    )


def icon_label(instance: StoredInstance, kind: Kind) -> str:
    """Return the word on the icon that stands for an instance."""
    if kind is Kind.VIDEO:
        return "VIDEO"
    fitting = [start for start in _LABELS if instance.sop_class_uid.startswith(start)]
    return _LABELS[max(fitting, key=len)] if fitting else ("IMAGE" if kind is Kind.IMAGE else "DICOM")
