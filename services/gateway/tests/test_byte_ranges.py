"""Byte ranges and validators (RFC 9110 13, 14; W40, W41)."""

import pytest
from gantry_gateway.byte_ranges import ByteRange, Ranged, names_etag, requested_range, strong_etag

ETAG = strong_etag("an object")


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("bytes=0-9", ByteRange(0, 10)),
        ("bytes=90-", ByteRange(90, 10)),
        ("bytes=95-200", ByteRange(95, 5)),
        ("bytes=-10", ByteRange(90, 10)),
        ("bytes=-200", ByteRange(0, 100)),
        ("Bytes=0-0", ByteRange(0, 1)),
        ("bytes=100-", Ranged.UNSATISFIABLE),
        ("bytes=-0", Ranged.UNSATISFIABLE),
        ("bytes=9-1", Ranged.WHOLE),
        ("bytes=0-1,5-6", Ranged.WHOLE),
        ("bytes=-", Ranged.WHOLE),
        ("items=0-1", Ranged.WHOLE),
        ("bytes=" + "9" * 40 + "-", Ranged.WHOLE),
    ],
)
def test_one_range_is_given_and_what_is_none_is_ignored(asked, found):
    assert requested_range({"range": asked}, ETAG, 100) == found


def test_a_range_of_another_representation_is_ignored():
    headers = {"range": "bytes=0-1", "if-range": '"other"'}
    assert requested_range(headers, ETAG, 100) is Ranged.WHOLE
    assert requested_range(headers | {"if-range": ETAG}, ETAG, 100) == ByteRange(0, 2)


def test_an_empty_representation_has_no_range():
    assert requested_range({"range": "bytes=0-"}, ETAG, 0) is Ranged.UNSATISFIABLE


def test_content_range_names_the_last_byte():
    assert ByteRange(90, 10).content_range(100) == "bytes 90-99/100"


def test_etags_are_compared_weakly():
    assert names_etag(f'"other", W/{ETAG}', ETAG)
    assert names_etag(ETAG, f"W/{ETAG}")
    assert names_etag("*", ETAG)
    assert not names_etag("", ETAG)
    assert strong_etag("a", "b") != strong_etag("a b")
