"""The command line: what can be said, and what it means."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from gantry_cli.amending_arguments import add_amendments, add_patients
from gantry_cli.backup.arguments import add_backup, add_restore, restore_parents
from gantry_cli.options import DEFAULT_STATE, STORES
from gantry_cli.retention_arguments import add_purge, add_retention_commands
from gantry_cli.upkeep_arguments import add_reconcile, add_upkeep_commands


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    whole = argparse.ArgumentParser(prog="gantry", description="Run Gantry on one machine and talk to it.")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    state, stack, access, listing = _state(), _stack(), _access(), _output()
    up = commands.add_parser(
        "up", parents=[state, stack], help="start PostgreSQL, Valkey, S3 and the services"
    )
    up.add_argument("--in-background", action="store_true", help=argparse.SUPPRESS)
    commands.add_parser("down", parents=[state], help="stop them")
    commands.add_parser("status", parents=[state], help="say what runs and where")
    commands.add_parser("demo", parents=[state, stack], help="up, with a synthetic patient to look at")
    import_ = commands.add_parser(
        "import", parents=[state, access], help="store files or another archive's study"
    )
    import_.add_argument("source", metavar="PATH|URL", help="file, folder, or WADO-RS URL of a study")
    import_.add_argument("--to", metavar="URL", help="DICOMweb base (default: the stack of --state)")
    token = commands.add_parser("token", parents=[state, access], help="print an access token for a script")
    token.add_argument("--scope", default="", metavar="ROLE@PARTITION", help="no more rights than these")
    shared = [state, access, listing]
    _users(commands.add_parser("user", help="people who log in"), shared)
    _clients(commands.add_parser("client", help="programs with an account of their own"), shared)
    _entities(commands.add_parser("ae", help="application entities of DICOM networking"), shared)
    _routes(commands.add_parser("route", help="what arrived and is sent on by rules"), shared)
    _studies(commands.add_parser("study", help="what is decided about a study, and undone"), shared)
    add_patients(commands.add_parser("patient", help="patients that are one and the same"), shared)
    add_retention_commands(commands, shared)
    add_upkeep_commands(commands, shared, _moment)
    _dimse(commands.add_parser("dimse", help="what devices meet at the DIMSE port"), shared)
    _audit(commands.add_parser("audit", help="who did what to whose images"), shared)
    _conformance(commands.add_parser("conformance", help="what DICOM PS3.18 asks of a server"), shared)
    _rebuild(commands.add_parser("rebuild", parents=[state], help="make the index anew from the bucket"))
    backup = commands.add_parser("backup", help="databases, keys, configuration, and copies of the bucket")
    add_backup(backup, state, listing, _moment, _count)
    parents = restore_parents(state, _moment)
    add_restore(commands.add_parser("restore", parents=parents, help="a stack anew from a backup"))
    _viewer(commands.add_parser("viewer", help="the web viewer's files"))
    return whole


def _state() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--state",
        type=Path,
        default=DEFAULT_STATE,
        metavar="DIR",
        help="folder of data, secrets and logs (default: .gantry)",
    )
    return shared


def _stack() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--store", choices=STORES, help="object store (default: s3, or as last time)")
    shared.add_argument("--http-port", type=_port, default=0, metavar="N", help="port of DICOMweb")
    shared.add_argument("--dimse-port", type=_port, default=0, metavar="N", help="port of DIMSE")
    shared.add_argument(
        "--viewer", type=Path, metavar="DIR", help="viewer's files (default: as `viewer fetch` left them)"
    )
    shared.add_argument("--detach", action="store_true", help="return when it is ready")
    login = shared.add_mutually_exclusive_group()
    login.add_argument(
        "--login", action="store_const", const=True, help="people and programs log in (the default)"
    )
    login.add_argument(
        "--no-login",
        "--open",
        action="store_const",
        const=False,
        dest="login",
        help="nobody does: for benches; a folder remembers it",
    )
    return shared


def _access() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    who = shared.add_argument_group("who asks (default: the account of the stack of --state)")
    who.add_argument("--token", default="", help="an access token; GANTRY_TOKEN keeps it out of `ps`")
    who.add_argument("--issuer", default="", metavar="URL", help="another archive's service of logins")
    who.add_argument("--client", default="", metavar="ID", help="a service account ...")
    who.add_argument("--secret-file", type=Path, metavar="FILE", help="... and the file with its secret")
    return shared


def _output() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="for programs")
    return shared


def _actions(parser: argparse.ArgumentParser) -> argparse._SubParsersAction[argparse.ArgumentParser]:
    return parser.add_subparsers(dest="action", required=True, metavar="ACTION")


def _users(parser: argparse.ArgumentParser, shared: list[argparse.ArgumentParser]) -> None:
    actions = _actions(parser)
    add = actions.add_parser("add", parents=shared, help="let somebody log in")
    password = actions.add_parser("password", parents=shared, help="give another password")
    grant = actions.add_parser("grant", parents=shared, help="replace somebody's rights")
    revoke = actions.add_parser("revoke", parents=shared, help="end somebody's login, sessions and tokens")
    actions.add_parser("list", parents=shared, help="show users")
    for one in (add, password, grant, revoke):
        one.add_argument("name", metavar="NAME")
    for one in (add, password):
        one.add_argument(
            "--password-file",
            type=Path,
            metavar="FILE",
            help="a password of your choice, - for standard input (default: one is made)",
        )
    password.add_argument("--reinstate", action="store_true", help="also undo a revocation")
    _takes_grants(add, grant)


def _clients(parser: argparse.ArgumentParser, shared: list[argparse.ArgumentParser]) -> None:
    actions = _actions(parser)
    add = actions.add_parser("add", parents=shared, help="give a program an account")
    grant = actions.add_parser("grant", parents=shared, help="replace a program's rights")
    revoke = actions.add_parser("revoke", parents=shared, help="end a program's account and tokens")
    actions.add_parser("list", parents=shared, help="show clients")
    for one in (add, grant, revoke):
        one.add_argument("name", metavar="ID")
    add.add_argument("--secret-to", type=Path, metavar="FILE", help="write the secret there")
    add.add_argument(
        "--redirect-uri",
        action="append",
        default=[],
        metavar="URL",
        help="an application that people log in to (code with PKCE); more than one may be given",
    )
    add.add_argument("--public", action="store_true", help="it cannot keep a secret")
    _takes_grants(add, grant)


def _entities(parser: argparse.ArgumentParser, shared: list[argparse.ArgumentParser]) -> None:
    actions = _actions(parser)
    add = actions.add_parser("add", parents=shared, help="register a title")
    revoke = actions.add_parser("revoke", parents=shared, help="take a title out")
    actions.add_parser("list", parents=shared, help="show titles")
    for one in (add, revoke):
        one.add_argument("title", metavar="TITLE")
    add.add_argument("--partition", default="main", metavar="NAME", help="default: main")
    add.add_argument(
        "--may",
        action="append",
        default=[],
        choices=("store", "find", "move"),
        help="what it may do (without: C-ECHO); more than one may be given",
    )
    add.add_argument(
        "--from",
        dest="source",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="address or network it calls from (default: any); more than one may be given",
    )
    add.add_argument("--host", default="", metavar="HOST", help="where it listens, as a destination")
    add.add_argument("--port", type=_port, default=0, metavar="N", help="the port there")
    add.add_argument(
        "--certificate",
        action="append",
        default=[],
        metavar="NAME",
        help="TLS certificate it must show: sha256:HEX or subject:NAME; more than one may be given",
    )
    add.add_argument(
        "--max-associations", type=int, default=0, metavar="N", help="at a time (default: no own limit)"
    )
    add.add_argument(
        "--per-minute", type=int, default=0, metavar="N", help="associations (default: no own limit)"
    )
    revoke.add_argument("--partition", default="", metavar="NAME", help="default: every one")


def _routes(parser: argparse.ArgumentParser, shared: list[argparse.ArgumentParser]) -> None:
    jobs = _actions(parser).add_parser("jobs", parents=shared, help="what was sent, what waits, and why")
    jobs.add_argument("--partition", default="main", metavar="NAME", help="default: main")
    jobs.add_argument("--limit", type=int, default=100, metavar="N", help="the newest so many (100)")
    jobs.add_argument("--url", metavar="URL", help="root of the gateway (default: the stack of --state)")


def _studies(parser: argparse.ArgumentParser, shared: list[argparse.ArgumentParser]) -> None:
    actions = _actions(parser)
    history = actions.add_parser("history", parents=shared, help="show what was decided about a study")
    restore = actions.add_parser("restore", parents=shared, help="show again what was deleted of a study")
    for one in (history, restore):
        one.add_argument("study", metavar="UID", help="Study Instance UID")
        one.add_argument("--partition", default="main", metavar="NAME", help="default: main")
        one.add_argument("--url", metavar="URL", help="root of the gateway (default: the stack of --state)")
    restore.add_argument("--revision", type=_count, metavar="N", help="only that deletion (default: all)")
    restore.add_argument("--reason", required=True, metavar="TEXT", help="kept with the decision")
    add_amendments(actions, shared)
    add_purge(actions, shared)
    add_reconcile(actions, shared, _moment)


def _dimse(parser: argparse.ArgumentParser, shared: list[argparse.ArgumentParser]) -> None:
    failures = _actions(parser).add_parser("failures", parents=shared, help="why associations failed")
    failures.add_argument("--ae", default="", metavar="TITLE", help="of this calling AE title")
    failures.add_argument(
        "--since", type=_moment, metavar="TIME", help="from then on (ISO 8601; default: a day ago)"
    )
    failures.add_argument("--limit", type=int, default=100, metavar="N", help="the newest so many (100)")
    failures.add_argument("--url", metavar="URL", help="root of the gateway (default: the stack of --state)")


def _audit(parser: argparse.ArgumentParser, shared: list[argparse.ArgumentParser]) -> None:
    actions = _actions(parser)
    search = actions.add_parser("search", parents=shared, help="show access records")
    actions.add_parser("verify", parents=shared, help="check seals, chains and gaps of all of them")
    search.add_argument("--from", dest="since", type=_moment, metavar="TIME", help="from then on (ISO 8601)")
    search.add_argument("--to", dest="until", type=_moment, metavar="TIME", help="before then (ISO 8601)")
    search.add_argument("--actor", default="", metavar="NAME", help="user, client:ID or AE title")
    search.add_argument(
        "--action",
        dest="kind",
        choices=("login", "refusal", "store", "search", "retrieve", "change"),
        help="what was done",
    )
    search.add_argument("--study", default="", metavar="UID", help="to which study")
    search.add_argument("--limit", type=int, default=100, metavar="N", help="the newest so many (100)")


def _conformance(parser: argparse.ArgumentParser, shared: list[argparse.ArgumentParser]) -> None:
    run = _actions(parser).add_parser(
        "run", parents=shared, help="check every statement on a live server; stores invented patients there"
    )
    run.add_argument("url", nargs="?", metavar="URL", help="DICOMweb base (default: the stack of --state)")
    run.add_argument("--only", default="", metavar="IDS", help="such as Q12,W or C")


def _rebuild(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Make the index anew from the bucket, in a database beside the one in use, while the archive serves."
        " The archive is the one that the environment names to its services, or the stack of --state."
    )
    parser.add_argument("--database", default="", metavar="NAME", help="the new one (default: INDEX_rebuilt)")
    parser.add_argument("--processes", type=_count, default=2, metavar="N", help="that index (2)")
    parser.add_argument("--partition", default="", metavar="NAME", help="only this one")
    parser.add_argument(
        "--until", type=_moment, metavar="TIME", help="the index as it was then, to look at (ISO 8601)"
    )
    parser.add_argument("--switch", action="store_true", help="put it in the place of the one in use")
    parser.add_argument(
        "--queue", default="", metavar="URL", help="of the tasks (default: database 15 of GANTRY_REDIS_URL)"
    )


def _viewer(parser: argparse.ArgumentParser) -> None:
    fetch = _actions(parser).add_parser("fetch", help="fetch and prepare them, unless they are there")
    fetch.add_argument("--tools", type=Path, default=Path(".gantry-tools"), metavar="DIR", help="where to")
    fetch.add_argument("--optional", action="store_true", help="that they cannot be had is no failure")


def _takes_grants(*parsers: argparse.ArgumentParser) -> None:
    for one in parsers:
        one.add_argument(
            "--grant",
            action="append",
            default=[],
            metavar="ROLE@PARTITION",
            help="such as clinician@main or admin@*; more than one may be given",
        )


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("at least one")
    return count


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port < 1 << 16:
        raise argparse.ArgumentTypeError("a port is a number from 0 (choose one) to 65535")
    return port


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("a time is as in 2026-11-25 or 2026-11-25T08:00:00+01:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
