"""Fuzzy matching of names, as its documentation says."""

from __future__ import annotations

import pytest
from gantry_dicom.fuzzy_names import is_like, literal_parts, words_of
from gantry_dicom.matching import person_name_matches
from hypothesis import given
from hypothesis import strategies as st


def like(pattern, name):
    return person_name_matches(pattern, name, fuzzy=True)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("Smyth", "Smith^John"),
        ("Maier", "Meier"),
        ("Schmitt", "SCHMIDT^Anna"),
        ("Mueller", "Müller^Jörg"),
        ("John Smith", "Smith^John"),
        ("Smith^Jon*", "SMITH^JOHN^Q"),
        ("Tarou Yamada", "Yamada^Tarou=山田^太郎"),
        ("山田", "Yamada^Tarou=山田^太郎"),
        ("Yamadaa 太郎", "Yamada^Tarou=山田^太郎"),
    ],
)
def test_names_that_are_nearly_the_same_match(pattern, name):
    assert like(pattern, name)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("Smith", "Jones^Smuggler"),
        ("Smith^Peter", "Smith^John"),
        ("花子", "Yamada^Hanako=山田^太郎"),
        ("?", "Smith"),
    ],
)
def test_other_names_do_not(pattern, name):
    assert not like(pattern, name)


def test_what_is_literally_there_is_found_too():
    assert like("S*h^J?hn", "Smith^John")
    assert not person_name_matches("Smyth", "Smith^John")


@given(st.text("abcdefgh0 ^=山", max_size=12), st.text("abcdefgh0 ^=山", max_size=12))
def test_fuzzy_matching_finds_at_least_what_literal_matching_finds(pattern, name):
    assert like(pattern, name) or not person_name_matches(pattern, name)


@given(st.text("abc1", min_size=1, max_size=8), st.text("abc1", min_size=1, max_size=8))
def test_likeness_has_no_direction(word, other):
    assert is_like(word, other) == is_like(other, word)
    assert is_like(word, word)


def test_words_are_of_plain_letters_and_the_rest_is_literal():
    assert words_of("o'brien^pat=山田^pat") == ("o", "brien", "pat")
    assert literal_parts("o'brien^pat=山田^太郎") == ("山田", "太郎")
