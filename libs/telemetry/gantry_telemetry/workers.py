"""Metrics of a service whose workers are processes.

Kept apart from ``metrics``: this must run before the metrics library is first imported.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def share_metrics() -> None:
    """Let this process and the workers it starts write their metrics to one folder.

    Does nothing in a worker, which inherits the folder; the process that made it removes it.
    """
    if _VARIABLE in os.environ:
        return
    folder = tempfile.mkdtemp(prefix="gantry-metrics-")
    os.environ[_VARIABLE] = folder
    owner = os.getpid()
    atexit.register(lambda: shutil.rmtree(folder, ignore_errors=True) if os.getpid() == owner else None)
