"""Liveness, readiness and metrics, the same three paths on every service.

Liveness touches nothing; readiness says "started and able to answer", not "every
dependency is up": the state of dependencies shows in metrics and in answers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import uvicorn
from gantry_telemetry.metrics import exposition
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

HEALTH_PATHS = frozenset({"/livez", "/readyz", "/metrics"})


def health_routes(ready: Callable[[], bool]) -> list[Route]:
    """Return the routes ``/livez``, ``/readyz`` and ``/metrics``."""

    async def livez(request: Request) -> Response:
        request.scope["gantry.route"] = "/livez"
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        request.scope["gantry.route"] = "/readyz"
        return PlainTextResponse("ready\n") if ready() else PlainTextResponse("starting\n", 503)

    async def show_metrics(request: Request) -> Response:
        request.scope["gantry.route"] = "/metrics"
        body, media_type = exposition(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": media_type})

    return [
        Route("/livez", livez),
        Route("/readyz", readyz),
        Route("/metrics", show_metrics),
    ]


class HealthServer:
    """Serves the health routes from a thread, for a service whose main work is not HTTP."""

    def __init__(self, host: str, port: int, ready: Callable[[], bool]) -> None:
        config = uvicorn.Config(
            Starlette(routes=health_routes(ready)),
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            lifespan="off",
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="health", daemon=True)

    def start(self) -> None:
        """Begin to serve; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and wait for the thread."""
        self._server.should_exit = True
        self._thread.join(timeout=5)
