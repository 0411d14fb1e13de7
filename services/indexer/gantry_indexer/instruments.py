"""Metrics of the indexer."""

from __future__ import annotations

from gantry.index.v1.index_pb2 import VerdictState
from gantry_telemetry.metrics import counter, gauge, histogram

CHUNKS = histogram(
    "gantry_indexer_chunk_instances", "Instances of one commit", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
)
PHASES = histogram("gantry_indexer_phase_seconds", "Time of a chunk in each phase", ["phase"])
LAG = histogram(
    "gantry_indexer_lag_seconds",
    "From the publication of a request to its commit",
    ["stream"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 300, 3600),
)
SEARCHABLE = histogram(
    "gantry_searchable_seconds",
    "From the reception of an instance to the commit that lets searches find it",
    ["channel"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600),
)
VERDICTS = counter("gantry_indexer_verdicts", "Verdicts by state", ["state"], known=VerdictState.keys())
DOUBTED = counter(
    "gantry_indexer_doubted",
    "Requests that the object store does not vouch for",
    ["reason"],
    known=(
        "bad-key",
        "key-contradicts-request",
        "no-journal-entry-or-manifest",
        "partition-contradicts-record",
        "refused-at-reception",
    ),
)
ISOLATED = counter("gantry_indexer_isolated", "Instances handed over to be tried alone", ["why"])
ATTEMPTS = counter("gantry_indexer_attempts", "Attempts at isolated instances", ["outcome"])
RENEWED = counter("gantry_indexer_renewed", "Instances derived again", ["outcome"])
PAUSED = gauge("gantry_indexer_paused", "1 while the consumer waits for the database or the store")
