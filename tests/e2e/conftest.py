from __future__ import annotations

import pytest
from gantry_testing import datapack, packcases
from gantry_testing.stack import Stack


def called_ae_titles() -> dict[str, str]:
    """Return called AE titles and the partitions behind them, enough for files that share a UID."""
    titles = {"DCMTK": "dcmtk"}
    if datapack.locate() is not None:
        most = max(case.number for case in packcases.cases(datapack.files()))
        titles |= {f"PACK{n}": f"dimse-{n}" for n in range(most + 1)}
    return titles


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """One running archive for all end-to-end tests; each test uses patients or partitions of its own."""
    with Stack(tmp_path_factory.mktemp("stack"), partitions=called_ae_titles()) as running:
        yield running


@pytest.fixture
def web(stack):
    with stack.web() as client:
        yield client
