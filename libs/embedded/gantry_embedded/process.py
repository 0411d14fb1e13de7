"""One child process: start, readiness, stop, kill."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from gantry_embedded.errors import NotReady

LAUNCHER = Path(__file__).with_name("launch.py")
READY_POLL_SECONDS = 0.03


@dataclass(frozen=True, slots=True)
class Account:
    """The operating system account a program runs under."""

    uid: int
    gid: int


def always_ready() -> bool:
    """Say yes: for programs that answer nowhere."""
    return True


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What to run and how to treat it.

    ``stop_signal`` asks for an orderly end; after ``grace_seconds`` the whole process group is killed.
    ``death_signal`` is what the kernel sends when our own process dies without stopping it.
    """

    name: str
    argv: tuple[str, ...]
    log_file: Path
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] = always_ready
    ready_seconds: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM
    grace_seconds: float = 10.0
    death_signal: signal.Signals = signal.SIGKILL
    account: Account | None = None


class ChildProcess:
    """A started ``ProcessSpec``, in a session of its own so that a terminal's Ctrl-C reaches only us.

    The kernel ends it with the *thread* that started it: start long-lived ones from the main thread.
    """

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        account = spec.account or Account(-1, -1)
        argv = [
            *(sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), str(int(spec.death_signal))),
            *(str(account.uid), str(account.gid), *spec.argv),
        ]
        with spec.log_file.open("ab") as log:
            self._log_begins = log.tell()
            self._popen = subprocess.Popen(
                argv,
                cwd=spec.cwd,
                env=dict(spec.env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started_at = time.monotonic()

    @property
    def pid(self) -> int:
        """Process id, which is also the process group's."""
        return self._popen.pid

    def exit_code(self) -> int | None:
        """Return None while it runs; negative numbers are signals."""
        return self._popen.poll()

    def last_words(self) -> str:
        """Return the end of what this process has written, and where to read more."""
        return f"{last_lines(self.spec.log_file, self._log_begins)} ({self.spec.log_file})"

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._popen.poll() is None

    def wait_ready(self, *, interrupted: Callable[[], bool] = lambda: False) -> None:
        """Block until the program is ready.

        Raises ``NotReady`` when it ends, takes too long, or when ``interrupted`` says so.
        """
        deadline = time.monotonic() + self.spec.ready_seconds
        while not self.spec.ready():
            code = self.exit_code()
            if code is not None:
                raise NotReady(f"{self.spec.name} ended with {code}: {self.last_words()}")
            if interrupted():
                raise NotReady(f"interrupted while {self.spec.name} was starting")
            if time.monotonic() > deadline:
                raise NotReady(f"{self.spec.name} is not ready: {self.last_words()}")
            time.sleep(READY_POLL_SECONDS)

    def wait(self, seconds: float) -> int:
        """Wait for the end and return the exit code. Raises ``subprocess.TimeoutExpired``."""
        return self._popen.wait(seconds)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process itself, not to its children."""
        if self.is_alive():
            self._popen.send_signal(number)

    def stop(self) -> None:
        """Ask for an orderly end, wait the grace period, then kill the group."""
        self.signal(self.spec.stop_signal)
        self.wait_and_kill()

    def wait_and_kill(self) -> None:
        """Wait the grace period, then kill what is left of the group."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(self.spec.grace_seconds)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to the process and everything it started in its group; returns when it is gone."""
        kill_group(self.pid, signal.SIGKILL)
        self._popen.wait()


def kill_group(pgid: int, number: signal.Signals) -> None:
    """Signal a process group; one that is gone is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pgid, number)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not collected by its parent does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def last_lines(file: Path, begin: int = 0, count: int = 5) -> str:
    """Return the end of what a log holds after ``begin``, for an error message."""
    try:
        text = file.read_bytes()[begin:][-4096:].decode("utf-8", "replace")
    except FileNotFoundError:
        text = ""
    return " | ".join(text.strip().splitlines()[-count:]) or "no output"
