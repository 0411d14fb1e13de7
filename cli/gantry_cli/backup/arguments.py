"""The command lines of ``gantry backup`` and ``gantry restore``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import datetime
from pathlib import Path


def add_backup(
    parser: argparse.ArgumentParser,
    state: argparse.ArgumentParser,
    output: argparse.ArgumentParser,
    moment: Callable[[str], datetime],
    count: Callable[[str], int],
) -> None:
    """Say what can be asked of ``gantry backup``."""
    parser.description = (
        "Back up the archive that the environment names to its services, or the stack of --state."
        " A repository is a folder or an s3:// URL"
        " (with GANTRY_BACKUP_S3_ACCESS_KEY and GANTRY_BACKUP_S3_SECRET_KEY)."
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    secret, place, recovery = _secret(), _place(), _recovery(moment)
    init = actions.add_parser("init", parents=[state], help="begin a repository and make its keys")
    init.add_argument(
        "repository", metavar="REPOSITORY", help="folder or URL, not on the archive's own disks"
    )
    init.add_argument("--passphrase-file", type=Path, metavar="FILE", help="that opens it")
    init.add_argument("--key-to", type=Path, metavar="FILE", help="no passphrase: write what opens it there")
    init.add_argument("--no-wal", action="store_true", help="do not archive PostgreSQL's log")
    make = actions.add_parser(
        "create", parents=[state, output], help="back up databases, keys, configuration"
    )
    make.add_argument(
        "--with-index", action="store_true", help="also the index, which is quicker than to rebuild it"
    )
    make.add_argument("--base", action="store_true", help="also the whole cluster, for recovery to a moment")
    make.add_argument(
        "--studies",
        type=int,
        default=25,
        metavar="N",
        help="a partition, whose answers are kept for drills (25)",
    )
    actions.add_parser("list", parents=[state, place, output], help="show backups")
    verify = actions.add_parser("verify", parents=[state, place, secret], help="read every byte of a backup")
    keys = actions.add_parser(
        "keys", parents=[state, place, secret], help="take keys and settings out of a backup"
    )
    keys.add_argument("--to", type=Path, required=True, metavar="FILE")
    copy = actions.add_parser(
        "objects", parents=[state, output], help="bring a copy of the bucket up to date"
    )
    copy.add_argument("destination", metavar="DEST", help="folder or URL")
    copy.add_argument("--check", action="store_true", help="read again what was copied earlier, too")
    drill = actions.add_parser(
        "drill",
        parents=[state, place, secret, output, recovery],
        help="restore it beside the archive and compare",
    )
    drill.add_argument(
        "--objects", metavar="COPY", help="of the bucket (default: links to the stack's own folder)"
    )
    drill.add_argument(
        "--scratch", type=Path, metavar="DIR", help="where there is room, on the copy's disk for links"
    )
    forget = actions.add_parser("forget", parents=[state, place], help="delete old backups")
    forget.add_argument("--keep", type=count, required=True, metavar="N", help="the newest so many")
    for one in (verify, keys, drill):
        _takes_backup(one)


def add_restore(parser: argparse.ArgumentParser) -> None:
    """Say what can be asked of ``gantry restore``, a parser made with ``restore_parents``."""
    parser.description = (
        "Make the stack of --state anew from a backup; or, where the environment names an archive's"
        " databases, restore the dumps into those."
    )
    _takes_backup(parser)
    parser.add_argument("--objects", metavar="COPY", help="copy of the bucket that the new stack begins with")
    parser.add_argument("--replace", action="store_true", help="put aside what is there")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="the stack takes the lost one's place in the repository, too (--replace says so)",
    )


def restore_parents(
    state: argparse.ArgumentParser, moment: Callable[[str], datetime]
) -> list[argparse.ArgumentParser]:
    """Return what ``gantry restore`` shares with other commands."""
    return [state, _place(), _secret(), _recovery(moment)]


def _takes_backup(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("backup", nargs="?", metavar="BACKUP", help="its id (default: the newest)")


def _place() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--repository", metavar="REPOSITORY", help="folder or URL (default: the one of the stack of --state)"
    )
    return shared


def _secret() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--passphrase-file", type=Path, metavar="FILE", help="or GANTRY_BACKUP_PASSPHRASE")
    shared.add_argument("--key-file", type=Path, metavar="FILE", help="that `init --key-to` wrote")
    return shared


def _recovery(moment: Callable[[str], datetime]) -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    which = shared.add_mutually_exclusive_group()
    which.add_argument(
        "--until", type=moment, metavar="TIME", help="recover the databases as they were then (ISO 8601)"
    )
    which.add_argument(
        "--latest", action="store_true", help="recover them as far as the archived log reaches"
    )
    return shared
