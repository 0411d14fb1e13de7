from __future__ import annotations

import httpx
import pytest
from gantry_testing.recorded_requests import studies_to_ask_about
from gantry_testing.stack import Stack


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """Base URL of an archive with the studies that the requests are about, and these."""
    studies = studies_to_ask_about()
    environment = {"GANTRY_CORS_ORIGINS": "https://viewer.example"}
    with Stack(tmp_path_factory.mktemp("clients"), environment=environment) as stack, stack.web() as web:
        everything = [instance.data for instances in studies.values() for instance in instances]
        assert web.store(everything).status == 200
        yield web.base_url, studies


@pytest.fixture(scope="session")
def http():
    with httpx.Client(timeout=60) as client:
        yield client
