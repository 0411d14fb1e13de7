"""Cutting and joining stored documents byte for byte."""

from __future__ import annotations

import orjson
import pytest
from gantry_dicom.facts import BASE_MARK
from gantry_dicom.query import Include
from gantry_index.documents import chosen, element, fragments, instance_slots, joined
from hypothesis import given
from hypothesis import strategies as st

TAGS = st.integers(0, 2**32 - 1).map(lambda tag: f"{tag:08X}")
PLAIN = (
    st.text() | st.integers(-(2**53), 2**53) | st.none() | st.sampled_from(['"', "\\", "{", "}", '","', '"}'])
)
ELEMENTS = st.recursive(
    st.dictionaries(TAGS, st.fixed_dictionaries({"vr": st.just("LO"), "Value": st.lists(PLAIN, max_size=3)})),
    lambda inner: st.dictionaries(
        TAGS, st.fixed_dictionaries({"vr": st.just("SQ"), "Value": st.lists(inner, max_size=2)}), max_size=3
    ),
    max_leaves=12,
)


@given(ELEMENTS)
def test_any_object_is_cut_into_its_elements_and_joined_again(elements):
    ordered = dict(sorted(elements.items()))
    whole = orjson.dumps(ordered)
    cut = fragments(whole)
    assert {
        tag.decode(): orjson.loads(b"{" + part + b"}")[tag.decode()] for tag, part in cut.items()
    } == ordered
    assert joined(cut) == whole
    assert fragments(whole.removeprefix(b"{").removesuffix(b"}") + b",") == cut or not cut


def test_sequences_deeper_than_the_pattern_are_cut_whole():
    deep = {"00080001": {"vr": "LO", "Value": ["}"]}}
    for _ in range(12):
        deep = {"00081115": {"vr": "SQ", "Value": [deep]}}
    whole = orjson.dumps(deep | {"00200010": {"vr": "SH"}})
    assert list(fragments(whole)) == [b"00081115", b"00200010"]
    assert joined(fragments(whole)) == whole


def test_numbers_pass_as_they_are_written():
    run = b'"00181020":{"vr":"DS","Value":[1.50,1e-05,0.10]},"00181021":{"vr":"UR","Value":["\x1a/x"]},'
    assert b",".join(fragments(run).values()) + b"," == run


def test_what_is_no_run_of_elements_is_an_error():
    with pytest.raises(ValueError, match="run of elements"):
        fragments(b'"00080001":{"vr":"LO"')


def test_only_what_is_asked_for_is_chosen():
    elements = {b"00080020": b"a", b"0020000D": b"b"}
    assert chosen(elements, Include(tags=frozenset({0x0020000D, 0x00100010}))) == {b"0020000D": b"b"}
    assert chosen(elements, Include(all=True)) == elements


def test_an_element_without_values_has_its_vr_only():
    assert element("00080061", "CS", []) == b'"00080061":{"vr":"CS"},'
    assert element("00080061", "CS", ['a"b']) == b'"00080061":{"vr":"CS","Value":["a\\"b"]},'


def test_the_retrieve_url_keeps_the_mark_for_the_base():
    _, url = instance_slots("", "1.2", "1.2.3", "1.2.3.4")
    path = b"/studies/1.2/series/1.2.3/instances/1.2.3.4"
    assert url == b'"00081190":{"vr":"UR","Value":["%s%s"]},' % (BASE_MARK, path)
