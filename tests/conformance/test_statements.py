"""Every statement of PS3.18 behaviour that can be seen from outside, on a running archive."""

from __future__ import annotations

import pytest
from gantry_cli.conformance.catalogue import CHECKS


@pytest.mark.parametrize("check", [pytest.param(check, id=check.id) for check in CHECKS])
def test_the_archive_keeps(check, server):
    check.run(server)


def test_every_statement_has_one_check():
    ids = [check.id for check in CHECKS]
    assert len(ids) == len(set(ids))
