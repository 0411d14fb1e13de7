"""Metrics of the storage service."""

from __future__ import annotations

from gantry_telemetry.metrics import counter, gauge, histogram

JOURNAL_ENTRIES = gauge("gantry_journal_entries", "Journal entries: batches not safely indexed yet")
OLDEST_ENTRY = gauge(
    "gantry_journal_oldest_age_seconds", "Age of the oldest journal entry by the store's clock"
)
SWEPT = counter("gantry_sweeper_manifests", "Manifests written for batches whose receiver was gone")
EXAMINED = counter("gantry_sweeper_objects", "Objects examined in such batches", ["outcome"])
FED = counter("gantry_sweeper_fed", "Index requests put on the replay stream", ["lane"])
FINISHED = counter("gantry_journal_finished", "Journal entries deleted because all is decided")
BROKEN = counter(
    "gantry_journal_broken",
    "Journal entries, manifests and other records of the bucket that cannot be believed",
    ["kind"],
    known=("journal-key", "journal", "manifest", "amendment-key", "amendment", "commitment"),
)
PASSES = histogram(
    "gantry_sweeper_pass_seconds",
    "Duration of the sweeper's passes",
    ["kind"],
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800),
)
LEFTOVERS = counter("gantry_store_leftovers", "Unfinished uploads cleared away")
REPLAYED = counter("gantry_replay_chunks", "Chunks of manifests replayed", ["outcome"])
AMENDMENTS_WAITING = gauge("gantry_amendments_waiting", "Amendments that the index may not have yet")
AMENDMENTS = counter("gantry_amendments_asked", "Requests to apply an amendment", ["outcome"])
COMMITMENTS_OPEN = gauge("gantry_commitments_open", "Storage commitments not reported or not delivered yet")
SNAPSHOTS = counter("gantry_policy_snapshots_cleared", "Old policy snapshots cleared away")
SCRUBBED = counter("gantry_scrub_objects", "Objects read again and compared with their manifest", ["outcome"])
SCRUBBED_BYTES = counter("gantry_scrub_bytes", "Bytes of objects read again")
SCRUB_FINDINGS = counter("gantry_scrub_findings", "Objects and manifests that are not as written", ["kind"])
OLDEST_CHECK = gauge(
    "gantry_scrub_oldest_check_age_seconds", "Since then everything was read again, in seconds"
)
FINDINGS = gauge("gantry_findings_open", "Findings that nobody has closed", ["kind"])
QUARANTINED = gauge("gantry_quarantined_instances", "Received objects that are put aside")
REPAIRS = counter("gantry_repairs", "Findings that were to be mended", ["kind", "outcome"])
REQUESTS = counter("gantry_storage_requests", "Requests of administrators", ["kind", "outcome"])
