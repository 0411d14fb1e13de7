"""Text written in a Specific Character Set (PS3.5 6.1.2), or not at all: never a question mark."""

from __future__ import annotations

import re
import warnings

from pydicom.charset import convert_encodings, encode_string

from gantry_dicom.charsets import TEXT_VRS, character_sets, decode

UTF_8 = b"ISO_IR 192"
# Every component, value and line starts in the initial character set (PS3.5 6.1.2.5.3).
_NAME_DELIMITERS = re.compile(r"([\\^=])")
_DELIMITERS = re.compile(r"([\\\t\n\f\r])")


def encode(text: str, specific_character_set: bytes, vr: str) -> bytes | None:
    """Return ``text`` in a character set, or ``None`` when that cannot express it.

    What is returned reads back as ``text``.
    """
    if text.isascii():
        return text.encode() if "\x1b" not in text else None
    if vr not in TEXT_VRS:
        return None
    if specific_character_set == UTF_8:
        return text.encode("utf_8", "replace")
    terms = [term.strip() for term in specific_character_set.decode("latin_1").split("\\")]
    sets = character_sets(specific_character_set)
    if not sets.exact:
        return None
    delimiters = _NAME_DELIMITERS if vr == "PN" else _DELIMITERS
    with warnings.catch_warnings():
        # What it cannot encode it replaces, with a warning; the comparison below finds out.
        warnings.simplefilter("ignore")
        encodings = convert_encodings(terms)
        written = b"".join(
            piece.encode() if piece.isascii() else encode_string(piece, encodings)
            for piece in delimiters.split(text)
        )
    read = decode(written, sets, vr)
    return written if read.exact and read.text == text else None
