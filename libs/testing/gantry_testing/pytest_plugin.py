"""Fixtures for every test of the project (a pytest plugin, found by its entry point).

Servers start once a session, when the first test asks, and are killed at its end; the kernel kills them
too when pytest itself is killed. What a test gets of them (database, bucket, empty Valkey) is its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gantry_embedded.ports import free_port as choose_free_port
from gantry_embedded.postgres import PostgresServer
from gantry_embedded.s3 import S3Server
from gantry_embedded.valkey import ValkeyServer

from gantry_testing import debian_tools, servers
from gantry_testing.datapack import everything_required
from gantry_testing.reactor import pause_exactly

pause_exactly()

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL server (``dsn``, ``create_database(name, template)``, ``drop_database``)."""
    server = servers.start_postgres(tmp_path_factory.mktemp("postgres"))
    yield server
    server.stop()  # takes milliseconds, and lets it collect its own children


@pytest.fixture(scope="session")
def index_template(postgres_server: PostgresServer) -> str:
    """Name of a migrated, empty index database to copy."""
    return servers.make_index_template(postgres_server)


@pytest.fixture
def index_dsn(postgres_server: PostgresServer, index_template: str) -> Iterator[str]:
    """Connection string of a fresh, migrated index database."""
    name = f"index_{next(_numbers)}"
    yield postgres_server.create_database(name, index_template)
    postgres_server.drop_database(name)


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A Valkey server (``url``)."""
    server = servers.start_valkey(tmp_path_factory.mktemp("valkey"))
    yield server
    server.kill()


@pytest.fixture
def redis_url(valkey_server: ValkeyServer) -> str:
    """URL of a Valkey that has just forgotten everything."""
    valkey_server.flush()
    return valkey_server.url


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server (``endpoint``, ``access_key``, ``secret_key``, ``bucket``)."""
    server = servers.start_s3(tmp_path_factory.mktemp("s3"))
    yield server
    server.kill()


@pytest.fixture
def s3_url(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """``s3://`` URL of an empty bucket; its credentials are in the environment for the test."""
    monkeypatch.setenv("GANTRY_S3_ACCESS_KEY", s3_server.access_key)
    monkeypatch.setenv("GANTRY_S3_SECRET_KEY", s3_server.secret_key)
    bucket = f"test-{next(_numbers)}"
    s3_server.create_bucket(bucket)
    yield s3_server.url_for(bucket)
    s3_server.drop_bucket(bucket)


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    """``file://`` URL of an empty folder."""
    folder = tmp_path / "store"
    folder.mkdir()
    return folder.as_uri()


@pytest.fixture(params=["file", "s3"])
def store_url(request: pytest.FixtureRequest) -> str:
    """URL of an empty object store: a test that asks for it runs once for each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def free_port() -> int:
    """A TCP port nobody listens on."""
    return choose_free_port()


@pytest.fixture(scope="session")
def dcmtk_program() -> Callable[[str], str]:
    """Return the path of one of DCMTK's programs by its name; for tests with the marker ``dcmtk``."""

    def path_of(name: str) -> str:
        path = debian_tools.find_program(name)
        if path is None:
            pytest.fail(f"DCMTK has no program {name}")
        return path

    return path_of


@pytest.fixture(scope="session")
def chromium_program() -> str:
    """Path of Chromium; for tests with the marker ``chromium``."""
    path = debian_tools.find_program("chromium")
    if path is None:
        pytest.fail("Chromium is not installed")
    return path


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out a test whose Debian package is missing, or fail it when everything is required."""
    for marker, (package, _) in debian_tools.PACKAGES.items():
        if item.get_closest_marker(marker) and not debian_tools.is_installed(marker):
            reason = f"needs the Debian package {package}"
            if everything_required():
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests did not run for want of a Debian package."""
    skipped = terminalreporter.getreports("skipped")
    for marker, (package, _) in debian_tools.PACKAGES.items():
        left_out = [report for report in skipped if marker in report.keywords]
        if left_out and not debian_tools.is_installed(marker):
            terminalreporter.section(f"{len(left_out)} tests DID NOT RUN", yellow=True)
            terminalreporter.line(f"They need the Debian package {package}: apt-get install {package}")
            for report in left_out:
                terminalreporter.line(f"  {report.nodeid}")
