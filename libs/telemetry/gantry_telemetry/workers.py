"""Metrics of a service whose workers are processes.

Kept apart from ``metrics``: this must run before the metrics library is first imported.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_PREFIX = "gantry-metrics-"
_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def share_metrics() -> None:
    """Let this process and the workers it starts write their metrics to one folder.

    Does nothing in a worker, which inherits the folder; the process that made it removes it.
    """
    if _VARIABLE in os.environ:
        # Whatever clears old files away on this machine must not keep a worker from starting.
        Path(os.environ[_VARIABLE]).mkdir(mode=0o700, parents=True, exist_ok=True)
        return
    _remove_orphans()
    owner = os.getpid()
    folder = tempfile.mkdtemp(prefix=f"{_PREFIX}{owner}-")
    os.environ[_VARIABLE] = folder
    atexit.register(lambda: shutil.rmtree(folder, ignore_errors=True) if os.getpid() == owner else None)


def owner() -> int:
    """Return the process that began this service: the one that made the folder, or this one."""
    number = Path(os.environ.get(_VARIABLE, "")).name.removeprefix(_PREFIX).partition("-")[0]
    return int(number) if number.isdigit() else os.getpid()


def _remove_orphans() -> None:
    """Remove the folders of processes that were killed and could not do it themselves."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        # A folder of somebody else's stays; a number that is another process's now is left, too.
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)
