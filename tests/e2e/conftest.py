from __future__ import annotations

import pytest
from gantry_testing import datapack, packcases
from gantry_testing.stack import Stack
from gantry_testing.synthetic.values import Instance


@pytest.fixture(scope="session")
def pack_partitions() -> dict[str, str]:
    """Called AE titles and the partitions behind them, enough for files that share a UID."""
    if datapack.locate() is None:
        return {}
    most = max(case.number for case in packcases.cases(datapack.files()))
    return {f"PACK{n}": f"dimse-{n}" for n in range(most + 1)}


@pytest.fixture(scope="session")
def stack(tmp_path_factory, pack_partitions):
    """One running archive for all end-to-end tests; each test uses patients or partitions of its own."""
    with Stack(tmp_path_factory.mktemp("stack"), partitions=pack_partitions) as running:
        yield running


@pytest.fixture
def web(stack):
    with stack.web() as client:
        yield client


def path_of(instance: Instance) -> str:
    return f"/studies/{instance.study_uid}/series/{instance.series_uid}/instances/{instance.sop_uid}"
