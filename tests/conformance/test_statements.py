"""Every statement of PS3.18 behaviour that can be seen from outside, on a running archive."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from gantry_cli.conformance.catalogue import CHECKS
from gantry_cli.conformance.statements import NotTestable

_ID_IN_A_NAME = re.compile(r"^(?:async )?def test_([csqwru]\d\d)_", re.MULTILINE)


def ids_shown_from_inside():
    files = Path(__file__).parent.glob("test_*_inside.py")
    return {found.upper() for file in files for found in _ID_IN_A_NAME.findall(file.read_text())}


@pytest.mark.parametrize("check", [pytest.param(check, id=check.id) for check in CHECKS])
def test_the_archive_keeps(check, server):
    try:
        check.run(server)
    except NotTestable:
        # What cannot be seen from outside is shown by a test of the name test_<id>_…
        assert check.id in ids_shown_from_inside()


def test_every_statement_has_one_check():
    ids = [check.id for check in CHECKS]
    assert len(ids) == len(set(ids))
