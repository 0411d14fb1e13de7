"""Data sets as DICOM JSON (PS3.18 Annex F), from bytes to finished bytes.

The elements that the walker finds are turned into JSON fragments one by one, without building
objects in between; an element whose bytes, encoding and character set were seen before in the
chunk is taken from the ``EncoderMemo``. What holds for every object:

* Attributes are ordered by tag whatever the order in the file; of duplicates the first counts.
  Group lengths and groups 0000 and 0002 are left out (F.2.2).
* The text is UTF-8. Specific Character Set is ISO_IR 192 when an object holds text beyond ASCII
  and absent otherwise, never the label of the source.
* Pixel data always go by ``BulkDataURI``; other octets (OB OD OF OL OV OW UN) above
  ``INLINE_LIMIT`` too, below it they are ``InlineBinary``. Octets of big endian data sets are
  given in little endian order.
* UN values of standard or well-known private attributes are read by the dictionary's VR if they
  fit (PS3.5 6.2.2, note 2); sequences hidden in UN are shown as sequences. Unknown VR codes and
  values that do not fit their VR are UN.
* One bad element never harms another: it is given as UN and named in ``oddities``.

``values`` has the rules for each VR. Header bytes that the walker refuses (the gate admits none)
are tried with pydicom, see ``reference_encoder``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

import orjson
from pydicom.datadict import private_dictionary_VR

from gantry_dicom.attributes import SPECIFIC_CHARACTER_SET
from gantry_dicom.charsets import DEFAULT, CharacterSets, character_sets
from gantry_dicom.dictionary import SIGNED_IF_PIXELS_ARE, implicit_vr
from gantry_dicom.elements import (
    DEFAULT_MAX_DEPTH,
    PIXEL_DATA_TAGS,
    Element,
    Encoding,
    Malformed,
    is_encapsulated,
    is_sequence,
    item_encoding,
    items,
    walk,
)
from gantry_dicom.facts import PatientFacts, SeriesFacts, StudyFacts
from gantry_dicom.fragments import (
    INLINE_LIMIT,
    Fragments,
    Path,
    bulk_data_base,
    bulk_fragment,
    close_object,
    close_run,
    fragment,
    inline_fragment,
    path_text,
)
from gantry_dicom.header import DataSetHeader
from gantry_dicom.reference_encoder import encode_with_pydicom
from gantry_dicom.values import OCTET_UNITS, RENDERERS, Unfit, inline_binary, octets_to_little_endian

# Raised whenever the same header would be encoded differently: stored JSON is derived again.
ENCODER_VERSION = 1

PIXEL_REPRESENTATION = 0x00280103

_MAX_ODDITIES = 100


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


@dataclass(frozen=True, slots=True)
class EncodedHeader:
    """The top-level fragments in the order of their tags, and what was odd (by tag path)."""

    fragments: Fragments
    oddities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EncodedObject:
    """A finished JSON object (with ``BASE_MARK`` before bulk data paths)."""

    json: bytes
    oddities: tuple[str, ...]


@dataclass(slots=True)
class _Run:
    """What the levels of one data set share while it is encoded."""

    memo: EncoderMemo | None
    ends: dict[int, tuple[int, int]] = field(default_factory=dict)
    oddities: list[str] = field(default_factory=list)
    # Set when a fragment depends on more than its bytes, encoding and character set.
    contextual: bool = False

    def odd(self, path: Path, tag: int, what: str) -> None:
        self.contextual = True
        if len(self.oddities) < _MAX_ODDITIES:
            self.oddities.append(f"{path_text(path, tag)}: {what}")


@dataclass(slots=True)
class _Level:
    """One data set or item: a range of ``buffer`` and what its elements depend on."""

    buffer: bytes
    start: int
    end: int
    encoding: Encoding
    sets: CharacterSets
    path: Path = ()
    parent: _Level | None = None
    fragments: Fragments = field(default_factory=dict)
    signed: bool | None = None


class _UnorderedError(Exception):
    """The tags of a level do not ascend."""


def encode_header(
    header: DataSetHeader,
    *,
    study_instance_uid: str,
    series_instance_uid: str,
    sop_instance_uid: str,
    memo: EncoderMemo | None = None,
) -> EncodedObject:
    """Return the instance's complete metadata object (PS3.18 10.4.1.1.2).

    Raises ``Malformed`` when the bytes are no data set.
    """
    encoded = encode_elements(header, memo)
    base = bulk_data_base(study_instance_uid, series_instance_uid, sop_instance_uid)
    return EncodedObject(close_object(close_run(encoded.fragments, base)), encoded.oddities)


def encode_elements(header: DataSetHeader, memo: EncoderMemo | None = None) -> EncodedHeader:
    """Encode every top-level element; bulk data URIs begin with ``fragments.BULK_MARK``.

    Specific Character Set is not among the fragments (see ``fragments.close_run``). Raises
    ``Malformed`` when the bytes are no data set.
    """
    run = _Run(memo)
    try:
        fragments = _encode_top(run, header)
    except Malformed:
        return EncodedHeader(*encode_with_pydicom(header))
    return EncodedHeader(fragments, tuple(run.oddities))


def _encode_top(run: _Run, header: DataSetHeader) -> Fragments:
    before, after = header.before_pixel_data, header.after_pixel_data
    level = _Level(before, 0, len(before), header.encoding, DEFAULT)
    _encode_level(run, level)
    fragments = level.fragments
    if header.pixel_data_tag is not None:
        _add(run, fragments, header.pixel_data_tag, _pixel_data(header))
    if after:
        run.ends.clear()
        level = _Level(after, 0, len(after), header.encoding, level.sets)
        _encode_level(run, level)
        for tag, made in level.fragments.items():
            _add(run, fragments, tag, made)
    tags = list(fragments)
    return fragments if tags == sorted(tags) else dict(sorted(fragments.items()))


def _add(run: _Run, fragments: Fragments, tag: int, made: bytes) -> None:
    if tag in fragments:
        run.odd((), tag, "duplicate")
    else:
        fragments[tag] = made


def _pixel_data(header: DataSetHeader) -> bytes:
    tag, vr = header.pixel_data_tag or 0, header.pixel_data_vr or "OW"
    if header.pixel_data_length == 0 and not header.encapsulated:
        return fragment(tag, vr, b"")
    return bulk_fragment((), tag, vr)


def _encode_level(run: _Run, level: _Level) -> None:
    """Fill ``level.fragments`` with the elements of its range."""
    known_oddities = len(run.oddities)
    found = walk(level.buffer, level.start, level.end, level.encoding, ends=run.ends)
    try:
        _encode_ordered(run, level, found)
    except _UnorderedError:
        del run.oddities[known_oddities:]
        level.fragments.clear()
        again = list(walk(level.buffer, level.start, level.end, level.encoding, ends=run.ends))
        again.sort(key=lambda element: element.tag)
        _encode_ordered(run, level, again)


def _encode_ordered(run: _Run, level: _Level, elements: Iterable[Element]) -> None:
    """Encode elements whose tags ascend; raises ``_UnorderedError`` when they do not."""
    buffer, fragments, memo = level.buffer, level.fragments, run.memo
    table: dict[bytes, bytes] = {} if memo is None else memo.table(level.sets, level.encoding)
    longest = -1 if memo is None else EncoderMemo.MAX_ELEMENT
    raw = b""
    last = -1
    for element in elements:
        tag, _, start, _, _, after = element
        if tag <= last:
            if tag < last:
                raise _UnorderedError
            run.odd(level.path, tag, "duplicate")
            continue
        last = tag
        cacheable = after - start <= longest
        if cacheable:
            raw = buffer[start:after]
            made = table.get(raw)
            if made is not None:
                fragments[tag] = made
                continue
        if not tag & 0xFFFF or tag >> 16 in (0, 2):
            continue
        if tag == SPECIFIC_CHARACTER_SET:
            _set_character_sets(run, level, element)
            if memo is not None:
                table = memo.table(level.sets, level.encoding)
            continue
        contextual_before = run.contextual
        run.contextual = False
        made = fragments[tag] = _encode_element(run, level, element)
        if cacheable and memo is not None and not run.contextual:
            memo.put(table, raw, made)
        run.contextual = run.contextual or contextual_before


def _set_character_sets(run: _Run, level: _Level, element: Element) -> None:
    value = level.buffer[element.value_offset : element.value_offset + element.length]
    level.sets = character_sets(value)
    if not level.sets.exact:
        run.odd(level.path, element.tag, "character set name")


def _encode_element(run: _Run, level: _Level, element: Element) -> bytes:
    tag, vr, _, start, length, _ = element
    little_endian = level.encoding.little_endian
    if vr == "UN":
        vr = _known_vr(run, level, element)
    elif vr == "US" and not level.encoding.explicit and tag in SIGNED_IF_PIXELS_ARE:
        vr = _pixel_vr(run, level)
    if vr == "SQ" or is_sequence(element):
        try:
            return fragment(tag, "SQ", _sequence(run, level, element))
        except Malformed:
            run.odd(level.path, tag, "not a sequence")
            return _octets(run, level, element, "UN")
    if is_encapsulated(element):
        run.contextual = True
        return bulk_fragment(level.path, tag, vr)
    if vr in OCTET_UNITS:
        return _octets(run, level, element, vr)
    if length == 0:
        return fragment(tag, vr, b"")
    try:
        rendered, oddity = RENDERERS[vr](level.buffer[start : start + length], level.sets, little_endian)
    except Unfit:
        run.odd(level.path, tag, f"not a value of {vr}")
        return _octets(run, level, element, "UN")
    if oddity:
        run.odd(level.path, tag, oddity)
    return fragment(tag, vr, rendered)


def _sequence(run: _Run, level: _Level, element: Element) -> bytes:
    """Return the JSON array of the items, ``b""`` without items. Raises ``Malformed``."""
    if len(level.path) >= 2 * DEFAULT_MAX_DEPTH:
        raise Malformed("nested too deeply", element.header_offset)
    encoding = item_encoding(level.buffer, element, level.encoding)
    objects = []
    for number, item in enumerate(items(level.buffer, element, encoding, ends=run.ends), 1):
        path = (*level.path, element.tag, number)
        inner = _Level(level.buffer, item.start, item.end, encoding, level.sets, path, level)
        _encode_level(run, inner)
        objects.append(close_object(b"".join(inner.fragments.values())))
    return b"[" + b",".join(objects) + b"]" if objects else b""


def _octets(run: _Run, level: _Level, element: Element, vr: str) -> bytes:
    tag, _, _, start, length, _ = element
    if length == 0:
        return fragment(tag, vr, b"")
    if length > INLINE_LIMIT or tag in PIXEL_DATA_TAGS:
        run.contextual = True
        return bulk_fragment(level.path, tag, vr)
    value = level.buffer[start : start + length]
    if not level.encoding.little_endian:
        try:
            value = octets_to_little_endian(value, vr)
        except Unfit:
            run.odd(level.path, tag, f"not a value of {vr}")
            vr = "UN"
    return inline_fragment(tag, vr, inline_binary(value))


def _known_vr(run: _Run, level: _Level, element: Element) -> str:
    """Return the VR in which a UN value is given: the dictionary's if the value fits it."""
    tag = element.tag
    if tag >> 16 & 1 and tag & 0xFFFF > 0xFF:
        run.contextual = True
        creator = level.fragments.get(tag & 0xFFFF0000 | tag >> 8 & 0xFF)
        vr = None if creator is None else _private_vr(tag, creator)
    else:
        vr = implicit_vr(tag)
    if vr is None or vr == "UN":
        return "UN"
    if vr == "US" and tag in SIGNED_IF_PIXELS_ARE:
        vr = _pixel_vr(run, level)
    if vr == "SQ":
        return vr if _is_readable_sequence(run, level, element) else "UN"
    if element.undefined_length:
        return "UN"
    if vr in OCTET_UNITS:
        return vr if level.encoding.little_endian or OCTET_UNITS[vr] == 1 else "UN"
    if not level.encoding.little_endian and vr in _BINARY_VRS:
        # Whether the byte order was swapped by whoever did not know the VR cannot be told.
        return "UN"
    value = level.buffer[element.value_offset : element.value_offset + element.length]
    try:
        RENDERERS[vr](value, level.sets, True)
    except Unfit:
        return "UN"
    return vr


_BINARY_VRS = frozenset(("AT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"))


def _is_readable_sequence(run: _Run, level: _Level, element: Element) -> bool:
    encoding = item_encoding(level.buffer, element, level.encoding)
    try:
        for item in items(level.buffer, element, encoding, ends=run.ends):
            for _ in walk(level.buffer, item.start, item.end, encoding, ends=run.ends):
                pass
    except Malformed:
        return False
    return True


def _pixel_vr(run: _Run, level: _Level) -> str:
    """Return what "US or SS" is: SS where Pixel Representation, here or outside, is 1."""
    run.contextual = True
    where: _Level | None = level
    while where is not None:
        if where.signed is None:
            where.signed = _find_signed(run, where)
        if where.signed is not None:
            return "SS" if where.signed else "US"
        where = where.parent
    return "US"


def _find_signed(run: _Run, level: _Level) -> bool | None:
    for element in walk(level.buffer, level.start, level.end, level.encoding, ends=run.ends):
        if element.tag == PIXEL_REPRESENTATION:
            value = level.buffer[element.value_offset : element.value_offset + element.length]
            return any(value)
    return None


@lru_cache(maxsize=4096)
def _private_vr(tag: int, creator_fragment: bytes) -> str | None:
    """Return the VR of a private attribute that pydicom's private dictionary knows."""
    creator = orjson.loads(b"{" + creator_fragment[:-1] + b"}").popitem()[1].get("Value", [None])[0]
    if not isinstance(creator, str):
        return None
    try:
        vr = private_dictionary_VR(tag, creator)
    except KeyError:
        return None
    return vr if vr == "SQ" or vr in OCTET_UNITS or vr in RENDERERS else None
