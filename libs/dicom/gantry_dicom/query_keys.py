"""Which attributes a search may match and what it answers by itself, as data.

``MATCH_KEYS`` have columns: they unite the keys of PS3.18 Table 10.6.1-5
(``gantry_dicom.attributes``), PS3.4 Tables C.6-1 to C.6-5 and some optional ones; ``RETURNED`` are
the attributes of every answer (PS3.18 Tables 10.6.3-3 to 10.6.3-5), which need no ``includefield``.
Other attributes of a level are matched in its stored documents, where ``is_document_key`` says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from pydicom.datadict import dictionary_keyword, dictionary_VR, tag_for_keyword

from gantry_dicom.attributes import LEVELS, level_of
from gantry_dicom.query import Level, Tag, TagPath


@dataclass(frozen=True, slots=True)
class MatchKey:
    """An attribute that can be matched: where it is, its VR, and the IE that it belongs to."""

    path: TagPath
    vr: str
    level: Level


def tag_of(keyword: str) -> Tag:
    """Return the tag of a dictionary keyword; raises ``KeyError`` when there is none."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return tag


def _keys(level: Level, keywords: Iterable[str]) -> dict[TagPath, MatchKey]:
    keys = {}
    for dotted in keywords:
        path = tuple(tag_of(keyword) for keyword in dotted.split("."))
        keys[path] = MatchKey(path, dictionary_VR(path[-1]), level)
    return keys


_PATIENT = ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex")
_STUDY = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence.LocalNamespaceEntityID",
    "ModalitiesInStudy",
    "SOPClassesInStudy",
    "ReferringPhysicianName",
    "StudyDescription",
    "StudyInstanceUID",
    "StudyID",
    "NumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances",
)
_SERIES = (
    "Modality",
    "SeriesDescription",
    "BodyPartExamined",
    "SeriesInstanceUID",
    "SeriesNumber",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "RequestAttributesSequence.ScheduledProcedureStepID",
    "RequestAttributesSequence.RequestedProcedureID",
    "NumberOfSeriesRelatedInstances",
)
_INSTANCE = (
    "SOPClassUID",
    "SOPInstanceUID",
    "AvailableTransferSyntaxUID",
    "InstanceNumber",
    "Rows",
    "Columns",
    "BitsAllocated",
    "NumberOfFrames",
)

_OWN_KEYS: Mapping[Level, Mapping[TagPath, MatchKey]] = {
    Level.PATIENT: _keys(Level.PATIENT, _PATIENT),
    Level.STUDY: _keys(Level.STUDY, _STUDY),
    Level.SERIES: _keys(Level.SERIES, _SERIES),
    Level.INSTANCE: _keys(Level.INSTANCE, _INSTANCE),
}

_LEVELS = (Level.PATIENT, Level.STUDY, Level.SERIES, Level.INSTANCE)


def levels_down_to(level: Level) -> tuple[Level, ...]:
    """Return ``level`` and the levels above it, top down."""
    return _LEVELS[: _LEVELS.index(level) + 1]


MATCH_KEYS: Mapping[Level, Mapping[TagPath, MatchKey]] = {
    level: {path: key for upper in levels_down_to(level) for path, key in _OWN_KEYS[upper].items()}
    for level in _LEVELS
}
"""What a search at each level can match: the keys of the level and of those above it."""

MODALITY = tag_of("Modality")
MODALITIES_IN_STUDY = tag_of("ModalitiesInStudy")

# Date and time attributes that stand for one instant when both are given as ranges.
DATE_TIME_PAIRS: tuple[tuple[TagPath, TagPath], ...] = (
    ((tag_of("StudyDate"),), (tag_of("StudyTime"),)),
    ((tag_of("PerformedProcedureStepStartDate"),), (tag_of("PerformedProcedureStepStartTime"),)),
)


RETURNED: Mapping[Level, frozenset[Tag]] = {
    Level.PATIENT: frozenset(tag_of(keyword) for keyword in _PATIENT),
    **{level: attributes.default | attributes.computed for level, attributes in LEVELS.items()},
}
"""Attributes that every answer of a level carries when the object has them."""


# VRs whose values are no text, number or instant: nothing to match by.
_UNMATCHED_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "UN"})
_PIXEL_GROUP = 0x7FE0
# What no object holds, or an answer only says about itself.
_COMPUTED = frozenset(tag for attributes in LEVELS.values() for tag in attributes.computed)


def is_private(tag: Tag) -> bool:
    """Tell whether a tag is private (PS3.5 7.8)."""
    return bool(tag >> 16 & 1)


def is_private_creator(tag: Tag) -> bool:
    """Tell whether a tag is a private creator's, which reserves a block (PS3.5 7.8.1)."""
    return is_private(tag) and 0x10 <= tag & 0xFFFF <= 0xFF


def creator_of(tag: Tag) -> Tag:
    """Return the tag of the private creator that reserves the block of a private tag."""
    return tag >> 16 << 16 | tag >> 8 & 0xFF


@lru_cache(maxsize=1024)
def vr_of(path: TagPath) -> str:
    """Return the VR that a key is read by; private attributes, which no dictionary has, are text (LO)."""
    if is_private(path[-1]):
        return "LO"
    return dictionary_VR(path[-1]).partition(" or ")[0]


def is_document_key(level: Level, path: TagPath) -> bool:
    """Tell whether a search of ``level`` can match the attribute in documents.

    That is so for the attributes of the level and of those above it; private ones are instances'.
    """
    tag = path[0]
    if level is Level.PATIENT or tag in _COMPUTED or tag >> 16 == _PIXEL_GROUP:
        return False
    if tag not in LEVELS[level].default and level_of(tag) not in levels_down_to(level):
        return False
    return vr_of(path) not in _UNMATCHED_VRS


@lru_cache(maxsize=1024)
def name_of(path: TagPath) -> str:
    """Return a path for people: keywords where the dictionary has them, else eight hex digits."""
    return ".".join(_name(tag) for tag in path)


def _name(tag: Tag) -> str:
    try:
        return dictionary_keyword(tag) or f"{tag:08X}"
    except KeyError:
        return f"{tag:08X}"
