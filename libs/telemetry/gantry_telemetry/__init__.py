"""Logs without patient data, metrics and traces."""

from __future__ import annotations

from gantry_telemetry.logs import configure_logs
from gantry_telemetry.tracing import configure_tracing

__all__ = ["configure"]


def configure(
    service: str, level: str = "INFO", otlp_endpoint: str | None = None, trace_share: float = 1.0
) -> None:
    """Set up logs and traces of this process; called once, by a service's composition root."""
    configure_logs(service, level)
    configure_tracing(service, otlp_endpoint, trace_share)
