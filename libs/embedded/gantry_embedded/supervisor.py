"""Start, watch and stop the processes of a stack on one machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from gantry_embedded.errors import NotReady
from gantry_embedded.files import private_folder
from gantry_embedded.process import ChildProcess, ProcessSpec
from gantry_embedded.state import (
    ChildState,
    StackState,
    boot_id,
    end_leftovers,
    read_state,
    supervisor_lock,
    write_state,
)

POLL_SECONDS = 0.1
FIRST_BACK_OFF_SECONDS = 0.5
LONGEST_BACK_OFF_SECONDS = 30.0
# Who ran this long is healthy again: its next crash starts the back-off anew.
SETTLED_SECONDS = 60.0
LOG_LIMIT_BYTES = 20 << 20


@dataclass(slots=True)
class _Watched:
    """A child, and what the supervisor remembers about it."""

    child: ChildProcess
    created: float
    stage: int
    state: str = "starting"
    restarts: int = 0
    back_off: float = FIRST_BACK_OFF_SECONDS
    start_again_at: float = 0.0


class Supervisor:
    """The processes of one state folder, in the order of their start.

    Use it in the main thread (see ``ChildProcess``) and inside ``running``, which holds the folder's lock,
    turns SIGINT and SIGTERM into an orderly stop, and leaves nothing behind.
    """

    def __init__(self, folder: Path, report: Callable[[str], None]) -> None:
        self.folder = folder.absolute()
        self._report = report
        self._watched: dict[str, _Watched] = {}
        self._stage = 0
        self._stop_asked = False
        self._ready = False
        self._facts: dict[str, Any] = {}

    @property
    def logs(self) -> Path:
        """Folder of the children's output, one file each."""
        return self.folder / "logs"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Take the folder, run the body, stop everything in reverse order. Raises ``AlreadyRunning``."""
        with supervisor_lock(self.folder), self._signals(), self._guardian():
            private_folder(self.logs)
            earlier = read_state(self.folder)
            if earlier is not None:
                for name in end_leftovers(earlier):
                    self._report(f"ended {name}, left over from a killed supervisor")
            self._write()
            try:
                yield
            finally:
                self._stop_all()

    def ask_to_stop(self) -> None:
        """Make ``watch`` return and starting give up; may be called from any thread or signal handler."""
        self._stop_asked = True

    def is_stopping(self) -> bool:
        """Whether somebody asked for the end."""
        return self._stop_asked

    def launch(self, *specs: ProcessSpec) -> None:
        """Start processes without waiting for them."""
        self._stage += 1
        for spec in specs:
            self._start(spec)

    def wait_ready(self, *names: str) -> None:
        """Wait until everything launched (or what is named of it) is ready. Raises ``NotReady``."""
        for name, watched in self._watched.items():
            if watched.state == "starting" and (not names or name in names):
                watched.child.wait_ready(interrupted=self.is_stopping)
                watched.state = "ready"
                self._write()

    def start(self, *specs: ProcessSpec) -> None:
        """Start processes at the same time and wait until each is ready. Raises ``NotReady``."""
        self.launch(*specs)
        self.wait_ready()

    def run_once(self, spec: ProcessSpec, seconds: float = 120.0) -> None:
        """Run a program to its end. Raises ``NotReady`` when it fails, lasts too long or a stop is asked."""
        watched = self._start(spec)
        child, deadline = watched.child, time.monotonic() + seconds
        try:
            while child.is_alive():
                if self._stop_asked or time.monotonic() > deadline:
                    raise NotReady(f"{spec.name} was not finished: {child.last_words()}")
                time.sleep(POLL_SECONDS)
            if child.exit_code() != 0:
                detail = f"{spec.name} ended with {child.exit_code()}: {child.last_words()}"
                raise NotReady(detail)
        finally:
            child.kill()
            del self._watched[spec.name]
            self._write()

    def announce(self, facts: Mapping[str, Any]) -> None:
        """Say in the state file that the stack is ready, with what others need to know."""
        self._facts = dict(facts)
        self._ready = True
        self._write()

    def watch(self) -> None:
        """Restart what crashes, until somebody asks to stop."""
        while not self._stop_asked:
            changed = [self._look_at(watched) for watched in self._watched.values()]
            if any(changed):
                self._write()
            time.sleep(POLL_SECONDS)

    def _start(self, spec: ProcessSpec) -> _Watched:
        if self._stop_asked:
            raise NotReady("asked to stop")
        log_file = self.logs / f"{spec.name}.log"
        _rotate(log_file)
        child = ChildProcess(replace(spec, log_file=log_file))
        watched = _Watched(child, psutil.Process(child.pid).create_time(), self._stage)
        self._watched[spec.name] = watched
        self._write()
        return watched

    def _look_at(self, watched: _Watched) -> bool:
        """Notice readiness and crashes, restart when it is time; returns whether something changed."""
        child, now = watched.child, time.monotonic()
        if watched.state == "waiting":
            if now < watched.start_again_at:
                return False
            watched.child = ChildProcess(child.spec)
            watched.created = psutil.Process(watched.child.pid).create_time()
            watched.state = "starting"
            watched.restarts += 1
            return True
        code = child.exit_code()
        if code is not None:
            if now - child.started_at > SETTLED_SECONDS:
                watched.back_off = FIRST_BACK_OFF_SECONDS
            child.kill()  # its own children, if it left any
            self._report(
                f"{child.spec.name} ended with {code}; starting it again in {watched.back_off:.1f} s"
            )
            watched.state = "waiting"
            watched.start_again_at = now + watched.back_off
            watched.back_off = min(watched.back_off * 2, LONGEST_BACK_OFF_SECONDS)
            return True
        if watched.state == "starting" and child.spec.ready():
            watched.state = "ready"
            self._report(f"{child.spec.name} is ready again")
            return True
        return False

    def _stop_all(self) -> None:
        """Stop the last started first; what was started together is stopped together."""
        self._ready = False
        while self._watched:
            last = max(watched.stage for watched in self._watched.values())
            stage = {name: watched.child for name, watched in self._watched.items() if watched.stage == last}
            for child in stage.values():
                child.signal(child.spec.stop_signal)
            for name, child in stage.items():
                child.wait_and_kill()
                del self._watched[name]
            self._write()

    def _write(self) -> None:
        children = tuple(
            ChildState(name, watched.child.pid, watched.created, watched.state, watched.restarts)
            for name, watched in self._watched.items()
        )
        state = StackState(os.getpid(), boot_id(), self._ready, children, self._facts)
        write_state(self.folder, state)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Ask to stop on SIGINT, SIGTERM and SIGHUP; further ones do not disturb the stopping."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        earlier = {number: signal.signal(number, lambda *_: self.ask_to_stop()) for number in numbers}
        try:
            yield
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def _guardian(self) -> Iterator[None]:
        """Run the process that ends our children's children when we are killed."""
        guardian = subprocess.Popen(
            [sys.executable, "-P", "-m", "gantry_embedded.guardian", str(self.folder), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield
        finally:
            guardian.kill()
            guardian.communicate()


def _rotate(file: Path) -> None:
    """Keep one older generation of a log that has become long."""
    if file.exists() and file.stat().st_size > LOG_LIMIT_BYTES:
        file.replace(file.with_suffix(".log.1"))
