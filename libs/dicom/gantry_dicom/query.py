"""The search that QIDO-RS and C-FIND share, as a value (PS3.4 C.2.2.2, PS3.18 8.3.4).

A ``Query`` is pure data: entry points parse a request into it, ``gantry_index`` turns it
into SQL. Nothing here knows a database or a protocol.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

Tag = int
"""A data element tag as ``(group << 16) | element``."""

TagPath = tuple[Tag, ...]
"""A dotted path: sequence tags from the outside in, the attribute last."""


class Level(Enum):
    """Query level, top down (PS3.4 C.6.1.1)."""

    PATIENT = "patient"
    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"


@dataclass(frozen=True, slots=True)
class Exact:
    """Single value matching (PS3.4 C.2.2.2.1)."""

    path: TagPath
    value: str


@dataclass(frozen=True, slots=True)
class Wildcard:
    """Wild card matching, ``*`` and ``?`` (PS3.4 C.2.2.2.4)."""

    path: TagPath
    pattern: str


@dataclass(frozen=True, slots=True)
class UidList:
    """List of UID matching (PS3.4 C.2.2.2.2)."""

    path: TagPath
    uids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of several values, for a QIDO key that is given as a list (ModalitiesInStudy=CT,MR)."""

    path: TagPath
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """Range matching of DA, TM and DT (PS3.4 C.2.2.2.5); bounds inclusive, ``None`` is open."""

    path: TagPath
    first: str | None
    last: str | None


@dataclass(frozen=True, slots=True)
class DateTimeRange:
    """Combined date-time range matching of a DA and a TM attribute (PS3.4 C.2.2.2.5.3)."""

    date_path: TagPath
    time_path: TagPath
    first: str | None
    last: str | None


@dataclass(frozen=True, slots=True)
class PersonName:
    """Matching of a PN: pattern with wild cards, case and accents folded; optionally fuzzy."""

    path: TagPath
    pattern: str
    fuzzy: bool = False


@dataclass(frozen=True, slots=True)
class Empty:
    """Empty value matching (PS3.4 C.2.2.2.8)."""

    path: TagPath


Condition = Exact | Wildcard | UidList | AnyOf | Range | DateTimeRange | PersonName | Empty


@dataclass(frozen=True, slots=True)
class Include:
    """Which attributes beyond the level's required ones the answer carries."""

    all: bool = False
    tags: frozenset[Tag] = frozenset()


@dataclass(frozen=True, slots=True)
class Query:
    """One search.

    ``study_uid`` and ``series_uid`` narrow the search to a parent resource; ``conditions``
    must all hold. ``limit`` is the page size after every server cap, ``offset`` the number
    of matches skipped. ``after`` begins behind a page that has been given: it is what that page
    said about where it ends. ``include_parents`` adds the attributes of the levels above, as
    the all-studies and all-series routes of QIDO-RS do (PS3.18 10.6.3.3). ``shows_rejected``
    asks for what rejection notes have taken out of the ordinary view, too.

    The value of a private creator's element (gggg,00bb) among the conditions says which block
    the tags (gggg,bbee) of the query stand for; objects may hold it elsewhere (PS3.5 7.8.1).
    """

    level: Level
    partition: str
    study_uid: str | None = None
    series_uid: str | None = None
    conditions: tuple[Condition, ...] = ()
    include: Include = field(default_factory=Include)
    include_parents: bool = False
    limit: int = 100
    offset: int = 0
    after: str | None = None
    shows_rejected: bool = False
