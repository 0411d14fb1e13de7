"""One element's value as DICOM JSON (PS3.18 F.2.2-F.2.7), by its value representation.

Each function turns the bytes of a value field into the JSON text of the ``Value`` array, or into
``b""`` when the value is empty (F.2.5). Rules where PS3.18 leaves a choice:

* DS and IS are JSON numbers with the digits of the file (sign, leading zeros and bare points put
  into JSON's form); text that is no number, and numbers that IEEE 754 doubles cannot hold
  (an IS beyond 2^53, a DS with more digits than survive), are strings (F.2.3, note).
* SV and UV beyond 2^53 are strings; FL and FD that are NaN or infinite are the strings "NaN",
  "Infinity" and "-Infinity" (RFC 8259 6 has no such numbers).
* Spaces and NULs at the end of each value are padding; in AE, AS, CS, DA, DS, DT, IS, TM and UI
  also at the start.
* Bytes that do not fit their VR (a US of 3 bytes) raise ``Unfit``: the encoder gives them as UN.
"""

from __future__ import annotations

import math
import re
from array import array
from base64 import b64encode
from collections.abc import Callable
from decimal import Decimal
from struct import unpack

import orjson

from gantry_dicom.charsets import CharacterSets, decode
from gantry_dicom.errors import CannotProcess

# VRs whose values are octets: InlineBinary or BulkDataURI (F.2.2). Numbers are the bytes that
# a big endian data set has swapped (PS3.5 7.3).
OCTET_UNITS = {"OB": 1, "OD": 8, "OF": 4, "OL": 4, "OV": 8, "OW": 2, "UN": 1}

# JSON text of a value, and what was odd about it ("" when nothing).
Rendered = tuple[bytes, str]
Renderer = Callable[[bytes, CharacterSets, bool], Rendered]

_NUL_AND_SPACE = " \0"
_LARGEST_EXACT = 2**53

# A whole DS or IS value field that JSON takes as it is once backslashes are commas: numbers of
# at most 16 characters and 15 digits, as PS3.5 6.2 allows, without plus sign or leading zeros.
_PLAIN_NUMBERS = re.compile(
    rb"(?:(?=[^\\]{1,16}(?:\\|\Z))-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,14})?(?:[eE][-+]?[0-9]{1,2})?(?:\\(?=.)|\Z))+",
    re.DOTALL,
)
_NUMBER = re.compile(r"([-+]?)(?:([0-9]+)(?:\.([0-9]*))?|\.([0-9]+))(?:[eE]([-+]?[0-9]+))?")


class Unfit(CannotProcess):
    """The bytes cannot be a value of the stated VR."""


def octets_to_little_endian(value: bytes, vr: str) -> bytes:
    """Return the octets of a big endian ``value`` in little endian order.

    Raises ``Unfit`` when the length is no multiple of the VR's unit.
    """
    unit = OCTET_UNITS[vr]
    if unit == 1:
        return value
    if len(value) % unit:
        raise Unfit(f"length {len(value)} does not fit {vr}")
    swapped = array({2: "H", 4: "I", 8: "Q"}[unit], value)
    swapped.byteswap()
    return swapped.tobytes()


def inline_binary(value: bytes) -> bytes:
    """Return ``value`` as a JSON string of base64."""
    return b'"' + b64encode(value) + b'"'


def json_number(text: str) -> str | None:
    """Return the JSON number of a DS or IS value, or ``None`` if it is to be a string."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    sign, whole, fraction, bare_fraction, exponent = match.groups()
    fraction = fraction or bare_fraction or ""
    whole = (whole or "").lstrip("0") or "0"
    number = f"{'-' if sign == '-' else ''}{whole}{'.' if fraction else ''}{fraction}"
    digits = len((whole + fraction).lstrip("0"))
    if exponent is None and not fraction:
        return number if digits <= 16 and int(whole) <= _LARGEST_EXACT else None
    # A double holds any 15 decimal digits; beyond that it must be tried.
    if exponent is None and digits <= 15 and len(number) <= 64:
        return number
    if exponent is not None:
        if len(exponent.lstrip("+-0")) > 4:
            return None
        number += f"e{exponent}"
    return number if _survives(number) else None


def _survives(number: str) -> bool:
    """Whether a reader with IEEE 754 doubles gets the same decimal digits back."""
    as_float = float(number)
    return math.isfinite(as_float) and Decimal(repr(as_float)) == Decimal(number)


# Values whose JSON strings are their own bytes: printable ASCII without quotation mark and
# backslash, not empty and without padding at either end; one, and several between backslashes.
_PLAIN = rb"[!#-\[\]-~](?:[ !#-\[\]-~]*[!#-\[\]-~])?"
_PLAIN_TEXT = re.compile(_PLAIN)
_PLAIN_TEXTS = re.compile(_PLAIN + rb"(?:\\" + _PLAIN + rb")*")


def _array(values: list[str]) -> bytes:
    if len(values) == 1:
        return orjson.dumps(values) if values[0] else b""
    return orjson.dumps([value or None for value in values])


def _text_renderer(vr: str, *, single: bool) -> Renderer:
    is_plain = (_PLAIN_TEXT if single else _PLAIN_TEXTS).fullmatch

    def render(value: bytes, sets: CharacterSets, _little_endian: bool) -> Rendered:
        plain = value.rstrip(b" \0")
        if is_plain(plain):
            return b'["' + plain.replace(b"\\", b'","') + b'"]', ""
        text, exact = decode(value, sets, vr)
        parts = [text] if single else text.split("\\")
        values = [part.rstrip(_NUL_AND_SPACE) for part in parts]
        return _array(values), "" if exact else "character set"

    return render


def _code_renderer(vr: str) -> Renderer:
    def render(value: bytes, sets: CharacterSets, _little_endian: bool) -> Rendered:
        plain = value.rstrip(b" \0")
        if _PLAIN_TEXTS.fullmatch(plain):
            return b'["' + plain.replace(b"\\", b'","') + b'"]', ""
        text, exact = decode(value, sets, vr)
        values = [part.strip(_NUL_AND_SPACE) for part in text.split("\\")]
        return _array(values), "" if exact else "character set"

    return render


def _person_names(value: bytes, sets: CharacterSets, _little_endian: bool) -> Rendered:
    plain = value.rstrip(b" \0")
    if b"=" not in plain and _PLAIN_TEXT.fullmatch(plain):
        return b'[{"Alphabetic":"' + plain + b'"}]', ""
    text, exact = decode(value, sets, "PN")
    names = [_person_name(part) for part in text.split("\\")]
    oddity = "" if exact else "character set"
    if len(names) == 1 and names[0] is None:
        return b"", oddity
    return orjson.dumps(names), oddity


_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


def _person_name(text: str) -> dict[str, str] | None:
    groups = {}
    for name, group in zip(_NAME_GROUPS, text.rstrip(_NUL_AND_SPACE).split("=", 2), strict=False):
        if stripped := group.rstrip(_NUL_AND_SPACE):
            groups[name] = stripped
    return groups or None


def _number_strings_renderer(vr: str) -> Renderer:
    def render(value: bytes, sets: CharacterSets, _little_endian: bool) -> Rendered:
        stripped = value.strip(b" \0")
        if _PLAIN_NUMBERS.fullmatch(stripped):
            return b"[" + stripped.replace(b"\\", b",") + b"]", ""
        text, _ = decode(stripped, sets, vr)
        oddity = ""
        tokens = []
        parts = [part.strip(_NUL_AND_SPACE) for part in text.split("\\")]
        if parts == [""]:
            return b"", ""
        for part in parts:
            number = json_number(part)
            if number is not None:
                tokens.append(number.encode())
            elif part:
                tokens.append(orjson.dumps(part))
                oddity = "number given as text"
            else:
                tokens.append(b"null")
        return b"[" + b",".join(tokens) + b"]", oddity

    return render


def _integers_renderer(vr: str, code: str, size: int) -> Renderer:
    signed = code.islower()

    def render(value: bytes, _sets: CharacterSets, little_endian: bool) -> Rendered:
        if len(value) == size and size != 8:
            return b"[%d]" % int.from_bytes(value, "little" if little_endian else "big", signed=signed), ""
        count, rest = divmod(len(value), size)
        if rest:
            raise Unfit(f"length {len(value)} does not fit {vr}")
        numbers = unpack(f"{'<' if little_endian else '>'}{count}{code}", value)
        if size == 8:
            return orjson.dumps([n if abs(n) <= _LARGEST_EXACT else str(n) for n in numbers]), ""
        return orjson.dumps(numbers), ""

    return render


def _floats_renderer(vr: str, code: str, size: int) -> Renderer:
    def render(value: bytes, _sets: CharacterSets, little_endian: bool) -> Rendered:
        count, rest = divmod(len(value), size)
        if rest:
            raise Unfit(f"length {len(value)} does not fit {vr}")
        numbers = unpack(f"{'<' if little_endian else '>'}{count}{code}", value)
        if all(map(math.isfinite, numbers)):
            return orjson.dumps(numbers), ""
        return orjson.dumps([number_or_name(number) for number in numbers]), "not a finite number"

    return render


def number_or_name(number: float) -> float | str:
    """Return a finite number as it is, and others as the strings that stand for them."""
    if math.isfinite(number):
        return number
    if math.isnan(number):
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"


def _tags(value: bytes, _sets: CharacterSets, little_endian: bool) -> Rendered:
    if len(value) % 4:
        raise Unfit(f"length {len(value)} does not fit AT")
    numbers = unpack(f"{'<' if little_endian else '>'}{len(value) // 2}H", value)
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    return orjson.dumps([f"{group:04X}{number:04X}" for group, number in pairs]), ""


RENDERERS: dict[str, Renderer] = {
    "AE": _code_renderer("AE"),
    "AS": _code_renderer("AS"),
    "AT": _tags,
    "CS": _code_renderer("CS"),
    "DA": _code_renderer("DA"),
    "DS": _number_strings_renderer("DS"),
    "DT": _code_renderer("DT"),
    "FD": _floats_renderer("FD", "d", 8),
    "FL": _floats_renderer("FL", "f", 4),
    "IS": _number_strings_renderer("IS"),
    "LO": _text_renderer("LO", single=False),
    "LT": _text_renderer("LT", single=True),
    "PN": _person_names,
    "SH": _text_renderer("SH", single=False),
    "SL": _integers_renderer("SL", "l", 4),
    "SS": _integers_renderer("SS", "h", 2),
    "ST": _text_renderer("ST", single=True),
    "SV": _integers_renderer("SV", "q", 8),
    "TM": _code_renderer("TM"),
    "UC": _text_renderer("UC", single=False),
    "UI": _code_renderer("UI"),
    "UL": _integers_renderer("UL", "L", 4),
    "UR": _text_renderer("UR", single=True),
    "US": _integers_renderer("US", "H", 2),
    "UT": _text_renderer("UT", single=True),
    "UV": _integers_renderer("UV", "Q", 8),
}
