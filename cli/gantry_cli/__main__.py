"""Entry point of the ``gantry`` command."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from gantry_dicom.errors import GantryError

from gantry_cli import exits
from gantry_cli.options import DEFAULT_STATE, STORES, StackOptions
from gantry_cli.terminal import complain


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
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
    if options.command == "down":
        from gantry_cli.lifecycle import down

        return down(options.state)
    if options.command == "status":
        from gantry_cli.lifecycle import status

        return status(options.state)
    if options.command == "import":
        from gantry_cli.importing import import_

        return import_(options.state, options.source, options.to)
    if options.command == "viewer":
        from gantry_cli.viewer import fetch_viewer

        return fetch_viewer(options.tools, optional=options.optional)
    from gantry_cli.viewer import chosen_viewer

    stack = StackOptions(
        state=options.state.absolute(),
        store=options.store,
        http_port=options.http_port,
        dimse_port=options.dimse_port,
        viewer=chosen_viewer(options.viewer),
        login=options.command == "up" and options.login,
    )
    if options.command == "demo":
        from gantry_cli.demo import demo

        return demo(stack, detach=options.detach)
    from gantry_cli.running import up

    return up(stack, detach=options.detach)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gantry", description="Run Gantry on one machine and talk to it.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    state = argparse.ArgumentParser(add_help=False)
    state.add_argument(
        "--state",
        type=Path,
        default=DEFAULT_STATE,
        metavar="DIR",
        help="folder of data, secrets and logs (default: .gantry)",
    )
    stack = argparse.ArgumentParser(add_help=False)
    stack.add_argument("--store", choices=STORES, help="object store (default: s3, or as last time)")
    stack.add_argument("--http-port", type=_port, default=0, metavar="N", help="port of DICOMweb")
    stack.add_argument("--dimse-port", type=_port, default=0, metavar="N", help="port of DIMSE")
    stack.add_argument(
        "--viewer", type=Path, metavar="DIR", help="viewer's files (default: as `viewer fetch` left them)"
    )
    stack.add_argument("--detach", action="store_true", help="return when it is ready")
    up = commands.add_parser(
        "up", parents=[state, stack], help="start PostgreSQL, Valkey, S3 and the services"
    )
    up.add_argument("--login", action="store_true", help="people and programs have to log in")
    commands.add_parser("down", parents=[state], help="stop them")
    commands.add_parser("status", parents=[state], help="say what runs and where")
    import_ = commands.add_parser("import", parents=[state], help="store files or another archive's study")
    import_.add_argument("source", metavar="PATH|URL", help="file, folder, or WADO-RS URL of a study")
    import_.add_argument("--to", metavar="URL", help="DICOMweb base (default: the stack of --state)")
    commands.add_parser("demo", parents=[state, stack], help="up, with a synthetic patient to look at")
    viewer = commands.add_parser("viewer", help="the web viewer's files")
    fetch = viewer.add_subparsers(dest="action", required=True, metavar="ACTION").add_parser(
        "fetch", help="fetch and prepare them, unless they are there"
    )
    fetch.add_argument("--tools", type=Path, default=Path(".gantry-tools"), metavar="DIR", help="where to")
    fetch.add_argument("--optional", action="store_true", help="that they cannot be had is no failure")
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port < 1 << 16:
        raise argparse.ArgumentTypeError("a port is a number from 0 (choose one) to 65535")
    return port


if __name__ == "__main__":
    sys.exit(main())
