"""Free TCP ports on the loopback, remembered so that a second start uses the same."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

LOOPBACK = "127.0.0.1"
LOWEST_PORT, HIGHEST_PORT = 20_000, 32_768


def free_port() -> int:
    """Return a TCP port that nobody listens on now.

    Between this answer and its use somebody may take it, as with every such function.
    """
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return that many different free ports.

    They lie below the range from which Linux gives ports to outgoing connections: one of those would
    otherwise sit on a port we remember while our server is stopped.
    """
    chosen: set[int] = set()
    while len(chosen) < count:
        port = random.randrange(LOWEST_PORT, HIGHEST_PORT)  # noqa: S311 - not a secret
        if is_free(port):
            chosen.add(port)
    return list(chosen)


def is_free(port: int) -> bool:
    """Whether a server could listen on the loopback port now (TIME_WAIT does not count)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def answers(port: int, host: str = LOOPBACK) -> bool:
    """Whether something accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False


def remembered_port(folder: Path, name: str, fixed: int = 0) -> int:
    """Choose the port of a server with one port; see ``remembered_ports``."""
    return remembered_ports(folder / "ports.json", [name], {name: fixed})[name]


def remembered_ports(file: Path, names: Iterable[str], fixed: Mapping[str, int]) -> dict[str, int]:
    """Choose one port a name: the ``fixed`` one (0 = none), else last time's if still free, else a new one.

    The choice is written to ``file`` for the next start.
    """
    wanted = list(names)
    try:
        earlier: dict[str, int] = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        earlier = {}
    chosen = {name: port for name, port in fixed.items() if port}
    for name in wanted:
        if name not in chosen and is_free(earlier.get(name, 0)):
            chosen[name] = earlier.get(name, 0)
    missing = [name for name in wanted if not chosen.get(name)]
    chosen.update(zip(missing, free_ports(len(missing)), strict=True))
    file.write_text(json.dumps(chosen, indent=1, sort_keys=True) + "\n")
    return chosen
