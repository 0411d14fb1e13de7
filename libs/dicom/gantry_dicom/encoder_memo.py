"""What the encoder remembers while it works on the instances of one chunk.

The slices of a series share most of their elements byte for byte. The JSON of an element is
remembered by character set, encoding and the element's bytes; it is only remembered when it
depends on nothing else.
"""

from __future__ import annotations

from gantry_dicom.charsets import CharacterSets
from gantry_dicom.elements import Encoding
from gantry_dicom.facts import PatientFacts, SeriesFacts, StudyFacts


class EncoderMemo:
    """Fragments (and level values) already made, shared by the instances of a chunk.

    Bounded: when ``limit`` bytes of elements and fragments are reached, all is forgotten.

    Not for use by several threads at once.
    """

    __slots__ = ("_limit", "_size", "_tables", "series", "studies")

    # Longer elements are encoded each time.
    MAX_ELEMENT = 16 * 1024

    def __init__(self, limit: int = 32 * 1024 * 1024) -> None:
        self._limit = limit
        self._size = 0
        self._tables: dict[tuple[CharacterSets, Encoding], dict[bytes, bytes]] = {}
        # Values of the levels above the instance, by the fragments they were made from (derive).
        self.studies: dict[tuple[bytes | None, ...], tuple[PatientFacts, StudyFacts]] = {}
        self.series: dict[tuple[bytes | None, ...], SeriesFacts] = {}

    def table(self, sets: CharacterSets, encoding: Encoding) -> dict[bytes, bytes]:
        """Return the fragments by element bytes of one character set and encoding."""
        key = (sets, encoding)
        table = self._tables.get(key)
        if table is None:
            table = self._tables[key] = {}
        return table

    def put(self, table: dict[bytes, bytes], element: bytes, made: bytes) -> None:
        """Remember a fragment; forget everything when the bound is reached."""
        size = len(element) + len(made) + 128
        self._size += size
        if self._size > self._limit:
            for other in self._tables.values():
                other.clear()
            self.studies.clear()
            self.series.clear()
            self._size = size
        table[element] = made
