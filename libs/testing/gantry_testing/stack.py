"""A complete Gantry as real processes on free ports, for tests that kill and pause them.

Everything lives in one folder. Services are started by module name with the environment an
operator would set; nothing here imports a service.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from gantry_embedded.errors import NotReady
from gantry_embedded.ports import LOOPBACK, free_ports
from gantry_embedded.postgres import PostgresServer
from gantry_embedded.process import ChildProcess, ProcessSpec, kill_group
from gantry_embedded.s3 import S3Server
from gantry_embedded.server import Server
from gantry_embedded.valkey import ValkeyServer
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.settings import StoreSettings
from gantry_objectstore.store import open_store
from psycopg import sql

from gantry_testing.dimse import Peer
from gantry_testing.fault_proxy import FaultProxy
from gantry_testing.waiting import wait_for
from gantry_testing.web import WebClient

SEAL_KEYS = "test:" + "5e" * 32
INDEX_DATABASE = "index"
AE_TITLE = "GANTRY"


@dataclass(frozen=True, slots=True)
class Service:
    """One service process: its module and arguments."""

    name: str
    module: str
    arguments: tuple[str, ...] = ()


SERVICES: tuple[Service, ...] = (
    Service("indexer", "gantry_indexer", ("consume",)),
    Service("indexer-worker", "gantry_indexer", ("worker",)),
    Service("storage", "gantry_storage", ("worker",)),
    Service("ingest", "gantry_ingest"),
    Service("gateway", "gantry_gateway"),
)
EVERY_SERVICE: tuple[str, ...] = tuple(service.name for service in SERVICES)
# Started where a test asks for it: a second sweeper.
SECOND_STORAGE = Service("storage-2", "gantry_storage", ("worker",))
BY_NAME: Mapping[str, Service] = {service.name: service for service in (*SERVICES, SECOND_STORAGE)}


class Stack:
    """Servers and services in ``folder``; ``with Stack(folder) as stack`` starts all and kills all.

    ``store`` is ``file`` or ``s3``; ``partitions`` maps further called AE titles to partitions;
    ``environment`` adds to what every service gets. ``durable_queue`` makes Valkey keep its data
    over a restart; by default it forgets, which the ack contract must survive. ``proxied`` puts a
    proxy of its own between each service and the S3 server (``proxies``).
    Processes end with the thread that starts them: use it from the main thread.
    """

    def __init__(
        self,
        folder: Path,
        *,
        store: str = "file",
        partitions: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        durable_queue: bool = False,
        services: Sequence[str] = EVERY_SERVICE,
        proxied: bool = False,
    ) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.services = tuple(services)
        self.postgres = PostgresServer(folder / "postgres", durable=False)
        self.valkey = ValkeyServer(folder / "valkey", durable=durable_queue)
        self.s3 = S3Server(folder / "s3") if store == "s3" else None
        self._partitions = dict(partitions or {})
        self._extra = dict(environment or {})
        self.proxies: dict[str, FaultProxy] = {}
        self._proxied = proxied
        self._own: dict[str, dict[str, str]] = {}
        self._children: dict[str, ChildProcess] = {}
        names = [*BY_NAME, "dimse"]
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- what tests talk to

    @property
    def peer(self) -> Peer:
        """The DIMSE listener, as partition ``main``."""
        return Peer(LOOPBACK, self._ports["dimse"], AE_TITLE)

    def peer_of(self, called_ae_title: str) -> Peer:
        """Return the DIMSE listener under another called AE title."""
        return Peer(LOOPBACK, self._ports["dimse"], called_ae_title)

    def base_url(self, partition: str = "main") -> str:
        """Return the DICOMweb base URL of a partition."""
        root = f"http://{LOOPBACK}:{self._ports['gateway']}"
        return f"{root}/dicom-web" if partition == "main" else f"{root}/partitions/{partition}/dicom-web"

    def health_url(self, service: str) -> str:
        """Return the URL under which a service's ``/livez``, ``/readyz`` and ``/metrics`` lie."""
        return f"http://{LOOPBACK}:{self._ports[service]}"

    def web(self, partition: str = "main", *, timeout: float = 60.0) -> WebClient:
        """Return a DICOMweb client of a partition."""
        return WebClient(self.base_url(partition), timeout=timeout)

    @property
    def index_dsn(self) -> str:
        """Connection string of the index database."""
        return self.postgres.dsn_for(INDEX_DATABASE)

    @property
    def store_url(self) -> str:
        """URL of the object store."""
        return self.s3.url if self.s3 is not None else (self.folder / "objects").as_uri()

    @property
    def sealer(self) -> Sealer:
        """Opens the records that the services sealed."""
        return Sealer.from_text(SEAL_KEYS)

    @property
    def store_settings(self) -> StoreSettings:
        """Credentials of the object store."""
        if self.s3 is None:
            return StoreSettings()
        return StoreSettings(access_key=self.s3.access_key, secret_key=self.s3.secret_key)

    def open_store(self) -> ObjectStore:
        """Return a client of the object store."""
        return open_store(self.store_url, options=self.store_settings)

    def list_keys(self, prefix: str) -> list[str]:
        """Return the keys under ``prefix`` (empty or whole segments ending in a slash)."""
        return asyncio.run(self._list_keys(prefix))

    async def _list_keys(self, prefix: str) -> list[str]:
        store = self.open_store()
        try:
            return [info.key async for info in store.list(prefix)]
        finally:
            await store.close()

    def log_text(self) -> str:
        """Return what every service has written so far."""
        return "\n".join(
            file.read_text(errors="replace") for file in sorted(self.logs.glob("*.log")) if file.is_file()
        )

    # -- starting and stopping

    def start(self) -> None:
        """Start servers, migrate, start the services chosen, and wait until all are ready."""
        self.logs.mkdir(parents=True, exist_ok=True)
        (self.folder / "objects").mkdir(exist_ok=True)
        self.postgres.start()
        self.valkey.start()
        if self.s3 is not None:
            self.s3.start()
            if self._proxied and not self.proxies:
                self._start_proxies(self.s3.port)
        self.postgres.ensure_database(INDEX_DATABASE)
        self._commit_for_good()
        self.run("migrate", "gantry_index", "migrate")
        for name in self.services:
            self.launch(name)
        for name in self.services:
            self.wait_ready(name)

    def restore(self) -> None:
        """Start whatever server or service is down, for who shares a stack with tests that kill."""
        for server in (self.postgres, self.valkey, self.s3):
            if server is not None and not server.is_ready():
                server.kill()
                start_again(server)
        for name in self.services:
            if not self.is_alive(name):
                self.launch(name)
        for name in self.services:
            self.wait_ready(name)

    def close(self) -> None:
        """Kill everything."""
        for child in self._children.values():
            kill_group(child.pid, signal.SIGCONT)
            child.kill()
        self._children.clear()
        for server in (self.s3, self.valkey, self.postgres):
            if server is not None:
                server.kill()
                server.after_stop()
        for proxy in self.proxies.values():
            proxy.close()
        self.proxies.clear()

    def _start_proxies(self, port: int) -> None:
        for name in BY_NAME:
            self.proxies[name] = FaultProxy(port).start()
            through = self.store_url.replace(f"{LOOPBACK}:{port}", f"{LOOPBACK}:{self.proxies[name].port}")
            self.set_environment(name, {"GANTRY_STORE_URL": through})

    def set_environment(self, name: str, environment: Mapping[str, str]) -> None:
        """Add to the environment of one service, from its next start on."""
        self._own[name] = self._own.get(name, {}) | dict(environment)

    def launch(self, name: str) -> None:
        """Start a service and do not wait."""
        if self.is_alive(name):
            raise ValueError(f"{name} is running")
        self._children[name] = ChildProcess(self._spec(BY_NAME[name]))

    def start_service(self, name: str) -> None:
        """Start a service and wait until it is ready."""
        self.launch(name)
        self.wait_ready(name)

    def wait_ready(self, name: str) -> None:
        """Wait until a launched service says that it is ready. Raises ``NotReady``."""
        self._children[name].wait_ready()

    def is_alive(self, name: str) -> bool:
        """Whether the process of a service runs (or is frozen)."""
        child = self._children.get(name)
        return child is not None and child.is_alive()

    def says_ready(self, name: str) -> bool:
        """Whether a service answers that it is ready."""
        return _says_ready(self._ports[name])

    def stop_service(self, name: str) -> int | None:
        """Stop a service in order and return its exit code."""
        child = self._children.pop(name)
        child.stop()
        return child.exit_code()

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal a service with all its workers, by default as a power failure would.

        After a signal that ends it the service can be started again.
        """
        child = self._children[name]
        kill_group(child.pid, number)
        if number == signal.SIGKILL:
            child.kill()
            del self._children[name]

    def pause(self, name: str) -> None:
        """Freeze a service with all its workers (SIGSTOP)."""
        self.kill(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Let a frozen service go on (SIGCONT)."""
        self.kill(name, signal.SIGCONT)

    def pid(self, name: str) -> int:
        """Return the process (group) id of a service."""
        return self._children[name].pid

    def run(self, name: str, module: str, *arguments: str, seconds: float = 120.0) -> str:
        """Run a module of the project to its end and return its output. Raises ``ValueError``."""
        spec = self._spec(Service(name, module, arguments))
        begin = spec.log_file.stat().st_size if spec.log_file.exists() else 0
        child = ChildProcess(spec)
        code = child.wait(seconds)
        output = spec.log_file.read_bytes()[begin:].decode(errors="replace")
        if code != 0:
            raise ValueError(f"{module} {' '.join(arguments)} ended with {code}: {output[-2000:]}")
        return output

    # -- the index database as something to lose

    def copy_index(self, name: str) -> None:
        """Copy the index database; nothing may be connected to it."""
        self.disconnect_index()
        self.postgres.create_database(name, INDEX_DATABASE)

    def restore_index(self, name: str) -> None:
        """Put the copy ``name`` in the place of the index database, as a restored backup."""
        self.postgres.drop_database(INDEX_DATABASE)
        self.postgres.create_database(INDEX_DATABASE, name)
        self._commit_for_good()

    def restart_postgres(self) -> None:
        """Kill PostgreSQL with all its sessions and start it again."""
        self.postgres.kill()
        start_again(self.postgres)

    def _commit_for_good(self) -> None:
        # Test servers do not sync, which a killed process survives; but what was committed must have
        # left it, or a kill takes back verdicts for which journal entries have been deleted.
        with psycopg.connect(self.postgres.dsn, autocommit=True) as connection:
            name = sql.Identifier(INDEX_DATABASE)
            connection.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = on").format(name))

    def disconnect_index(self) -> None:
        """End every connection to the index database."""
        with psycopg.connect(self.postgres.dsn, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [INDEX_DATABASE]
            )

    def object_at_rest(self, partition: str, study_uid: str, sop_uid: str) -> bytes:
        """Return the bytes that lie in the object store for an instance that the index shows."""
        with psycopg.connect(self.index_dsn) as connection:
            row = connection.execute(
                "SELECT i.object_key FROM instance AS i JOIN study AS s ON s.id = i.study_pk"
                " WHERE s.partition = %s AND s.study_uid = %s AND i.sop_uid = %s",
                (partition, study_uid, sop_uid),
            ).fetchone()
        if row is None:
            raise ValueError(f"the index shows no instance {sop_uid}")
        return asyncio.run(self._read(row[0]))

    async def _read(self, key: str) -> bytes:
        store = self.open_store()
        try:
            return await store.get(key)
        finally:
            await store.close()

    def count(self, table: str) -> int:
        """Return the number of rows of a table of the index."""
        with psycopg.connect(self.index_dsn) as connection:
            row = connection.execute(
                sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
            ).fetchone()
        return int(row[0]) if row else 0

    def wait_found(self, sop_uids: Collection[str], *, seconds: float = 60.0) -> None:
        """Wait until the index holds every one of these instances. Raises ``TimedOut``."""

        def all_found() -> bool:
            with psycopg.connect(self.index_dsn) as connection:
                row = connection.execute(
                    "SELECT count(DISTINCT sop_uid) FROM instance WHERE sop_uid = ANY(%s)", [list(sop_uids)]
                ).fetchone()
            return row is not None and row[0] == len(set(sop_uids))

        wait_for(all_found, f"{len(set(sop_uids))} instances in the index", seconds)

    def wait_indexed(self, count: int, *, seconds: float = 240.0) -> None:
        """Wait until the index holds ``count`` instances. Raises ``TimedOut``.

        On a machine that is so busy that Redis was given up on, the sweeper brings them: after the lease.
        """
        wait_for(lambda: self.count("instance") >= count, f"{count} instances in the index", seconds)

    # -- inside

    def environment(self, port: int) -> dict[str, str]:
        """Return the environment of a service whose HTTP side listens on ``port``."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GANTRY_")}
        settings = {
            "GANTRY_STORE_URL": self.store_url,
            "GANTRY_INDEX_DSN": self.index_dsn,
            "GANTRY_REDIS_URL": self.valkey.url,
            "GANTRY_SEAL_KEYS": SEAL_KEYS,
            "GANTRY_POLICY": "open",
            "GANTRY_AE_TITLE": AE_TITLE,
            "GANTRY_AE_PARTITIONS": ",".join(f"{ae}={name}" for ae, name in self._partitions.items()),
            "GANTRY_DIMSE_HOST": LOOPBACK,
            "GANTRY_DIMSE_PORT": str(self._ports["dimse"]),
            "GANTRY_HTTP_HOST": LOOPBACK,
            "GANTRY_HTTP_PORT": str(port),
        }
        if self.s3 is not None:
            settings |= {
                "GANTRY_S3_ACCESS_KEY": self.s3.access_key,
                "GANTRY_S3_SECRET_KEY": self.s3.secret_key,
            }
        return inherited | settings | self._extra

    def _spec(self, service: Service) -> ProcessSpec:
        port = self._ports.get(service.name, 0)
        return ProcessSpec(
            name=service.name,
            argv=(sys.executable, "-P", "-m", service.module, *service.arguments),
            log_file=self.logs / f"{service.name}.log",
            cwd=self.folder,
            env=self.environment(port) | self._own.get(service.name, {}),
            ready=lambda: _says_ready(port),
            ready_seconds=90.0,
            grace_seconds=30.0,
            death_signal=signal.SIGKILL,
        )


def start_again(server: Server) -> None:
    """Start a server that was killed: its children may hold its memory or port a moment longer."""

    def started() -> bool:
        try:
            server.start()
        except NotReady:
            return False
        return True

    wait_for(started, "a server to start again")


def _says_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
