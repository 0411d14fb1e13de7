"""QIDO-RS query parameters to a ``Query`` (PS3.18 8.3.4, 10.6.1).

A name is an attribute when it begins as only attributes do: a capital letter (keyword), a digit
or a parenthesis (tag), or is eight hex digits. Such a name that the dictionary does not know is
an error; every other unknown parameter is ignored, as web clients and proxies add their own.
An attribute that exists but cannot be matched at the level is left out of the search, never
silently: a warning says so, for the ``Warning`` header of the answer.

``pagetoken`` is an extension: it begins behind a page that has been given (``Query.after``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydicom.datadict import dictionary_has_tag, tag_for_keyword

from gantry_dicom.errors import BadRequest
from gantry_dicom.query import Condition, Include, Level, Query, Tag, TagPath
from gantry_dicom.query_conditions import combine_date_times, conditions_of
from gantry_dicom.query_keys import (
    MATCH_KEYS,
    MODALITIES_IN_STUDY,
    MODALITY,
    RETURNED,
    creator_of,
    is_document_key,
    is_private,
    is_private_creator,
    name_of,
    vr_of,
)

_TAG = re.compile(r"\(([0-9A-Fa-f]{4}),([0-9A-Fa-f]{4})\)|([0-9A-Fa-f]{4})([0-9A-Fa-f]{4})")
_LOOKS_LIKE_ATTRIBUTE = re.compile(r"[A-Z0-9(]|[0-9A-Fa-f]{8}(\.|$)")
_NUMBER = re.compile(r"[0-9]{1,18}")
_LARGEST_OFFSET = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ParsedQuery:
    """A query, and what the caller must be told about it (texts of Warning 299)."""

    query: Query
    warnings: tuple[str, ...] = ()


def parse_query(
    level: Level,
    params: Sequence[tuple[str, str]],
    *,
    partition: str,
    study_uid: str | None = None,
    series_uid: str | None = None,
    include_parents: bool = False,
    default_limit: int = 100,
    max_limit: int = 1000,
) -> ParsedQuery:
    """Return the search that the percent-decoded ``params`` of a request at ``level`` ask for.

    ``study_uid`` and ``series_uid`` come from the path. Raises ``BadRequest`` naming the parameter.
    """
    options, keys, included = _sorted_out(params)
    fuzzy = _flag(options, "fuzzymatching")
    empty_values = _flag(options, "emptyvaluematching")
    multiple_values = _flag(options, "multiplevaluematching")
    warnings: list[str] = []
    conditions: list[Condition] = []
    tags: set[Tag] = set()
    for path, texts in keys.items():
        matched = _matched_path(level, path)
        tags.add(matched[0])
        vr = _matchable_vr(level, matched, keys)
        if vr is not None:
            conditions += conditions_of(
                matched,
                vr,
                _joined(path, vr, texts),
                empty_values=empty_values,
                multiple_values=multiple_values,
                fuzzy=fuzzy,
            )
        elif any(text.strip(" *") for text in texts):
            warnings.append(f"{name_of(path)} {_why_ignored(level, path)} and was ignored.")
    included_all, included_tags = included
    return ParsedQuery(
        Query(
            level=level,
            partition=partition,
            study_uid=study_uid,
            series_uid=series_uid,
            conditions=combine_date_times(conditions),
            include=Include(included_all, frozenset((tags | included_tags) - RETURNED[level])),
            include_parents=include_parents,
            limit=min(_number(options, "limit", default_limit), max_limit),
            offset=min(_number(options, "offset", 0), _LARGEST_OFFSET),
            after=options.get("pagetoken") or None,
        ),
        tuple(warnings),
    )


_Options = Mapping[str, str]
_Keys = Mapping[TagPath, Sequence[str]]
_OPTION_NAMES = frozenset(
    {"limit", "offset", "pagetoken", "fuzzymatching", "emptyvaluematching", "multiplevaluematching"}
)


def _sorted_out(params: Sequence[tuple[str, str]]) -> tuple[_Options, _Keys, tuple[bool, set[Tag]]]:
    """Part the parameters into options, match keys by path, and (include all, include tags)."""
    options: dict[str, str] = {}
    keys: dict[TagPath, list[str]] = {}
    include_all = False
    included: set[Tag] = set()
    for name, value in params:
        if name == "includefield":
            for field in _fields(value):
                # `all` beside other fields breaks 8.3.4.3; it contains them, so no harm is done.
                if field == "all":
                    include_all = True
                else:
                    included.add(attribute_path(field)[0])
        elif name in _OPTION_NAMES:
            if options.setdefault(name, value) != value:
                raise BadRequest(f"{name} is given twice with different values")
        elif _LOOKS_LIKE_ATTRIBUTE.match(name):
            keys.setdefault(attribute_path(name), []).append(value)
    return options, keys, (include_all, included)


def _fields(value: str) -> list[str]:
    """Cut an includefield list at its commas, but not inside ``(gggg,eeee)``."""
    fields, current = [], ""
    for piece in re.split(r"(\([^()]*\)|,)", value):
        if piece == ",":
            fields.append(current.strip())
            current = ""
        else:
            current += piece
    fields.append(current.strip())
    return [field for field in fields if field]


def attribute_path(name: str) -> TagPath:
    """Return the tags of an attribute given by keywords or tags joined by dots (PS3.18 8.3.4.1).

    Tags are eight hex digits or ``(gggg,eeee)``. Raises ``BadRequest`` naming the attribute.
    """
    return tuple(_tag(name, part) for part in name.split("."))


def _tag(name: str, part: str) -> Tag:
    found = _TAG.fullmatch(part)
    if found is not None:
        tag = int("".join(digits for digits in found.groups() if digits), 16)
        # Private tags have no dictionary; of the others the dictionary knows all.
        if tag >> 16 & 1 or dictionary_has_tag(tag):
            return tag
    elif part:  # some retired entries of the dictionary have an empty keyword
        by_keyword = tag_for_keyword(part)
        if by_keyword is not None:
            return by_keyword
    raise BadRequest(f"{name[:64]!r} is not an attribute")


def _matched_path(level: Level, path: TagPath) -> TagPath:
    """Return what a key stands for: at the study level Modality asks for a series of it."""
    if level is Level.STUDY and path == (MODALITY,):
        return (MODALITIES_IN_STUDY,)
    return path


def _matchable_vr(level: Level, path: TagPath, keys: _Keys) -> str | None:
    """Return the VR that a key is matched by, or ``None`` when it cannot be matched."""
    known = MATCH_KEYS[level].get(path)
    if known is not None:
        return known.vr
    if not is_document_key(level, path) or (_needs_creator(path) and not _is_named(path, keys)):
        return None
    return vr_of(path)


def _needs_creator(path: TagPath) -> bool:
    return is_private(path[-1]) and not is_private_creator(path[-1])


def _is_named(path: TagPath, keys: _Keys) -> bool:
    """Tell whether the creator of a private attribute is among the keys (PS3.18 8.3.4.3)."""
    return any(text.strip(" *") for text in keys.get((creator_of(path[-1]),), ()))


def _why_ignored(level: Level, path: TagPath) -> str:
    if level is Level.INSTANCE and _needs_creator(path):
        return "needs its private creator among the keys"
    return f"cannot be matched at the {level.value} level"


def _joined(path: TagPath, vr: str, texts: Sequence[str]) -> str:
    """Return the one text of a key; lists may also be given by repeating the parameter."""
    distinct = list(dict.fromkeys(texts))
    if len(distinct) == 1:
        return distinct[0]
    if vr not in ("UI", "CS"):
        raise BadRequest(f"{name_of(path)} is given twice with different values")
    # One universal value among them makes the whole key universal.
    return "\\".join(distinct) if all(text.strip(" *") for text in distinct) else ""


def _flag(options: _Options, name: str) -> bool:
    value = options.get(name, "false")
    if value not in ("true", "false"):
        raise BadRequest(f"{name} is neither true nor false")
    return value == "true"


def _number(options: _Options, name: str, default: int) -> int:
    value = options.get(name)
    if value is None or value == "":
        return default
    if _NUMBER.fullmatch(value) is None:
        raise BadRequest(f"{name} is not a number from 0")
    return int(value)
