"""What a round acts upon: the stack, the seed's dice, what was done so far, who keeps services running."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from gantry_embedded.process import ChildProcess

from gantry_testing.stack import Stack

TICK_SECONDS = 0.05
# A supervisor that restarts at once, as Kubernetes does the first time.
STARTING_SECONDS = 60.0

CLOCK_LIBRARIES = (
    Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"),
    Path("/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"),
)


def clock_library() -> Path | None:
    """Return Debian's libfaketime (package ``libfaketime``), if it is installed."""
    return next((library for library in CLOCK_LIBRARIES if library.exists()), None)


class SmallDisk:
    """A file system of few bytes mounted over ``folder``, to be filled; needs root."""

    def __init__(self, folder: Path, size: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        options = f"size={size},mode=0755"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "gantry-faults", str(folder)], check=True)
        self._ballast = folder / "ballast"

    @staticmethod
    def is_possible() -> bool:
        """Whether this process may mount."""
        return os.geteuid() == 0 and shutil.which("mount") is not None

    def fill(self) -> None:
        """Leave no byte free, whoever else writes meanwhile."""
        with self._ballast.open("wb") as file:
            size = 0
            for step in (64 << 20, 1 << 20, 1 << 12):
                with suppress(OSError):  # no space left: as wanted
                    while True:
                        os.posix_fallocate(file.fileno(), size, step)
                        size += step

    def empty(self) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount it with all that is in it."""
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


@dataclass(slots=True)
class Scene:
    """One round's stage. Everything here runs on the main thread, which owns the processes."""

    stack: Stack
    dice: random.Random
    lease_seconds: float
    disks: dict[str, SmallDisk] = field(default_factory=dict)
    # What happened, with the seconds since the round began.
    told: list[str] = field(default_factory=list)
    # What an operator does when the round is over (a replay after a failover).
    afterwards: list[Callable[[], object]] = field(default_factory=list)
    # Services that are down on purpose.
    held_down: set[str] = field(default_factory=set)
    restarts: int = 0
    # The load has ended: who waits for a moment waits no longer.
    ending: bool = False
    begun: float = field(default_factory=time.monotonic)

    def tell(self, what: str) -> None:
        """Write down what happens now."""
        self.told.append(f"{time.monotonic() - self.begun:.1f} s: {what}")

    def kill(self, service: str) -> None:
        """Kill a service, unless it is dead."""
        if self.stack.is_alive(service):
            self.stack.kill(service)

    def supervise(self) -> None:
        """Start whatever has died, as a supervisor does."""
        for name in self.stack.services:
            if name not in self.held_down and not self.stack.is_alive(name):
                self.restarts += 1
                self.stack.launch(name)

    def until_ready(self, service: str) -> Iterator[float]:
        """Wait for a service to be up again; the supervisor starts it."""
        deadline = time.monotonic() + STARTING_SECONDS
        while time.monotonic() < deadline:
            if self.stack.is_alive(service) and self.stack.says_ready(service):
                return
            yield TICK_SECONDS
        self.tell(f"{service} was not ready within {STARTING_SECONDS:g} s")

    def are_ready(self) -> bool:
        """Whether every service runs and says that it is ready."""
        return all(self.stack.is_alive(name) and self.stack.says_ready(name) for name in self.stack.services)


def signal_family(child: ChildProcess, number: signal.Signals) -> None:
    """Signal a process and its descendants, those in sessions of their own as well."""
    parent = psutil.Process(child.pid)
    for process in (parent, *parent.children(recursive=True)):
        if process.is_running():
            process.send_signal(number)
