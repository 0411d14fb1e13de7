"""Entry point of the ``gantry`` command."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module

from gantry_dicom.errors import GantryError

from gantry_cli import exits
from gantry_cli.amending_arguments import STUDY_DECISIONS
from gantry_cli.arguments import parser
from gantry_cli.options import StackOptions
from gantry_cli.terminal import complain

# Modules whose ``run`` answers a command that talks to an archive.
_TALKING = {
    "user": "accounts",
    "client": "accounts",
    "ae": "accounts",
    "route": "routes",
    "hold": "hold",
    "retention": "retention",
    "certificate": "certificate",
    "capacity": "capacity",
    "findings": "findings",
    "quarantine": "quarantine",
    "conflicts": "conflicts",
    "study": "studies",
    "dimse": "dimse",
    "audit": "audit",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = parser().parse_args(arguments)
    try:
        return _run(options)
    except GantryError as error:
        complain(error.detail)
        return exits.FAILED
    except BrokenPipeError:
        # Who read our output has gone; the interpreter must not stumble over it once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.FAILED
    except KeyboardInterrupt:
        return exits.INTERRUPTED


def _run(options: argparse.Namespace) -> int:
    """Import what the command needs and no more: ``status`` has no use for pixels."""
    match options.command:
        case "down":
            from gantry_cli.lifecycle import down

            return down(options.state)
        case "status":
            from gantry_cli.lifecycle import status

            return status(options.state)
        case "viewer":
            from gantry_cli.viewer import fetch_viewer

            return fetch_viewer(options.tools, optional=options.optional)
        case "rebuild":
            from gantry_cli.rebuild import rebuild

            return rebuild(options)
        case "backup":
            from gantry_cli.backup import commands

            return commands.run(options)
        case "restore":
            from gantry_cli.backup import commands

            return commands.restore(options)
        case "up" | "demo":
            return _start(options)
    return _talk(options)


def _start(options: argparse.Namespace) -> int:
    from gantry_cli.viewer import chosen_viewer

    stack = StackOptions(
        state=options.state.absolute(),
        store=options.store,
        http_port=options.http_port,
        dimse_port=options.dimse_port,
        viewer=chosen_viewer(options.viewer),
        login=options.login,
        in_background=options.command == "up" and options.in_background,
    )
    if options.command == "demo":
        from gantry_cli.demo import demo

        return demo(stack, detach=options.detach)
    from gantry_cli.running import up

    return up(stack, detach=options.detach)


def _talk(options: argparse.Namespace) -> int:
    """Run a command that talks to an archive as somebody."""
    from gantry_cli.access import AccessOptions, print_token

    access = AccessOptions(
        options.state.absolute(), options.token, options.issuer, options.client, options.secret_file
    )
    match options.command:
        case "token":
            return print_token(access, options.scope)
        case "import":
            from gantry_cli.importing import import_

            return import_(access, options.source, options.to)
        case "conformance":
            from gantry_cli.conformance import runner

            return runner.run(access, options.url, options.only, as_json=options.json)
        case "study" if options.action == "reconcile":
            from gantry_cli import findings

            return findings.reconcile(access, options)
        case "study" if options.action in ("purge", "recall"):
            from gantry_cli import retention

            if options.action == "recall":
                return retention.recall(access, options)
            return retention.purge(access, options)
        case "study" if options.action in STUDY_DECISIONS:
            from gantry_cli import amending

            return amending.study(access, options)
        case "patient":
            from gantry_cli import amending

            return amending.patient(access, options)
    module = import_module(f"gantry_cli.{_TALKING[options.command]}")
    return int(module.run(access, options))


if __name__ == "__main__":
    sys.exit(main())
