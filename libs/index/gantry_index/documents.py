"""Answers of a search: stored JSON documents completed with what changes (see ``gantry_dicom.facts``).

Documents are joined as bytes. Only where attributes of several documents must be merged (parents'
attributes, ``includefield``) are they cut into their elements first, by a scan for quotes and
braces: values pass through byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import orjson
from gantry_dicom.facts import BASE_MARK
from gantry_dicom.query import Include, Tag

Fragments = Mapping[bytes, bytes]
"""Elements of a JSON object by tag (eight hex digits), each as ``"GGGGEEEE":{...}``."""

ONLINE = b'"00080056":{"vr":"CS","Value":["ONLINE"]},'
_STRING = rb'"(?:[^"\\]++|\\.)*+"'


def _braces(depth: int) -> bytes:
    """Return a pattern for an object with at most ``depth`` objects inside each other."""
    inner = b"|" + _braces(depth - 1) if depth else b""
    return rb'\{(?:[^{}"]++|%s%s)*+\}' % (_STRING, inner)


# Nearly every element; sequences in sequences are left to a count of braces.
_ELEMENT = re.compile(rb'"([0-9A-F]{8})":%s' % _braces(4))
_TOKEN = re.compile(rb"%s|[{}]" % _STRING)


def fragments(run: bytes) -> dict[bytes, bytes]:
    """Cut a run of ``"GGGGEEEE":{...}`` elements, or a whole JSON object, into its elements."""
    found: dict[bytes, bytes] = {}
    position = 1 if run.startswith(b"{") else 0
    while run.startswith(b'"', position):
        element = _ELEMENT.match(run, position)
        end = element.end() if element is not None else _end_of_object(run, position)
        found[run[position + 1 : position + 9]] = run[position:end]
        position = end + 1  # a comma, or the end
    return found


def _end_of_object(run: bytes, position: int) -> int:
    """Return where the first object behind ``position`` ends."""
    depth = 0
    for token in _TOKEN.finditer(run, position):
        match token[0]:
            case b"{":
                depth += 1
            case b"}":
                depth -= 1
                if depth == 0:
                    return token.end()
    raise ValueError("a stored document is not a run of elements")


def joined(elements: Fragments) -> bytes:
    """Return the JSON object of elements, by ascending tag (PS3.18 F.2.2)."""
    return b"{" + b",".join(elements[tag] for tag in sorted(elements)) + b"}"


def chosen(elements: Fragments, include: Include) -> Fragments:
    """Return the elements that ``include`` asks for."""
    if include.all:
        return elements
    wanted = tag_names(include.tags)
    return {tag: element for tag, element in elements.items() if tag in wanted}


def tag_names(tags: Iterable[Tag]) -> frozenset[bytes]:
    """Return tags as they stand in JSON."""
    return frozenset(b"%08X" % tag for tag in tags)


def study_slots(
    retrieve_ae_title: str,
    study_uid: str,
    modalities: Sequence[str],
    sop_classes: Sequence[str],
    series_count: int,
    instance_count: int,
) -> tuple[bytes, ...]:
    """Return what ``STUDY_SLOTS`` names."""
    return (
        _retrieve_ae(retrieve_ae_title) + ONLINE,
        element("00080061", "CS", sorted(modalities)) + element("00080062", "UI", sorted(sop_classes)),
        _retrieve_url(f"/studies/{study_uid}"),
        element("00201206", "IS", [series_count]) + element("00201208", "IS", [instance_count]),
    )


def series_slots(
    retrieve_ae_title: str, study_uid: str, series_uid: str, instance_count: int
) -> tuple[bytes, ...]:
    """Return what ``SERIES_SLOTS`` names."""
    return (
        _retrieve_ae(retrieve_ae_title) + ONLINE,
        _retrieve_url(f"/studies/{study_uid}/series/{series_uid}"),
        element("00201209", "IS", [instance_count]),
    )


def instance_slots(
    retrieve_ae_title: str, study_uid: str, series_uid: str, sop_uid: str
) -> tuple[bytes, ...]:
    """Return what ``INSTANCE_SLOTS`` names."""
    return (
        _retrieve_ae(retrieve_ae_title) + ONLINE,
        _retrieve_url(f"/studies/{study_uid}/series/{series_uid}/instances/{sop_uid}"),
    )


def element(tag: str, vr: str, values: Sequence[object]) -> bytes:
    """Return one element with its comma; without values it has its VR only (PS3.18 F.2.5)."""
    if not values:
        return b'"%s":{"vr":"%s"},' % (tag.encode(), vr.encode())
    return b'"%s":{"vr":"%s","Value":%s},' % (tag.encode(), vr.encode(), orjson.dumps(values))


def availability(word: str) -> bytes:
    """Return the element Instance Availability with its comma, as ``ONLINE`` is one."""
    return element("00080056", "CS", [word])


def _retrieve_ae(title: str) -> bytes:
    return element("00080054", "AE", [title]) if title else b""


def _retrieve_url(path: str) -> bytes:
    """Escape the path alone: the mark in front of it is no JSON text yet."""
    return b'"00081190":{"vr":"UR","Value":["%s%s"]},' % (BASE_MARK, orjson.dumps(path)[1:-1])
