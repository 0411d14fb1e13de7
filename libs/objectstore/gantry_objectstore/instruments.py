"""Metrics of the object store."""

from __future__ import annotations

from gantry_telemetry import metrics

OPERATIONS = metrics.histogram(
    "gantry_store_operation_seconds",
    "Duration of object store operations, retries included.",
    ("backend", "operation", "outcome"),
)
