"""The whole stack of one state folder: servers, migration, services."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from gantry_dicom.errors import BadRequest
from gantry_embedded.errors import NotReady
from gantry_embedded.files import private_folder, secret, write_private
from gantry_embedded.ports import LOOPBACK, is_free, remembered_ports
from gantry_embedded.postgres import PostgresServer
from gantry_embedded.process import ProcessSpec
from gantry_embedded.s3 import S3Server
from gantry_embedded.supervisor import Supervisor
from gantry_embedded.valkey import ValkeyServer

from gantry_cli.backup.wal import archive_settings
from gantry_cli.options import (
    CLIENTS_FOLDER,
    OBJECTS_FOLDER,
    OPERATOR,
    S3_FOLDER,
    SEAL_KEYS_FILE,
    StackFacts,
    StackOptions,
    choices,
)
from gantry_cli.problems import detail_of
from gantry_cli.services import AUTH, BACK, FRONT, GATEWAY, Service, program_spec, service_spec
from gantry_cli.tokens import BearerAuth, ClientCredentials, read_secret

AE_TITLE = "GANTRY"
INDEX_DATABASE = "index"
CORE_DATABASE = "core"
ADMIN_PASSWORD = "admin-password"  # noqa: S105 - a file's name
DIMSE_PORT = "dimse"
ADMITTED_SECONDS = 30.0
POLL_SECONDS = 0.1
# Where the gateway forwards to the service of logins.
AUTH_PATH = "/auth"


@dataclass(frozen=True, slots=True)
class Servers:
    """What the services stand on."""

    postgres: PostgresServer
    valkey: ValkeyServer
    s3: S3Server | None


@contextmanager
def running_stack(options: StackOptions, supervisor: Supervisor) -> Iterator[StackFacts]:
    """Run everything for the time of the body.

    Raises ``AlreadyRunning``, ``NotReady``, ``CannotRun``, or ``BadRequest`` for a fixed port that is taken.
    """
    with ExitStack() as afterwards, supervisor.running():
        chosen = choices(options)
        ports = _service_ports(options)
        servers = servers_of(supervisor.folder, chosen.store)
        if servers.s3 is not None:
            afterwards.callback(servers.s3.after_stop)
        environment = start_servers(supervisor, servers)
        environment |= {"GANTRY_DIMSE_HOST": LOOPBACK, "GANTRY_DIMSE_PORT": str(ports[DIMSE_PORT])}
        if options.viewer is not None:
            environment["GANTRY_VIEWER_FOLDER"] = str(options.viewer)
        origin = f"http://{LOOPBACK}:{ports[GATEWAY.name]}"
        password_file = supervisor.folder / ADMIN_PASSWORD
        if chosen.login:
            environment |= _prepare_login(supervisor, servers.postgres, environment, ports, origin)
        _start_services(supervisor, environment, ports, login=chosen.login)
        facts = StackFacts(
            dicomweb_url=f"{origin}/dicom-web",
            dimse_host=LOOPBACK,
            dimse_port=ports[DIMSE_PORT],
            ae_title=AE_TITLE,
            store=chosen.store,
            viewer_url="" if options.viewer is None else f"{origin}/viewer/",
            issuer=_issuer(origin) if chosen.login else "",
            password_file=str(password_file) if chosen.login else "",
        )
        if facts.issuer:
            _wait_admitted(supervisor, facts)
        supervisor.announce(facts.as_document())
        yield facts


def _service_ports(options: StackOptions) -> dict[str, int]:
    fixed = {GATEWAY.name: options.http_port, DIMSE_PORT: options.dimse_port}
    for name, port in fixed.items():
        if port and not is_free(port):
            raise BadRequest(f"port {port}, asked for as {name}'s, is taken")
    names = [*(service.name for service in (*BACK, AUTH, *FRONT)), DIMSE_PORT]
    return remembered_ports(options.state / "ports.json", names, fixed)


def servers_of(state: Path, store: str) -> Servers:
    """Return the servers of a state folder, not started."""
    s3 = S3Server(state / S3_FOLDER) if store == "s3" else None
    postgres = PostgresServer(state / "postgres", settings=archive_settings(state))
    return Servers(postgres, ValkeyServer(state / "valkey"), s3)


def start_servers(supervisor: Supervisor, servers: Servers) -> dict[str, str]:
    """Start PostgreSQL, Valkey and S3, bring the schema up to date; returns the services' environment."""
    state = supervisor.folder
    everyone = [server for server in (servers.s3, servers.postgres, servers.valkey) if server is not None]
    for server in everyone:
        server.prepare()
    supervisor.launch(*(server.spec() for server in everyone))
    supervisor.wait_ready(servers.postgres.spec().name)
    environment = {
        "GANTRY_INDEX_DSN": servers.postgres.ensure_database(INDEX_DATABASE),
        "GANTRY_REDIS_URL": servers.valkey.url,
        "GANTRY_SEAL_KEYS": _seal_keys(state / SEAL_KEYS_FILE),
        "GANTRY_AE_TITLE": AE_TITLE,
        # Loopback only and without login: the policy point is asked, and lets everybody pass.
        "GANTRY_POLICY": "open",
    }
    if servers.s3 is not None:
        environment |= {
            "GANTRY_STORE_URL": servers.s3.url,
            "GANTRY_S3_ACCESS_KEY": servers.s3.access_key,
            "GANTRY_S3_SECRET_KEY": servers.s3.secret_key,
        }
    else:
        environment["GANTRY_STORE_URL"] = private_folder(state / OBJECTS_FOLDER).as_uri()
    surroundings = service_spec(Service("migrate", "gantry_index"), environment, 0, state, supervisor.logs)
    supervisor.run_once(program_spec("migrate", "gantry_index", ("migrate",), surroundings))
    # SeaweedFS, the slowest of the three, may still be starting: the services wait for no store.
    return environment


def _prepare_login(
    supervisor: Supervisor,
    postgres: PostgresServer,
    environment: dict[str, str],
    ports: dict[str, int],
    origin: str,
) -> dict[str, str]:
    """Make the database of people and rights and its first administrator; returns what services need."""
    state = supervisor.folder
    added = {
        "GANTRY_CORE_DSN": postgres.ensure_database(CORE_DATABASE),
        "GANTRY_ISSUER": _issuer(origin),
        "GANTRY_AUTH_URL": f"http://{LOOPBACK}:{ports[AUTH.name]}",
        "GANTRY_POLICY": "rules",
        "GANTRY_ACCESS_LOG_FOLDER": str(private_folder(state / "access-log")),
    }
    surroundings = service_spec(AUTH, environment | added, 0, state, supervisor.logs)
    supervisor.run_once(program_spec("migrate-core", AUTH.module, ("migrate",), surroundings))
    arguments = ("bootstrap-admin", "--password-file", str(state / ADMIN_PASSWORD))
    supervisor.run_once(program_spec("bootstrap-admin", AUTH.module, arguments, surroundings))
    _ensure_operator(supervisor, surroundings)
    return added


def _ensure_operator(supervisor: Supervisor, surroundings: ProcessSpec) -> None:
    """Let the account be there that commands of this machine use; its secret shows that it is."""
    file = private_folder(supervisor.folder / CLIENTS_FOLDER) / OPERATOR
    if file.exists():
        return
    fresh = file.with_name(f".{OPERATOR}.new")
    secret(fresh)
    arguments = ("ensure-client", OPERATOR, "--secret-file", str(fresh), "--grant", "admin@*")
    supervisor.run_once(program_spec("ensure-operator", AUTH.module, arguments, surroundings))
    fresh.rename(file)


def _issuer(origin: str) -> str:
    return f"{origin}{AUTH_PATH}"


def _start_services(
    supervisor: Supervisor, environment: dict[str, str], ports: dict[str, int], *, login: bool
) -> None:
    for group in (BACK, (AUTH,) if login else (), FRONT):
        specs = (
            service_spec(service, environment, ports[service.name], supervisor.folder, supervisor.logs)
            for service in group
        )
        supervisor.launch(*specs)
    supervisor.wait_ready()


def _seal_keys(file: Path) -> str:
    """Return the keys that seal journal and manifests, generated once: without them no record can be read."""
    if not file.exists():
        write_private(file, f"k1:{secrets.token_hex(32)}")
    return file.read_text().strip()


def _wait_admitted(supervisor: Supervisor, facts: StackFacts) -> None:
    """Wait until a token counts: keys and rules reach the services a moment after these are ready.

    Raises ``NotReady``.
    """
    account = ClientCredentials(
        facts.issuer, OPERATOR, read_secret(supervisor.folder / CLIENTS_FOLDER / OPERATOR)
    )
    deadline = time.monotonic() + ADMITTED_SECONDS
    with httpx.Client(auth=BearerAuth(account), timeout=ADMITTED_SECONDS) as client:
        while not (answer := client.get(f"{facts.dicomweb_url}/studies", params={"limit": 1})).is_success:
            if supervisor.is_stopping() or time.monotonic() > deadline:
                raise NotReady(f"the gateway admits nobody: {detail_of(answer)}")
            time.sleep(POLL_SECONDS)
