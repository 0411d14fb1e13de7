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
FIRST_BYTE = metrics.histogram(
    "gantry_http_first_byte_seconds", "Time to the first byte of a successful answer's body", ("route",)
)
IN_FLIGHT = metrics.gauge("gantry_http_requests_in_flight", "HTTP requests being answered")
SENT = metrics.counter("gantry_http_sent_bytes", "Bytes of answers sent", ("route",))

# What else a caller makes up is one series.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
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
                if not sent and message.get("body") and status < HTTPStatus.MULTIPLE_CHOICES:
                    FIRST_BYTE.labels(_route(scope)).observe(time.perf_counter() - started)
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
                finally:
                    current.update_name(f"{scope['method']} {_route(scope)}")
                    current.set_attribute("http.response.status_code", int(status))
                    # Within the span: the log line names the trace, the histogram has it as an example.
                    _tell(scope, status, sent, time.perf_counter() - started)
        finally:
            IN_FLIGHT.dec()


def _tell(scope: Scope, status: int, sent: int, seconds: float) -> None:
    route = _route(scope)
    method = scope["method"] if scope["method"] in _METHODS else "other"
    REQUESTS.labels(route, method, str(int(status))).inc()
    DURATION.labels(route).observe(seconds)
    SENT.labels(route).inc(sent)
    if route not in _QUIET_ROUTES:
        log.info(
            "http_request",
            method=method,
            route=route,
            status=int(status),
            bytes=sent,
            duration_ms=round(seconds * 1000, 2),
        )


def _route(scope: Scope) -> str:
    return str(scope.get("gantry.route", "unmatched"))


def _header(scope: Scope, name: bytes) -> str:
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return ""
