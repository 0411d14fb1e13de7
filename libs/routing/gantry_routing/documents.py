"""Jobs as people and programs read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gantry.routing.v1.routing_pb2 import JobState, RouteJob


def job_document(job: RouteJob) -> dict[str, Any]:
    """Return what an administrator sees of a job; times in ISO 8601."""
    completion = job.completion
    return {
        "job": job.job,
        "rule": job.rule,
        "partition": job.partition,
        "study": job.study_instance_uid,
        "series": job.series_instance_uid or None,
        "destination": job.destination,
        "state": JobState.Name(job.state).removeprefix("JOB_STATE_").lower().replace("_", "-"),
        "instances": job.instances,
        "sent": len(job.sent_sop_instance_uids),
        "failed": list(job.failed_sop_instance_uids),
        "attempts": job.attempts,
        "trouble": job.last_trouble or None,
        "created": _time(job.created_at_us),
        "changed": _time(job.changed_at_us),
        "next_attempt": _time(job.next_attempt_at_us),
        "complete_because": {
            "last_received": _time(completion.last_received_at_us),
            "quiet_seconds": completion.quiet_us / 1e6,
            "instances": completion.instances,
            "sources": list(completion.sources),
            "associations_released": completion.associations_released,
        },
    }


def _time(microseconds: int) -> str | None:
    return datetime.fromtimestamp(microseconds / 1e6, UTC).isoformat() if microseconds else None
