"""Metrics of reception."""

from __future__ import annotations

from gantry_telemetry import metrics

RECEPTIONS = metrics.counter(
    "gantry_receptions", "Instances received, by what their sender was told.", ("outcome",)
)
RECEIVED_BYTES = metrics.counter("gantry_received_bytes", "Bytes of acknowledged instances.")
ACK_SECONDS = metrics.histogram(
    "gantry_reception_ack_seconds",
    "From the bytes in hand to the acknowledgement, by how it ended.",
    ("outcome",),
)
LATE = metrics.counter("gantry_reception_late", "Instances acknowledged under a journal entry of their own.")
OPEN_BATCHES = metrics.gauge("gantry_reception_open_batches", "Batches whose manifest is not written.")
MANIFESTS = metrics.counter("gantry_manifests", "Manifests, by how writing them ended.", ("outcome",))
NOT_OFFERED = metrics.counter(
    "gantry_index_requests_dropped", "Index requests not published, left to the sweeper.", ("reason",)
)
SPOOLED = metrics.counter("gantry_spooled_parts", "Received parts, by where they were held.", ("where",))
