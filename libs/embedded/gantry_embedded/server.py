"""What the three servers have in common."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Self

from gantry_embedded.errors import CannotRun
from gantry_embedded.process import ChildProcess, ProcessSpec


class Server:
    """A server in one folder: ``prepare`` makes the folder fit, ``spec`` says how to run it.

    ``start``, ``stop`` and ``kill`` are for who runs it alone (tests); a supervisor takes ``spec``.
    Everything is remembered in the folder, so a later start finds data, secrets and ports again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._child: ChildProcess | None = None

    def prepare(self) -> None:
        """Create what is missing in the folder; safe to call again."""
        raise NotImplementedError

    def spec(self) -> ProcessSpec:
        """Return how to run the server after ``prepare``."""
        raise NotImplementedError

    def after_ready(self) -> None:
        """Do what needs the running server (create a bucket); safe to call again."""

    def after_stop(self) -> None:
        """Clean up what the server does not clean up itself; safe to call again."""

    @property
    def child(self) -> ChildProcess:
        """The running process."""
        if self._child is None:
            raise RuntimeError("the server has not been started")
        return self._child

    def start(self) -> Self:
        """Prepare, start and wait until it answers. Raises ``NotReady``."""
        self.prepare()
        self._child = ChildProcess(self.spec())
        try:
            self._child.wait_ready()
            self.after_ready()
        except BaseException:
            self._child.kill()
            raise
        return self

    def stop(self) -> None:
        """Stop in order, or hard after the grace period."""
        if self._child is not None:
            self._child.stop()
            self._child = None
            self.after_stop()

    def kill(self) -> None:
        """Stop at once, as a power failure would."""
        if self._child is not None:
            self._child.kill()
            self._child = None
            self.after_stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def recalled(folder: Path, name: str) -> tuple[int, str]:
    """Return port and password of the server ``name`` that has been started in ``folder``.

    Raises ``CannotRun`` when the folder holds none.
    """
    try:
        ports: dict[str, int] = json.loads((folder / "ports.json").read_text())
        return ports[name], (folder / "password").read_text().strip()
    except (FileNotFoundError, KeyError) as error:
        raise CannotRun(f"{folder} holds no server {name}") from error
