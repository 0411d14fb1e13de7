"""A listener for each test, and certificates for all."""

import subprocess

import pytest
from gantry_testing.upper_layer import Recorder, listening


@pytest.fixture
async def entity():
    return Recorder()


@pytest.fixture
async def listener(entity):
    async with listening(entity) as listener:
        yield listener


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    for name in ("server", "client", "stranger"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1",
             "-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem"],
            check=True, capture_output=True,
        )  # fmt: skip
    return folder
