"""A bound on requests in hand: who comes beyond it is asked to come back, before memory is gone.

Every answer holds a few megabytes ahead of its socket, so the number of answers is what bounds
the memory of a process. Health and metrics are answered always: a full service is not a dead one.
"""

from __future__ import annotations

from http import HTTPStatus

from gantry_telemetry.metrics import counter
from starlette.types import ASGIApp, Receive, Scope, Send

from gantry_web.health import HEALTH_PATHS
from gantry_web.problems import problem

TURNED_AWAY = counter(
    "gantry_http_requests_turned_away", "HTTP requests refused because too many are in hand"
)


class AtMost:
    """Middleware: answers 503 with Retry-After while ``requests`` are in hand."""

    def __init__(self, app: ASGIApp, requests: int) -> None:
        self.app = app
        self._free = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http" or scope["path"] in HEALTH_PATHS:
            await self.app(scope, receive, send)
        elif self._free <= 0:
            TURNED_AWAY.inc()
            detail = "The server has as many requests in hand as it can take."
            await problem(HTTPStatus.SERVICE_UNAVAILABLE, detail)(scope, receive, send)
        else:
            self._free -= 1
            try:
                await self.app(scope, receive, send)
            finally:
                self._free += 1
