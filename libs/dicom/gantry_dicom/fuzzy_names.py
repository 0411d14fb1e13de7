r"""Fuzzy matching of person names (PS3.4 C.2.2.2.1.1, PS3.18 8.3.4.2): by words and their trigrams.

A name that matches literally (``gantry_dicom.names``) matches fuzzily too. Else every word of the
pattern has to be like some word of the name, in any order and in any component group:

* Words are runs of the letters a to z and digits of the folded text; each is written with two
  blanks before and one behind and cut into its set of three-letter pieces. Two words are alike
  when they share at least ``LEAST`` of the pieces that either has (Jaccard index): ``smyth`` and
  ``smith``, ``meier`` and ``maier``, ``schmitt`` and ``schmidt``.
* What is written in other letters (ideographs, kana, Cyrillic) has to be in the name as it is.

Wild cards stand between words. In SQL the words are those of ``regexp_split_to_table`` and their
likeness is pg_trgm's ``similarity``; its index finds the candidates.
"""

from __future__ import annotations

import re
from fractions import Fraction

LEAST = Fraction(1, 4)
"""The least likeness of two words that are taken for the same."""

WORD_SEPARATORS = "[^a-z0-9]+"

_SEPARATORS = re.compile(WORD_SEPARATORS)
_NAME_DELIMITERS = re.compile(r"[\^=*?\s]+")
_OTHER_LETTERS = re.compile(r"[^\W_a-z0-9]+")


def words_of(folded: str) -> tuple[str, ...]:
    """Return the distinct words of a folded name or pattern that are compared by likeness."""
    return tuple(dict.fromkeys(word for word in _SEPARATORS.split(folded) if word))


def literal_parts(folded: str) -> tuple[str, ...]:
    """Return the distinct runs of other letters of a folded pattern, which are compared as they are."""
    found = (run for part in _NAME_DELIMITERS.split(folded) for run in _OTHER_LETTERS.findall(part))
    return tuple(dict.fromkeys(found))


def is_like(word: str, other: str) -> bool:
    """Tell whether two words are alike."""
    ours, theirs = _trigrams(word), _trigrams(other)
    return len(ours & theirs) >= LEAST * len(ours | theirs)


def name_is_like(folded_name: str, folded_pattern: str) -> bool:
    """Tell whether each word of a pattern is like one of the name's; literal matching is another matter."""
    wanted, parts = words_of(folded_pattern), literal_parts(folded_pattern)
    if not wanted and not parts:
        return False
    present = words_of(folded_name)
    return all(part in folded_name for part in parts) and all(
        any(is_like(word, other) for other in present) for word in wanted
    )


def _trigrams(word: str) -> set[str]:
    padded = f"  {word} "
    return {padded[start : start + 3] for start in range(len(padded) - 2)}
