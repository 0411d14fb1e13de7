"""What the OpenAPI document says of the entry points for administrators, by path and method."""

from __future__ import annotations

from collections.abc import Mapping

from gantry_gateway.entrypoints import (
    amendments,
    capacity,
    conflicts,
    dimse_failures,
    findings,
    holds,
    quarantine,
    retention,
    route_jobs,
)
from gantry_gateway.entrypoints.openapi import Operation

_JSON = ("application/json",)


def _operation(
    summary: str, *parameters: str, status: int = 200, later: bool = False, takes: bool = False
) -> Operation:
    return Operation(
        summary,
        _JSON,
        parameters,
        _JSON if takes else (),
        kind="administer",
        statuses=(status, *((202,) if later else ())),
    )


ADMINISTRATION: Mapping[str, Mapping[str, Operation]] = {
    amendments.PATH: {
        "get": _operation("What was decided about a study", "partition"),
        "post": _operation("Correct, move, reject or hide", "partition", later=True, takes=True),
    },
    amendments.UNDO_PATH: {
        "post": _operation("Undo a decision about a study", "partition", "revision", "reason", later=True)
    },
    amendments.PATIENT_PATH: {
        "get": _operation("What was decided about a patient", "partition", "patient", "issuer"),
        "post": _operation("Correct or merge a patient", "partition", later=True, takes=True),
    },
    amendments.PATIENT_UNDO_PATH: {
        "post": _operation("Undo a decision about a patient", "partition", later=True, takes=True)
    },
    amendments.RESTORE_PATH: {
        "post": _operation("Undo deletions of a study", "partition", "revision", "reason", later=True)
    },
    capacity.PATH: {"get": _operation("How much is stored, and what room is left", "partition", "days")},
    conflicts.PATH: {
        "get": _operation("Instances in conflict", "partition", "study", "closed", "limit", "before")
    },
    conflicts.SHOW_PATH: {"get": _operation("What came under one UID, side by side", "partition")},
    findings.PATH: {"get": _operation("Findings", "partition", "kind", "study", "state", "limit", "before")},
    findings.FINDING_PATH: {"get": _operation("One finding with its evidence", "partition")},
    findings.CLOSE_PATH: {"post": _operation("Close a finding", "partition", "reason")},
    findings.REPAIR_PATH: {"post": _operation("Mend what a finding is about", "partition", later=True)},
    findings.RECONCILE_PATH: {
        "post": _operation(
            "A study in bucket, manifests and index", "partition", "digests", "repair", "since", later=True
        )
    },
    findings.SCRUB_PATH: {
        "post": _operation("Read again what was received since a day", "partition", "since", later=True)
    },
    quarantine.PATH: {"get": _operation("What is in quarantine", "partition", "study", "limit", "before")},
    quarantine.SHOW_PATH: {"get": _operation("One object in quarantine", "partition")},
    quarantine.RETRY_PATH: {"post": _operation("Have an object indexed again", "partition", later=True)},
    quarantine.REJECT_PATH: {
        "post": _operation("Hide an object for good", "partition", "reason", later=True)
    },
    dimse_failures.PATH: {"get": _operation("Why associations failed", "ae", "diagnosis", "since", "limit")},
    holds.PATH: {
        "get": _operation("Legal holds", "partition", "all"),
        "post": _operation("Place a legal hold", "partition", status=201, takes=True),
    },
    holds.LIFT_PATH: {"post": _operation("Lift a legal hold", "partition", "reason")},
    retention.PLAN_PATH: {
        "post": _operation("What a run of the retention policies would do", "partition", later=True)
    },
    retention.RUN_PATH: {"post": _operation("Carry out the retention policies", "partition", later=True)},
    retention.REQUEST_PATH: {
        "get": _operation("What became of a request to the storage service", "partition", later=True)
    },
    retention.PURGE_PATH: {
        "post": _operation("Destroy what is deleted of a study", "partition", "reason", "now", later=True)
    },
    retention.RECALL_PATH: {
        "post": _operation("Bring a study back from a cold store", "partition", "reason", later=True)
    },
    retention.CERTIFICATES_PATH: {
        "get": _operation("Certificates of destruction", "partition", "study", "limit")
    },
    retention.CERTIFICATE_PATH: {"get": _operation("One certificate of destruction", "partition")},
    route_jobs.PATH: {"get": _operation("What was sent on, and what waits", "partition", "limit")},
}
