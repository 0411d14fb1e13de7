"""The three servers keep their data, secrets and ports, and die with us."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import boto3
import psutil
import psycopg
import pytest
import redis
from gantry_embedded.errors import CannotRun
from gantry_embedded.ports import free_ports, is_free, remembered_ports
from gantry_embedded.postgres import PostgresServer
from gantry_embedded.s3 import S3Server
from gantry_embedded.server import Server
from gantry_embedded.valkey import ValkeyServer
from redis.backoff import NoBackoff
from redis.retry import Retry


def wait_until(condition, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)


def test_ports_are_remembered_while_they_are_free(tmp_path: Path):
    file = tmp_path / "ports.json"
    first = remembered_ports(file, ["a", "b"], {})
    assert remembered_ports(file, ["a", "b"], {}) == first
    assert len(set(first.values())) == 2


def test_a_remembered_port_that_was_taken_is_replaced(tmp_path: Path):
    file = tmp_path / "ports.json"
    first = remembered_ports(file, ["a"], {})["a"]
    with socket.socket() as other:
        other.bind(("127.0.0.1", first))
        other.listen()
        assert not is_free(first)
        assert remembered_ports(file, ["a"], {})["a"] != first


def test_a_fixed_port_wins_over_the_remembered_one(tmp_path: Path):
    file = tmp_path / "ports.json"
    remembered_ports(file, ["a"], {})
    wanted = free_ports(1)[0]
    assert remembered_ports(file, ["a"], {"a": wanted}) == {"a": wanted}
    assert remembered_ports(file, ["a"], {"a": 0}) == {"a": wanted}


def test_postgres_keeps_data_password_and_port_over_a_kill(tmp_path: Path):
    server = PostgresServer(tmp_path / "pg").start()
    dsn = server.create_database("kept")
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE t AS SELECT 42 AS n")
    server.kill()
    again = PostgresServer(tmp_path / "pg").start()
    try:
        assert again.dsn_for("kept") == dsn
        with psycopg.connect(dsn) as connection:
            assert connection.execute("SELECT n FROM t").fetchone() == (42,)
    finally:
        again.stop()


def test_postgres_refuses_a_wrong_password(postgres_server: PostgresServer):
    wrong = postgres_server.dsn.replace(postgres_server.password, "wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)


def test_postgres_runs_under_an_ordinary_account(postgres_server: PostgresServer):
    assert psutil.Process(postgres_server.child.pid).uids().real != 0


def test_valkey_keeps_entries_over_an_orderly_stop_and_refuses_strangers(tmp_path: Path):
    with ValkeyServer(tmp_path / "v") as server, redis.Redis.from_url(server.url) as client:
        client.xadd("stream", {"a": "b"})
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0)).ping()
    with ValkeyServer(tmp_path / "v") as server, redis.Redis.from_url(server.url) as client:
        assert client.xlen("stream") == 1


def test_objects_survive_a_killed_s3_server(tmp_path: Path):
    body = os.urandom(300_000)

    def client_of(server: S3Server):
        return boto3.client(
            "s3",
            endpoint_url=server.endpoint,
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
            region_name="us-east-1",
        )

    server = S3Server(tmp_path / "s3").start()
    client_of(server).put_object(Bucket=server.bucket, Key="o/a", Body=body)
    server.kill()
    begun = time.monotonic()
    again = S3Server(tmp_path / "s3").start()
    try:
        assert client_of(again).get_object(Bucket=again.bucket, Key="o/a")["Body"].read() == body
        assert time.monotonic() - begun < 15, "the election after a restart must not take long"
    finally:
        again.stop()


def test_a_running_s3_server_is_known_from_its_folder_and_left_as_it_is(s3_server: S3Server, tmp_path: Path):
    before = (s3_server.folder / "ports.json").read_bytes()
    known = S3Server(s3_server.folder).recall()
    assert (known.url, known.access_key, known.secret_key) == (
        s3_server.url,
        s3_server.access_key,
        s3_server.secret_key,
    )
    assert (s3_server.folder / "ports.json").read_bytes() == before
    with pytest.raises(CannotRun, match="no S3 server"):
        S3Server(tmp_path).recall()


def test_secrets_are_for_their_owner_only(tmp_path: Path):
    servers: list[Server] = [ValkeyServer(tmp_path / "v"), S3Server(tmp_path / "s")]
    for server in servers:
        server.prepare()
    private = ["v/password", "v/valkey.conf", "s/access-key", "s/secret-key", "s/s3.json"]
    assert {oct((tmp_path / name).stat().st_mode & 0o777) for name in private} == {"0o600"}


def test_a_server_dies_with_the_process_that_started_it(tmp_path: Path):
    program = (
        "import sys, time; from pathlib import Path; from gantry_embedded.postgres import PostgresServer\n"
        f"server = PostgresServer(Path({str(tmp_path / 'pg')!r}), durable=False).start()\n"
        "print(server.child.pid, flush=True); time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert psutil.pid_exists(pid)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_running_postgres_and_valkey_are_known_from_their_folders(postgres_server, valkey_server, tmp_path):
    assert PostgresServer(postgres_server.folder).recall().dsn == postgres_server.dsn
    assert ValkeyServer(valkey_server.folder).recall().url == valkey_server.url
    with pytest.raises(CannotRun, match="no server postgres"):
        PostgresServer(tmp_path).recall()
