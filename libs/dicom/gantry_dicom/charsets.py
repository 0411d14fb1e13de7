"""Text of data elements decoded by Specific Character Set (0008,0005).

Defined terms: PS3.3 C.12.1.1.2; encoding with and without code extensions: PS3.5 6.1, H-K.
Nothing here raises on bad text: what cannot be decoded as declared is decoded as well as it can
be, and the result says so (``Decoded.exact``). Choices where files and standard disagree:

* No character set declared, but bytes above 7F: UTF-8 if they are valid UTF-8, else Latin-1.
* ISO_IR 192 declared, invalid UTF-8: U+FFFD for the broken part if other multi-byte characters
  decode (a value cut in the middle), else Latin-1.
* Wrong spellings of defined terms ("ISO-IR 100", "UTF-8") are understood; unknown terms count
  as not declared.
* Escape sequences work whether or not their character set is declared.
* ISO_IR 13: 5C and 7E are decoded as backslash and tilde (not yen and overline), so that a
  value reads the same as its delimiters; bytes outside JIS X 0201 are tried as Shift JIS.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

# The VRs that Specific Character Set governs (PS3.5 6.1.2.2), and those of a single value, in
# which a backslash is text (PS3.5 6.2: LT, ST, UT; UR follows the same rule).
TEXT_VRS = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
SINGLE_VALUE_VRS = frozenset(("LT", "ST", "UR", "UT"))

_JIS_X0201 = "jis_x0201"
_JIS_X0208 = "jis_x0208"
_JIS_X0212 = "jis_x0212"

# PS3.3 Tables C.12-2, C.12-3 and C.12-4: number of the defined term -> (codec, escape sequences).
# A codec serves G1 (bytes A0-FF) except the two that DICOM designates to G0.
_REGISTERED: dict[str, tuple[str, tuple[bytes, ...]]] = {
    "6": ("ascii", (b"(B",)),
    "13": (_JIS_X0201, (b"(J", b")I")),
    "58": ("gb2312", (b"$)A",)),
    "87": (_JIS_X0208, (b"$B",)),
    "100": ("latin_1", (b"-A",)),
    "101": ("iso8859_2", (b"-B",)),
    "109": ("iso8859_3", (b"-C",)),
    "110": ("iso8859_4", (b"-D",)),
    "126": ("iso8859_7", (b"-F",)),
    "127": ("iso8859_6", (b"-G",)),
    "138": ("iso8859_8", (b"-H",)),
    "144": ("iso8859_5", (b"-L",)),
    "148": ("iso8859_9", (b"-M",)),
    "149": ("euc_kr", (b"$)C",)),
    "159": (_JIS_X0212, (b"$(D",)),
    "166": ("iso8859_11", (b"-T",)),
    "203": ("iso8859_15", (b"-b",)),
}
_SINGLE_BYTE = frozenset(_REGISTERED) - {"58", "87", "149", "159"}

# PS3.3 Table C.12-5: multi-byte character sets without code extensions.
_STAND_ALONE = {"ISO_IR 192": "utf_8", "GB18030": "gb18030", "GBK": "gbk"}

# Spellings met in real files that name a character set beyond doubt.
_ALIASES = {
    "UTF8": "ISO_IR 192",
    "ASCII": "ISO_IR 6",
    "USASCII": "ISO_IR 6",
    "LATIN1": "ISO_IR 100",
    "GB2312": "GBK",
    "SHIFTJIS": "ISO_IR 13",
    "EUCKR": "ISO 2022 IR 149",
    "WINDOWS1252": "ISO_IR 100",
    "CP1252": "ISO_IR 100",
}
_ISO_8859_PARTS = {
    "1": "100",
    "2": "101",
    "3": "109",
    "4": "110",
    "5": "144",
    "6": "127",
    "7": "126",
    "8": "138",
    "9": "148",
    "11": "166",
    "15": "203",
}

# What follows ESC -> (is G1, codec, number of the defined term). ESC $ @ (JIS C 6226) and
# ESC $ ( B are older forms of the same designation.
_DESIGNATIONS: dict[bytes, tuple[bool, str, str]] = {
    escape: (escape[:1] in b")-" or escape[:2] == b"$)", codec, number)
    for number, (codec, escapes) in _REGISTERED.items()
    for escape in escapes
} | {b"$@": (False, _JIS_X0208, "87"), b"$(B": (False, _JIS_X0208, "87"), b"(J": (False, "ascii", "13")}
_ESCAPE = re.compile(b"\x1b(" + b"|".join(re.escape(escape) for escape in _DESIGNATIONS) + b")")

# Where the designations of value 1 become active again (PS3.5 6.1.2.5.3).
_LINE_RESETS = re.compile(rb"[\t\n\f\r]")
_VALUE_RESETS = re.compile(rb"[\t\n\f\r\\]")
_NAME_RESETS = re.compile(rb"[\t\n\f\r\\^=]")

_TERM = re.compile(r"ISO[ _-]*(2022[ _-]*)?IR[ _-]*(\d+)")
_ISO_8859 = re.compile(r"ISO[ _-]*8859[ _-]*(\d+)")


class Decoded(NamedTuple):
    """Text, and whether the bytes were right by the declared character set."""

    text: str
    exact: bool


@dataclass(frozen=True, slots=True)
class CharacterSets:
    """A Specific Character Set value, ready for decoding.

    ``stand_alone`` is a codec that takes the whole value; else ``first`` is the codec of G1 at
    the start of a value (``None``: ASCII only) and ``numbers`` the registration numbers that
    may be designated. ``exact`` is false when a term was misspelt, unknown or misplaced.
    """

    stand_alone: str | None = None
    first: str | None = None
    numbers: tuple[str, ...] = ("6",)
    exact: bool = True


DEFAULT = CharacterSets()


@lru_cache(maxsize=256)
def character_sets(value: bytes) -> CharacterSets:
    """Return the character sets that a value of Specific Character Set declares."""
    terms = [term.strip(" \0") for term in value.decode("latin_1").split("\\")]
    names = [_canonical(term) for term in terms]
    exact = all(name == (term or name) for term, name in zip(terms, names, strict=True))
    if names[0] in _STAND_ALONE:
        return CharacterSets(_STAND_ALONE[names[0]], None, (), exact and len(names) == 1)
    numbers = []
    for index, name in enumerate(names):
        if name is None or name in _STAND_ALONE:
            exact = False
            number = "6" if index == 0 else None
        else:
            number = name.rsplit(" ", 1)[1]
        if number is not None:
            numbers.append(number)
    first_codec = None if numbers[0] == "6" else _REGISTERED[numbers[0]][0]
    if first_codec in (_JIS_X0208, _JIS_X0212):
        first_codec = None
    exact = exact and numbers[0] in _SINGLE_BYTE
    return CharacterSets(None, first_codec, tuple(numbers), exact)


def _canonical(term: str) -> str | None:
    if term == "":
        return "ISO_IR 6"
    if term in _STAND_ALONE:
        return term
    upper = term.upper()
    squeezed = re.sub(r"[ _-]", "", upper)
    if (alias := _ALIASES.get(squeezed)) is not None:
        return alias
    if (match := _ISO_8859.fullmatch(upper)) is not None:
        number = _ISO_8859_PARTS.get(match[1])
        return None if number is None else f"ISO_IR {number}"
    if (match := _TERM.fullmatch(upper)) is not None:
        if match[2] == "192":
            return "ISO_IR 192"
        if match[2] in _REGISTERED:
            return f"ISO 2022 IR {match[2]}" if match[1] else f"ISO_IR {match[2]}"
    return squeezed if squeezed in _STAND_ALONE else None


def decode(value: bytes, sets: CharacterSets, vr: str) -> Decoded:
    """Return all text of ``value``, backslashes and padding included.

    VRs that Specific Character Set does not govern are decoded as the default repertoire.
    """
    if value.isascii() and b"\x1b" not in value:
        return Decoded(value.decode("ascii"), True)
    if vr not in TEXT_VRS:
        return _undeclared(value)
    if sets.stand_alone is not None:
        return _stand_alone(value, sets.stand_alone)
    if b"\x1b" not in value:
        if sets.first is not None:
            return _run(value, sets.first)
        if _spare_g1(sets) is None:
            return _undeclared(value)
    other = _LINE_RESETS if vr in SINGLE_VALUE_VRS else _VALUE_RESETS
    return _extended(value, sets, _NAME_RESETS if vr == "PN" else other)


def decode_text(value: bytes, sets: CharacterSets, vr: str) -> str:
    """Return the text of ``value`` without its padding (trailing spaces and NULs)."""
    return decode(value, sets, vr).text.rstrip(" \0")


def decode_person_name(value: bytes, sets: CharacterSets) -> str:
    """Return a PN value as text, its component groups still joined by "="."""
    return decode_text(value, sets, "PN")


def _undeclared(value: bytes) -> Decoded:
    try:
        return Decoded(value.decode("utf_8"), False)
    except UnicodeDecodeError:
        return Decoded(value.decode("latin_1"), False)


def _stand_alone(value: bytes, codec: str) -> Decoded:
    try:
        return Decoded(value.decode(codec), True)
    except UnicodeDecodeError:
        pass
    if codec == "utf_8":
        text = value.decode("utf_8", "replace")
        if all(character < "\x80" or character == "\ufffd" for character in text):
            text = value.decode("latin_1")
        return Decoded(text, False)
    return Decoded(value.decode("gb18030", "replace"), False)


def _run(value: bytes, codec: str) -> Decoded:
    """Decode bytes of which 00-7F are ASCII and 80-FF the G1 set ``codec``."""
    if codec == _JIS_X0201:
        if all(byte < 0x80 or 0xA1 <= byte <= 0xDF for byte in value):
            text = "".join(chr(byte) if byte < 0x80 else chr(0xFF61 - 0xA1 + byte) for byte in value)
            return Decoded(text, True)
        return Decoded(value.decode("shift_jis", "replace"), False)
    try:
        return Decoded(value.decode(codec), True)
    except UnicodeDecodeError:
        # The vendors' supersets of the national standards come first.
        wider = {"euc_kr": "cp949", "gb2312": "gb18030"}.get(codec, codec)
        return Decoded(value.decode(wider, "replace"), False)


def _extended(value: bytes, sets: CharacterSets, resets: re.Pattern[bytes]) -> Decoded:
    """Decode text with code extension techniques (PS3.5 6.1.2.5)."""
    parts: list[str] = []
    exact = True
    g0, g1 = "ascii", sets.first
    spare = _spare_g1(sets)
    position, end = 0, len(value)
    while position < end:
        if value[position] == 0x1B:
            match = _ESCAPE.match(value, position)
            if match is None:
                parts.append("\x1b")
                exact = False
                position += 1
                continue
            in_g1, codec, number = _DESIGNATIONS[match[1]]
            exact = exact and (number in sets.numbers or number == "6")
            if in_g1:
                g1 = spare = codec
            else:
                g0 = codec
            position = match.end()
            continue
        stop = value.find(b"\x1b", position)
        run = value[position : stop if stop >= 0 else end]
        if g0 != "ascii":
            text, used, well_formed = _double(run, g0)
            parts.append(text)
            exact = exact and well_formed
            position += used
            if used < len(run):  # a control character or a byte above 7F
                g0 = "ascii"
            continue
        reset = resets.search(run)
        if reset is not None:
            run = run[: reset.end()]
        position += len(run)
        if run.isascii():
            parts.append(run.decode("ascii"))
        else:
            codec_used = g1 or spare
            decoded = _undeclared(run) if codec_used is None else _run(run, codec_used)
            parts.append(decoded.text)
            exact = exact and decoded.exact and g1 is not None
        if reset is not None:
            g1 = sets.first
    return Decoded("".join(parts), exact)


def _spare_g1(sets: CharacterSets) -> str | None:
    """Return the first declared G1 set, for writers that forget to designate it."""
    for number in sets.numbers:
        codec = _REGISTERED[number][0]
        if codec not in ("ascii", _JIS_X0208, _JIS_X0212):
            return codec
    return None


def _double(run: bytes, codec: str) -> tuple[str, int, bool]:
    """Decode two-byte characters in G0; return (text, bytes used, well-formed).

    Stops before a control character or a byte above 7F. A single byte left before the stop is
    taken as ASCII: writers forget to return to ASCII before a delimiter.
    """
    prefix = b"\x8f" if codec == _JIS_X0212 else b""
    out: list[str] = []
    well_formed = True
    position, end = 0, len(run)
    while position < end:
        first = run[position]
        if first < 0x20 or first >= 0x7F:
            break
        if first == 0x20:
            out.append(" ")
            position += 1
            continue
        second = run[position + 1] if position + 1 < end else 0
        if not 0x21 <= second <= 0x7E:
            out.append(chr(first))
            well_formed = False
            position += 1
            continue
        pair = prefix + bytes((first | 0x80, second | 0x80))
        try:
            out.append(pair.decode("euc_jp"))
        except UnicodeDecodeError:
            out.append("\ufffd")
            well_formed = False
        position += 2
    if position < end and run[position] in b"\x7f":
        out.append("\x7f")
        position += 1
    return "".join(out), position, well_formed
