"""One middleware around every request: a span, metrics by route, and a log line.

Pure ASGI, so that streamed bodies pass untouched. Paths and queries are never logged as
they came (a search names patients); the route's template is.
"""

from __future__ import annotations

import time
from http import HTTPStatus

from gantry_telemetry import metrics
from gantry_telemetry.logs import get_logger
from gantry_telemetry.tracing import continue_trace, span
from opentelemetry.trace import SpanKind
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = get_logger(__name__)

REQUESTS = metrics.counter("gantry_http_requests", "HTTP requests answered", ("route", "method", "status"))
DURATION = metrics.histogram("gantry_http_request_seconds", "Time to the last byte of an answer", ("route",))
IN_FLIGHT = metrics.gauge("gantry_http_requests_in_flight", "HTTP requests being answered")
SENT = metrics.counter("gantry_http_sent_bytes", "Bytes of answers sent", ("route",))

_QUIET_ROUTES = frozenset({"/livez", "/readyz", "/metrics"})


class Observe:
    """Middleware: traces, counts and logs each request by its route template."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0
        sent = 0

        async def count(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                sent += len(message.get("body", b""))
            await send(message)

        IN_FLIGHT.inc()
        try:
            with (
                continue_trace(_header(scope, b"traceparent")),
                span("http.request", SpanKind.SERVER, **{"http.request.method": scope["method"]}) as current,
            ):
                try:
                    await self.app(scope, receive, count)
                except Exception:
                    # The answer to a bug is made further out.
                    status = status or HTTPStatus.INTERNAL_SERVER_ERROR
                    raise
                route = scope.get("gantry.route", "unmatched")
                current.update_name(f"{scope['method']} {route}")
                current.set_attribute("http.response.status_code", status)
        finally:
            IN_FLIGHT.dec()
            route = scope.get("gantry.route", "unmatched")
            duration = time.perf_counter() - started
            REQUESTS.labels(route, scope["method"], str(int(status))).inc()
            DURATION.labels(route).observe(duration)
            SENT.labels(route).inc(sent)
            if route not in _QUIET_ROUTES:
                log.info(
                    "http_request",
                    method=scope["method"],
                    route=route,
                    status=int(status),
                    bytes=sent,
                    duration_ms=round(duration * 1000, 2),
                )


def _header(scope: Scope, name: bytes) -> str:
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return ""
