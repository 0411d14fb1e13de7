"""``python -m gantry_auth``: the service, and what an operator does to its database."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from gantry_dicom.errors import BadRequest, GantryError
from gantry_telemetry import configure
from gantry_telemetry.workers import share_metrics


def main(arguments: list[str] | None = None) -> int:
    """Run the service or one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    if options.command in (None, "serve"):
        return _serve()
    configure("auth", os.environ.get("GANTRY_LOG_LEVEL", "INFO"))
    try:
        for line in _run(options):
            print(line)  # noqa: T201 - a command's answer
    except GantryError as error:
        print(f"error: {error.detail}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _serve() -> int:
    share_metrics()
    # After share_metrics: the metrics library reads its setting when it is imported.
    from gantry_web.serve import serve

    from gantry_auth.settings import AuthSettings

    settings = AuthSettings()
    serve("gantry_auth.app:create_app", host=settings.http_host, port=settings.http_port)
    return 0


def _run(options: argparse.Namespace) -> list[str]:
    from gantry_auth import commands
    from gantry_auth.adapters.database import Database
    from gantry_auth.bootstrap import now
    from gantry_auth.keys import KeyVault
    from gantry_auth.service import Service
    from gantry_auth.settings import AuthSettings

    if options.command == "migrate":
        return [f"core schema at {_migrate()}"]
    settings = AuthSettings()
    database = Database(settings.core_dsn, size=1)
    service = Service(settings, database, KeyVault(settings.seal_keys), now)
    database.open()
    try:
        if options.command == "bootstrap-admin":
            return _bootstrap_admin(service, options.password_file, reset=options.reset)
        if options.command == "ensure-client":
            secret = _read_secret(options.secret_file)
            added = commands.ensure_client(service, options.client_id, secret, options.grant)
            return [f"client {options.client_id} {'added' if added else 'is there'}"]
        return [f"next signing key: {commands.rotate_keys(service, distrust=options.distrust)}"]
    finally:
        database.close()


def _migrate() -> str:
    from gantry_index.migrate import migrate

    from gantry_auth.migrations import CORE

    dsn = os.environ.get("GANTRY_CORE_DSN")
    if not dsn:
        raise BadRequest("no database named: set GANTRY_CORE_DSN")
    return migrate(dsn, schema=CORE)


def _bootstrap_admin(service: object, password_file: Path | None, *, reset: bool) -> list[str]:
    from gantry_auth import commands
    from gantry_auth.service import Service

    if not isinstance(service, Service):
        raise TypeError("not the service")
    password = commands.reset_admin(service) if reset else commands.bootstrap_admin(service)
    if password is None:
        return ["there is an administrator already"]
    if password_file is not None:
        descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(f"{password}\n")
        return [f"user {commands.ADMINISTRATOR}, password in {password_file}"]
    return [f"user {commands.ADMINISTRATOR}, password {password}"]


def _read_secret(file: Path) -> str:
    secret = file.read_text().strip()
    if len(secret) < 32:
        raise BadRequest("a client's secret has at least 32 characters")
    return secret


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gantry_auth", description="Logins, tokens and rights.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("serve", help="serve until told to stop (the default)")
    commands.add_parser("migrate", help="bring the core schema up to date; safe to run again")
    admin = commands.add_parser("bootstrap-admin", help="add the first administrator, say the password once")
    admin.add_argument("--reset", action="store_true", help="the password is lost: make another")
    admin.add_argument("--password-file", type=Path, help="write it there instead of saying it")
    client = commands.add_parser("ensure-client", help="let a service client be there")
    client.add_argument("client_id")
    client.add_argument("--secret-file", type=Path, required=True)
    client.add_argument("--grant", action="append", default=[], metavar="ROLE@PARTITION")
    rotate = commands.add_parser("rotate-keys", help="put the next signing key in place")
    rotate.add_argument("--distrust", action="store_true", help="at once, and no token of before is good")
    return parser


if __name__ == "__main__":
    sys.exit(main())
