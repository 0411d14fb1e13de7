"""What a supervisor writes down in its state folder, so that another shell can see and stop it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from gantry_embedded.errors import AlreadyRunning
from gantry_embedded.files import private_folder, write_private
from gantry_embedded.process import kill_group

LOCK_FILE = "supervisor.lock"
STATE_FILE = "supervisor.json"


@dataclass(frozen=True, slots=True)
class ChildState:
    """One supervised process. ``created`` (seconds since the epoch) tells a pid used again from ours."""

    name: str
    pid: int
    created: float
    state: str
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class StackState:
    """The supervisor and its children; ``facts`` is what the starter wants others to know (URLs, ports)."""

    pid: int
    boot_id: str
    ready: bool
    children: tuple[ChildState, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def boot_id() -> str:
    """Return an id of the machine's present boot: pids of an earlier one mean nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def write_state(folder: Path, state: StackState) -> None:
    """Replace the state file."""
    write_private(folder / STATE_FILE, json.dumps(asdict(state), indent=1))


def read_state(folder: Path) -> StackState | None:
    """Return the last written state, None if there is none; whether it still holds, ``is_running`` tells."""
    try:
        document = json.loads((folder / STATE_FILE).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    children = tuple(ChildState(**child) for child in document.pop("children"))
    return StackState(children=children, **document)


@contextlib.contextmanager
def supervisor_lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the kernel frees it when the process ends. Raises ``AlreadyRunning``."""
    private_folder(folder)
    with (folder / LOCK_FILE).open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunning(f"a stack is already running in {folder}") from error
        yield


def is_running(folder: Path) -> bool:
    """Whether a supervisor holds the folder's lock."""
    try:
        with (folder / LOCK_FILE).open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (FileNotFoundError, NotADirectoryError):
        return False
    return False


def end_leftovers(state: StackState, *, grace_seconds: float = 3.0) -> list[str]:
    """End what a killed supervisor left behind; returns the names of what was found running."""
    if state.boot_id != boot_id():
        return []
    alive = [child for child in state.children if _group_is_ours(child)]
    for child in alive:
        kill_group(child.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while any(_group_is_ours(child) for child in alive) and time.monotonic() < deadline:
        time.sleep(0.05)
    for child in alive:
        if _group_is_ours(child):
            kill_group(child.pid, signal.SIGKILL)
    return [child.name for child in alive]


def _group_is_ours(child: ChildState) -> bool:
    """Whether a process of the child's session lives.

    While any does, its number cannot be given to a new process, so a living leader must be the same one.
    """
    try:
        leader = psutil.Process(child.pid)
        if abs(leader.create_time() - child.created) > 1:
            return False
        if leader.status() != psutil.STATUS_ZOMBIE:
            return True
    except psutil.NoSuchProcess:
        pass
    return any(_session_of(pid) == child.pid for pid in psutil.pids() if pid != child.pid)


def _session_of(pid: int) -> int:
    """Return the session of a process that is no zombie, 0 if there is none."""
    try:
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return 0
        return os.getsid(pid)
    except (psutil.NoSuchProcess, ProcessLookupError, PermissionError):
        return 0
