"""Matching on DICOM JSON documents (PS3.18 F.2): what there is no column for.

Attributes of one sequence have to match in one of its items together (PS3.4 C.2.2.2.6). Private
attributes are found by the creator that the search names, in whichever block an object has
reserved for it (PS3.5 7.8.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from gantry_dicom.matching import matches
from gantry_dicom.query import Condition, DateTimeRange, Exact, Tag, TagPath
from gantry_dicom.query_keys import creator_of, is_private, is_private_creator

Document = Mapping[str, Any]
"""A data set, or an item of a sequence, as DICOM JSON has it."""

Creators = Mapping[Tag, str]
"""Creators by the tags that name them in a search."""

_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


def private_creators(conditions: Iterable[Condition]) -> Creators:
    """Return the private creators that a search names."""
    return {
        condition.path[0]: condition.value
        for condition in conditions
        if isinstance(condition, Exact) and len(condition.path) == 1 and is_private_creator(condition.path[0])
    }


def matches_document(conditions: Sequence[Condition], document: Document) -> bool:
    """Tell whether a document satisfies every condition."""
    creators = private_creators(conditions)
    groups: dict[TagPath, list[Condition]] = {}
    for condition in conditions:
        groups.setdefault(_path_of(condition)[:-1], []).append(condition)
    return all(_matches_in_one_item(above, group, document, creators) for above, group in groups.items())


def _path_of(condition: Condition) -> TagPath:
    return condition.date_path if isinstance(condition, DateTimeRange) else condition.path


def _matches_in_one_item(
    above: TagPath, conditions: Sequence[Condition], document: Document, creators: Creators
) -> bool:
    items = list(_items(document, above, creators))
    return any(_matches_item(conditions, item, creators) for item in items or ({},))


def _items(document: Document, path: TagPath, creators: Creators) -> Iterator[Document]:
    if not path:
        yield document
        return
    element = _element(document, path[0], creators)
    for item in element.get("Value", ()) if element.get("vr") == "SQ" else ():
        yield from _items(item or {}, path[1:], creators)


def _matches_item(conditions: Sequence[Condition], item: Document, creators: Creators) -> bool:
    values: dict[TagPath, tuple[str, ...]] = {}
    for condition in conditions:
        paths = (condition.date_path, condition.time_path) if isinstance(condition, DateTimeRange) else ()
        for path in paths or (_path_of(condition),):
            values[path] = _texts(_element(item, path[-1], creators))
    return matches(conditions, values)


def _element(item: Document, tag: Tag, creators: Creators) -> Document:
    name = stored_tag(item, tag, creators)
    return item.get(name, {}) if name is not None else {}


def stored_tag(item: Document, tag: Tag, creators: Creators) -> str | None:
    """Return the tag, as JSON has it, under which ``item`` holds what a search calls ``tag``.

    ``None`` when the object has no block of the creator that the search names.
    """
    block_of = tag if is_private_creator(tag) else creator_of(tag)
    creator = creators.get(block_of) if is_private(tag) else None
    if creator is None:
        return f"{tag:08X}"
    block = _block_of(item, tag >> 16, creator)
    if block is None:
        return None
    element = f"00{block}" if block_of == tag else f"{block}{tag & 0xFF:02X}"
    return f"{tag >> 16:04X}{element}"


def _block_of(item: Document, group: int, creator: str) -> str | None:
    """Return the two hex digits of the block that a creator has reserved in ``group``."""
    prefix = f"{group:04X}00"
    for name, element in item.items():
        if name.startswith(prefix) and creator in element.get("Value", ()):
            return name[6:]
    return None


def _texts(element: Document) -> tuple[str, ...]:
    texts = (_text(value) for value in element.get("Value", ()))
    return tuple(text for text in texts if text)


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return "=".join(str(value.get(group, "")) for group in _NAME_GROUPS).rstrip("=")
    return "" if value is None else str(value)
