from __future__ import annotations

import httpx
import pytest
from gantry_cli.conformance.server import Server
from gantry_testing.stack import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """One running archive for all statements."""
    with Stack(tmp_path_factory.mktemp("conformance")) as running:
        yield running


@pytest.fixture(scope="session")
def server(stack):
    """The archive as an outside examiner sees it."""
    with stack.web() as web, httpx.Client(timeout=60) as http:
        yield Server(web.base_url, http)
