"""Metrics of retention."""

from __future__ import annotations

from gantry_telemetry.metrics import counter, gauge

PURGED = counter("gantry_purged_objects", "Objects destroyed for ever, with a certificate")
PURGED_BYTES = counter("gantry_purged_bytes", "Bytes of objects destroyed for ever")
PURGES_OPEN = gauge("gantry_purges_open", "Purges that were begun and have no certificate yet")
EXPIRED = counter("gantry_retention_deletions", "Studies that a retention policy has deleted", ["policy"])
REFUSED = counter("gantry_retention_refused", "Deletions and purges that were refused", ["reason"])
UNSAFE_RULES = gauge("gantry_bucket_unsafe_rules", "Lifecycle rules of the bucket that could bypass holds")
LOCKED = counter("gantry_bucket_holds", "Legal holds of the bucket set on objects or taken away", ["action"])
