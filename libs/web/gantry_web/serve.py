"""Run an HTTP application under uvicorn, with worker processes on one listening socket."""

from __future__ import annotations

import signal
import sys

import uvicorn

# Seconds that a worker may take to finish the answers in hand when it is told to stop.
DRAIN_SECONDS = 20


def serve(factory: str, *, host: str, port: int, workers: int = 1) -> None:
    """Serve the application that ``factory`` (``module:function``) returns, until a signal.

    uvloop and httptools are named rather than guessed: a missing wheel must fail at start,
    not quietly cost a third of the throughput (docs/adr/0004-http-server.md).
    """
    # uvicorn raises the signal again once it has drained: by default that ends the process on
    # the spot, without what was registered for its end.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    uvicorn.run(
        factory,
        factory=True,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        backlog=2048,
    )
