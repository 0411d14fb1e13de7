"""Keys of holds, purges, moves and certificates: plain, spread, and only the exact form is read."""

from __future__ import annotations

import pytest
from gantry_objectstore.errors import BadKey
from gantry_objectstore.keys import AmendmentKey, amendment_scope, check_key
from gantry_objectstore.retention_keys import (
    certificate_key,
    certificate_name,
    hold_folder,
    moving_key,
    parse_moving_key,
    parse_purging_key,
    purging_key,
)

SCOPE = amendment_scope("1.2.3")


@pytest.mark.parametrize(
    ("make", "parse"), [(purging_key, parse_purging_key), (moving_key, parse_moving_key)]
)
def test_a_note_says_which_revision_of_which_study(make, parse):
    key = check_key(make("main", SCOPE, 7))
    assert parse(key) == AmendmentKey("main", SCOPE, 7)
    for other in (key + "0", key.replace("main", "Main"), key.upper(), key.replace("/0", "/"), ""):
        with pytest.raises(BadKey):
            parse(other)
    with pytest.raises(BadKey):
        make("main", SCOPE, 0)


def test_no_key_holds_what_a_sender_said():
    folder = hold_folder("main", "patient", "../../o/main Doe^Jane")
    assert folder.startswith("k/main/patient/")
    assert "Doe" not in folder
    assert check_key(folder + "x")
    assert hold_folder("main", "patient", "1") != hold_folder("main", "study", "1")


def test_a_certificate_lies_under_the_day_of_its_purge():
    name = certificate_name(SCOPE, 2)
    assert certificate_key("main", "2026-11-25", name) == f"d/main/2026-11-25/{SCOPE}-00000002"
    for wrong in ("", "../x", "a b"):
        with pytest.raises(BadKey):
            certificate_key("main", "2026-11-25", wrong)
