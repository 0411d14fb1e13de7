"""The Query/Retrieve information models as data (PS3.4 C.3, C.6, Table B.6.1-1's Q/R SOP classes)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from gantry_dicom.query import Level, Tag


class Retrieval(Enum):
    """What a Query/Retrieve SOP class does."""

    FIND = "find"
    MOVE = "move"
    GET = "get"


@dataclass(frozen=True, slots=True)
class Model:
    """An information model: its levels, top down."""

    name: str
    levels: tuple[Level, ...]

    def above(self, level: Level) -> tuple[Level, ...]:
        """Return the levels above ``level``, top down."""
        return self.levels[: self.levels.index(level)]


# Query/Retrieve Level (0008,0052), PS3.4 C.6.1.1 and C.6.2.1.
LEVEL_NAMES: Mapping[str, Level] = MappingProxyType(
    {"PATIENT": Level.PATIENT, "STUDY": Level.STUDY, "SERIES": Level.SERIES, "IMAGE": Level.INSTANCE}
)
NAMES_OF_LEVELS: Mapping[Level, str] = MappingProxyType({level: name for name, level in LEVEL_NAMES.items()})

# The unique key of each level (PS3.4 Tables C.6-1 to C.6-5).
UNIQUE_KEYS: Mapping[Level, Tag] = MappingProxyType(
    {
        Level.PATIENT: 0x00100020,
        Level.STUDY: 0x0020000D,
        Level.SERIES: 0x0020000E,
        Level.INSTANCE: 0x00080018,
    }
)

_PATIENT_ROOT = Model("patient root", (Level.PATIENT, Level.STUDY, Level.SERIES, Level.INSTANCE))
_STUDY_ROOT = Model("study root", (Level.STUDY, Level.SERIES, Level.INSTANCE))
_PATIENT_STUDY_ONLY = Model("patient/study only", (Level.PATIENT, Level.STUDY))  # retired

_ROOT = "1.2.840.10008.5.1.4.1.2"
QUERY_RETRIEVE: Mapping[str, tuple[Retrieval, Model]] = MappingProxyType(
    {
        f"{_ROOT}.{number}.{part}": (retrieval, model)
        for number, model in enumerate((_PATIENT_ROOT, _STUDY_ROOT, _PATIENT_STUDY_ONLY), 1)
        for part, retrieval in enumerate(Retrieval, 1)
    }
)
"""What each Query/Retrieve SOP class does, on which model."""
