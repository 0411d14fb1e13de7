"""The dashboards: who looks at each, and the questions that it answers."""

from __future__ import annotations

from typing import Any

from panels import Dashboard, Panel, Row, quantiles, rate, render, stat
from slos import OBJECTIVES

_HTTP = 'job="gateway",route!~"/(livez|readyz|metrics)"'
_PICTURES = 'job="gateway",route=~".*/(frames/[^/]+|rendered|thumbnail)"'
_FAILED = 'outcome="failed"'


def _budget(objective: str) -> str:
    """Return the share of the error budget of three days that is left."""
    target = next(one.target for one in OBJECTIVES if one.name == objective)
    ratio = f'max(gantry:slo_errors:ratio_rate3d{{{{ns}},slo="{objective}"}})'
    return f"1 - {ratio} / {round(1 - target, 6)}"


OVERVIEW = Dashboard(
    "gantry-overview",
    "Gantry: overview",
    "For the SRE on call: are the objectives held, and if not, where to look.",
    [
        Row(
            "Objectives: error budget left, over three days",
            [
                stat(one.name.replace("-", " "), _budget(one.name), "percentunit", one.what, 6)
                for one in OBJECTIVES
            ],
        ),
        Row(
            "Nothing lost",
            [
                stat("Oldest not in the index", "max(gantry_journal_oldest_age_seconds{{ns}})", "s"),
                stat("Batches not in the index", "max(gantry_journal_entries{{ns}})"),
                stat("Lost or damaged", "sum(gantry_findings_open{{ns}}) or vector(0)"),
                stat("Put aside", "max(gantry_quarantined_instances{{ns}})"),
                stat("Records not believed", "sum(increase(gantry_journal_broken_total{{ns}}[1d]))"),
                stat("Longest unread", "max(gantry_scrub_oldest_check_age_seconds{{ns}})", "s"),
            ],
        ),
        Row(
            "Rate, errors, duration",
            [
                rate("DICOMweb requests", "gantry_http_requests_total", _HTTP, "status", stacked=True),
                rate("C-STORE by status", "gantry_dimse_stores_total", "", "status", stacked=True),
                quantiles("First byte of a picture", "gantry_http_first_byte_seconds", _PICTURES),
                quantiles("Reception to searchable", "gantry_searchable_seconds", "", "channel"),
            ],
        ),
        Row(
            "Use",
            [
                Panel(
                    "Processor",
                    [
                        (
                            "sum by (job) (rate(gantry_process_cpu_seconds_total{{ns}}[$__rate_interval]))",
                            "{{job}}",
                        )
                    ],
                    "short",
                    "Processors in use",
                    8,
                ),
                Panel(
                    "Memory",
                    [("sum by (job) (gantry_process_resident_memory_bytes{{ns}})", "{{job}}")],
                    "bytes",
                    width=8,
                ),
                Panel(
                    "Open files and sockets",
                    [("sum by (job) (gantry_process_open_files{{ns}})", "{{job}}")],
                    width=8,
                ),
                Panel(
                    "Instances up",
                    [
                        (
                            "sum by (job) (up and on (namespace, job, instance) gantry_build_info{{ns}})",
                            "{{job}}",
                        )
                    ],
                    width=8,
                ),
                Panel("Releases", [("count by (version) (gantry_build_info{{ns}})", "{{version}}")], width=8),
                Panel("Processes", [("sum by (job) (gantry_processes{{ns}})", "{{job}}")], width=8),
            ],
        ),
    ],
)

INGEST = Dashboard(
    "gantry-ingest",
    "Gantry: reception",
    "DIMSE and the way to the acknowledgement, for who looks after modalities.",
    [
        Row(
            "Associations",
            [
                Panel("Open", [("sum(gantry_dimse_associations{{ns}})", "associations")]),
                rate("Ended, by how", "gantry_dimse_associations_ended_total", "", "how", stacked=True),
                rate("By calling title", "gantry_dimse_associations_of_title_total", "", "title, how"),
                rate("Failures, by diagnosis", "gantry_dimse_failures_total", "", "diagnosis"),
                rate("Dismissed before they asked", "gantry_dimse_connections_dismissed_total", "", "reason"),
                quantiles(
                    "Association to searchable",
                    "gantry_dimse_association_searchable_seconds",
                    explanation="From the connection until all that was sent could be found",
                ),
            ],
        ),
        Row(
            "Stores",
            [
                rate("Answers", "gantry_dimse_stores_total", "", "status", stacked=True),
                rate("Bytes", "gantry_received_bytes_total", "", "job", "Bps"),
                quantiles("C-STORE", "gantry_dimse_store_seconds"),
                quantiles("Put and journal, until the answer", "gantry_reception_ack_seconds", "", "outcome"),
                rate("Receptions, by what the sender was told", "gantry_receptions_total", "", "outcome"),
                Panel("Batches without manifest", [("sum(gantry_reception_open_batches{{ns}})", "batches")]),
                rate("Parts, by where they were held", "gantry_spooled_parts_total", "", "where"),
                rate("Index requests put on the stream", "gantry_index_published_total", "", "stream"),
            ],
        ),
        Row(
            "Query and retrieve, commitment, routing",
            [
                rate("Instances sent for C-MOVE and C-GET", "gantry_dimse_instances_sent_total", "", "how"),
                rate("Commitment requests", "gantry_dimse_commitment_requests_total", "", "status"),
                Panel("Commitments open", [("max(gantry_commitments_open{{ns}})", "open")]),
                Panel("Routing jobs open", [("max(gantry_route_jobs_open{{ns}})", "open")]),
            ],
        ),
    ],
)

DICOMWEB = Dashboard(
    "gantry-dicomweb",
    "Gantry: DICOMweb",
    "What viewers and programs ask of the gateway, and how long they wait.",
    [
        Row(
            "Requests",
            [
                rate("By route", "gantry_http_requests_total", _HTTP, "route", stacked=True),
                rate("By status", "gantry_http_requests_total", _HTTP, "status", stacked=True),
                Panel("In hand", [('sum(gantry_http_requests_in_flight{{ns},job="gateway"})', "requests")]),
                rate("Bytes sent", "gantry_http_sent_bytes_total", 'job="gateway"', "route", "Bps"),
                quantiles("Whole answer", "gantry_http_request_seconds", _HTTP),
                Panel(
                    "Slowest routes (99 % of answers within)",
                    [
                        (
                            "topk(8, histogram_quantile(0.99, sum by (le, route) (rate("
                            "gantry_http_request_seconds_bucket{{ns}," + _HTTP + "}[$__rate_interval]))))",
                            "{{route}}",
                        )
                    ],
                    "s",
                ),
            ],
        ),
        Row(
            "Pictures",
            [
                quantiles("First byte of a picture", "gantry_http_first_byte_seconds", _PICTURES),
                Panel(
                    "Cache hits",
                    [
                        (
                            (
                                'sum by (cache) (rate(gantry_cache_lookups_total{{ns},outcome!="miss"}'
                                "[$__rate_interval])) / sum by (cache) (rate(gantry_cache_lookups_total{{ns}}"
                                "[$__rate_interval]))"
                            ),
                            "{{cache}}",
                        )
                    ],
                    "percentunit",
                ),
                quantiles("Transcoding and rendering", "gantry_pixel_job_seconds", "", "job"),
                quantiles("Waiting for a process", "gantry_pixel_job_wait_seconds"),
                rate("Jobs, by outcome", "gantry_pixel_jobs_total", "", "outcome"),
            ],
        ),
        Row(
            "Stores",
            [
                rate("Parts of STOW-RS requests", "gantry_stow_parts_total", "", "outcome", stacked=True),
                rate("Waits for a verdict", "gantry_verdict_waits_total", "", "outcome"),
            ],
        ),
    ],
)

INDEXING = Dashboard(
    "gantry-indexing",
    "Gantry: indexing",
    "From the stream to the commit.",
    [
        Row(
            "Throughput",
            [
                rate(
                    "Instances new to the index",
                    "gantry_indexed_instances_total",
                    "",
                    "modality",
                    stacked=True,
                ),
                rate("Verdicts", "gantry_indexer_verdicts_total", "", "state", stacked=True),
                Panel(
                    "Instances a commit",
                    [
                        (
                            (
                                "sum(rate(gantry_indexer_chunk_instances_sum{{ns}}[$__rate_interval])) / "
                                "sum(rate(gantry_indexer_chunk_instances_count{{ns}}[$__rate_interval]))"
                            ),
                            "mean",
                        )
                    ],
                ),
                quantiles("Phases of a chunk", "gantry_indexer_phase_seconds", "", "phase"),
                quantiles("Reception to searchable", "gantry_searchable_seconds", "", "channel"),
                quantiles("Publication to commit", "gantry_indexer_lag_seconds", "", "stream"),
            ],
        ),
        Row(
            "What does not go straight through",
            [
                Panel(
                    "Waiting for database or store", [("max(gantry_indexer_paused{{ns}})", "paused")], width=8
                ),
                rate("Not believed", "gantry_indexer_doubted_total", "", "reason", width=8),
                rate("Forged", "gantry_index_forged_total", "", "stream", width=8),
                Panel("Put aside", [("max(gantry_quarantined_instances{{ns}})", "instances")], width=8),
                Panel(
                    "Amendments waiting", [("max(gantry_amendments_waiting{{ns}})", "amendments")], width=8
                ),
                rate("Journal entries let go", "gantry_journal_finished_total", "", "job", width=8),
            ],
        ),
    ],
)

STORAGE = Dashboard(
    "gantry-storage",
    "Gantry: storage and capacity",
    "Objects after the acknowledgement: how many, how whole, how long the room lasts.",
    [
        Row(
            "Capacity",
            [
                stat("Days left", "min(gantry_capacity_days_left{{ns}})", "d", width=6),
                stat("Room", "sum(gantry_capacity_room_bytes{{ns}})", "bytes", width=6),
                stat("Stored", "sum(gantry_capacity_bytes{{ns}})", "bytes", width=6),
                stat("Objects", "sum(gantry_capacity_instances{{ns}})", width=6),
                Panel(
                    "Stored, by partition and tier",
                    [("sum by (partition, tier) (gantry_capacity_bytes{{ns}})", "{{partition}} {{tier}}")],
                    "bytes",
                    stacked=True,
                ),
                rate("Arriving", "gantry_received_bytes_total", "", "job", "Bps"),
            ],
        ),
        Row(
            "Integrity",
            [
                rate("Objects read again", "gantry_scrub_objects_total", "", "outcome"),
                rate("Bytes read again", "gantry_scrub_bytes_total", "", "job", "Bps"),
                Panel(
                    "Longest unread",
                    [("max(gantry_scrub_oldest_check_age_seconds{{ns}})", "since then all was read")],
                    "s",
                ),
                Panel("Open findings", [("sum by (kind) (gantry_findings_open{{ns}})", "{{kind}}")]),
            ],
        ),
        Row(
            "Journal and sweeper",
            [
                Panel("Batches not in the index", [("max(gantry_journal_entries{{ns}})", "entries")]),
                Panel("Age of the oldest", [("max(gantry_journal_oldest_age_seconds{{ns}})", "age")], "s"),
                quantiles("Passes", "gantry_sweeper_pass_seconds", "", "kind"),
                rate("Manifests, by how writing ended", "gantry_manifests_total", "", "outcome"),
            ],
        ),
        Row(
            "The object store",
            [
                rate("Operations", "gantry_store_operation_seconds_count", "", "operation, outcome"),
                Panel(
                    "Failing",
                    [
                        (
                            "(sum by (job) (rate(gantry_store_operation_seconds_count{{ns}," + _FAILED + "}"
                            "[$__rate_interval])) or 0 * sum by (job) (rate("
                            "gantry_store_operation_seconds_count{{ns}}[$__rate_interval]))) / "
                            "sum by (job) (rate(gantry_store_operation_seconds_count{{ns}}"
                            "[$__rate_interval]))",
                            "{{job}}",
                        )
                    ],
                    "percentunit",
                ),
                quantiles("Duration", "gantry_store_operation_seconds", "", "operation"),
            ],
        ),
    ],
)

DATABASE = Dashboard(
    "gantry-database",
    "Gantry: database and stream",
    "PostgreSQL and Redis as our services meet them.",
    [
        Row(
            "Index database",
            [
                Panel(
                    "Connections lent out",
                    [
                        ("sum by (job) (gantry_index_pool_connections_in_use{{ns}})", "{{job}}"),
                        ("sum by (job) (gantry_index_pool_connections_limit{{ns}})", "{{job}} at most"),
                    ],
                ),
                quantiles("Waiting for a connection", "gantry_index_pool_wait_seconds", "", "job"),
                quantiles("Commit of a chunk", "gantry_index_chunk_seconds"),
                Panel(
                    "Trouble and retries",
                    [
                        (
                            (
                                "sum by (job, reason) (rate(gantry_index_database_trouble_total{{ns}}"
                                "[$__rate_interval])) or sum(rate(gantry_index_pool_wait_seconds_count{{ns}}"
                                "[$__rate_interval])) * 0"
                            ),
                            "{{job}} {{reason}}",
                        )
                    ],
                    "ops",
                ),
            ],
        ),
        Row(
            "Streams",
            [
                Panel("Entries", [("max by (stream) (gantry_index_stream_depth{{ns}})", "{{stream}}")]),
                Panel(
                    "Age of the oldest",
                    [("max by (stream) (gantry_index_stream_oldest_age_seconds{{ns}})", "{{stream}}")],
                    "s",
                ),
                Panel("Redis answers", [("min(gantry_index_stream_reachable{{ns}})", "1: yes")]),
                rate("Published", "gantry_index_published_total", "", "job, stream"),
            ],
        ),
        Row(
            "Events",
            [
                Panel("Oldest in the outbox", [("max(gantry_outbox_oldest_age_seconds{{ns}})", "age")], "s"),
                rate("Relayed", "gantry_events_relayed_total", "", "job"),
            ],
        ),
    ],
)

SECURITY = Dashboard(
    "gantry-security",
    "Gantry: security",
    "Who comes in, who is turned away, and whether that is on record.",
    [
        Row(
            "Logins and rules",
            [
                rate("Logins", "gantry_auth_logins_total", "", "outcome"),
                Panel(
                    "Version of the rules in force",
                    [("max by (job) (gantry_policy_version{{ns}})", "{{job}}")],
                ),
                Panel(
                    "Time until the rules are too old",
                    [
                        (
                            "min by (job) (gantry_policy_good_until_timestamp_seconds{{ns}} > 0) - time()",
                            "{{job}}",
                        )
                    ],
                    "s",
                ),
                Panel(
                    "Snapshots published in an hour",
                    [("sum by (outcome) (increase(gantry_auth_snapshots_total{{ns}}[1h]))", "{{outcome}}")],
                ),
            ],
        ),
        Row(
            "Turned away",
            [
                rate(
                    "HTTP 401, 403 and 404",
                    "gantry_http_requests_total",
                    'status=~"401|403|404"',
                    "job, status",
                ),
                rate(
                    "Associations rejected",
                    "gantry_dimse_associations_ended_total",
                    'how!~"released|aborted|connection-lost|timed-out"',
                    "how",
                ),
            ],
        ),
        Row(
            "Access records",
            [
                rate("Records, by how they were kept", "gantry_access_events_total", "", "how"),
                Panel(
                    "Waiting on disk",
                    [("sum by (job) (gantry_access_spool_bytes{{ns}})", "{{job}}")],
                    "bytes",
                ),
                Panel("Lag of the audit index", [("max(gantry_auth_audit_lag_seconds{{ns}})", "lag")], "s"),
                rate("Indexed", "gantry_auth_audit_indexed_total", "", "job"),
                Panel(
                    "Found wrong",
                    [("sum by (fault) (gantry_auth_audit_problems_total{{ns}})", "{{fault}}")],
                ),
                Panel(
                    "Records of the bucket that are not ours",
                    [("sum by (kind) (gantry_journal_broken_total{{ns}})", "{{kind}}")],
                ),
            ],
        ),
    ],
)

SITE = Dashboard(
    "gantry-site",
    "Gantry: the department's view",
    "For the PACS administrator: what came in, what can be seen, what needs somebody.",
    [
        Row(
            "Today",
            [
                stat("Studies", "sum(increase(gantry_indexed_studies_total{{ns}}[1d]))"),
                stat("Images", "sum(increase(gantry_indexed_instances_total{{ns}}[1d]))"),
                stat("Devices connected", "sum(gantry_dimse_associations{{ns}})"),
                stat("Oldest not visible yet", "max(gantry_journal_oldest_age_seconds{{ns}})", "s"),
                stat("Put aside", "max(gantry_quarantined_instances{{ns}})"),
                stat("Days of room left", "min(gantry_capacity_days_left{{ns}})", "d"),
            ],
        ),
        Row(
            "What comes in",
            [
                Panel(
                    "Studies an hour, by modality",
                    [
                        (
                            "sum by (modality) (increase(gantry_indexed_studies_total{{ns}}[1h]))",
                            "{{modality}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "Studies an hour, by partition",
                    [
                        (
                            "sum by (partition) (increase(gantry_indexed_studies_total{{ns}}[1h]))",
                            "{{partition}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "Images an hour, by modality",
                    [
                        (
                            "sum by (modality) (increase(gantry_indexed_instances_total{{ns}}[1h]))",
                            "{{modality}}",
                        )
                    ],
                    stacked=True,
                ),
                quantiles("Time from sending to visible", "gantry_dimse_association_searchable_seconds"),
            ],
        ),
        Row(
            "How it feels",
            [
                quantiles("Time to the first picture", "gantry_http_first_byte_seconds", _PICTURES),
                quantiles(
                    "Searches", "gantry_http_request_seconds", 'route=~".*/(studies|series|instances)"'
                ),
            ],
        ),
        Row(
            "Devices",
            [
                Panel(
                    "Failed associations an hour, by device",
                    [
                        (
                            (
                                "sum by (title) (increase(gantry_dimse_associations_of_title_total{{ns},"
                                'how!="released"}[1h]))'
                            ),
                            "{{title}}",
                        )
                    ],
                ),
                Panel(
                    "Why",
                    [
                        (
                            "sum by (diagnosis) (increase(gantry_dimse_failures_total{{ns}}[1h]))",
                            "{{diagnosis}}",
                        )
                    ],
                ),
                Panel("Waiting for commitment", [("max(gantry_commitments_open{{ns}})", "requests")]),
                Panel("Waiting to be sent on", [("max(gantry_route_jobs_open{{ns}})", "studies")]),
            ],
        ),
    ],
)


def all_dashboards() -> list[dict[str, Any]]:
    """Return every dashboard as Grafana takes it."""
    pages = (OVERVIEW, INGEST, DICOMWEB, INDEXING, STORAGE, DATABASE, SECURITY, SITE)
    return [render(page) for page in pages]
