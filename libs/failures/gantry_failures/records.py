"""From an association that has ended to the record that is kept of it, and to what is shown."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from gantry.failures.v1.failures_pb2 import AssociationFailure, OfferedContext, StatusCount
from gantry_dimse.negotiation import ContextResult

from gantry_failures.diagnoses import ADVICE, diagnose
from gantry_failures.evidence import Evidence

Json = dict[str, Any]


def failure_of(evidence: Evidence, partition: str = "") -> AssociationFailure:
    """Return the record of an association that failed."""
    facts = evidence.facts
    ended_at = facts.ended_at or datetime.now(UTC)
    at = int(ended_at.timestamp() * 1_000_000)
    failure = AssociationFailure(
        occurred_at_us=at,
        last_at_us=at,
        count=1,
        diagnosis=diagnose(evidence).name,
        detail=evidence.detail,
        peer_address=facts.peer_address,
        peer_port=facts.peer_port,
        local_port=facts.local_port,
        calling_ae_title=facts.calling_ae_title,
        called_ae_title=facts.called_ae_title,
        partition=partition,
        end=facts.end.kind.value if facts.end else "",
        ended_by_peer=evidence.by_peer,
        contexts=_contexts(evidence),
        statuses=[
            StatusCount(command_field=field, status=status, count=count)
            for (field, status), count in sorted(facts.statuses.items())
        ],
        bytes_received=facts.bytes_received,
        bytes_sent=facts.bytes_sent,
        seconds=max(0.0, (ended_at - facts.connected_at).total_seconds()),
    )
    if facts.tls is not None:
        failure.tls_version = facts.tls.version
        if facts.tls.peer_certificate:
            failure.certificate_sha256 = hashlib.sha256(facts.tls.peer_certificate).hexdigest()
    if facts.reject is not None:
        failure.reject_result = facts.reject.result
        failure.reject_source = facts.reject.source
        failure.reject_reason = facts.reject.reason
    if facts.end is not None and facts.end.source is not None:
        failure.abort_source = facts.end.source
        failure.abort_reason = facts.end.reason or 0
    if facts.request is not None:
        user = facts.request.user
        failure.implementation_class_uid = user.implementation_class_uid
        failure.implementation_version_name = user.implementation_version_name
        failure.maximum_length = user.maximum_length
    return failure


def failure_document(failure: AssociationFailure) -> Json:
    """Return a record as JSON, with its advice."""
    document: Json = {
        "occurred_at": _time(failure.occurred_at_us),
        "last_at": _time(failure.last_at_us),
        "count": failure.count,
        "diagnosis": failure.diagnosis,
        "advice": ADVICE.get(failure.diagnosis, ""),
        "detail": failure.detail,
        "peer_address": failure.peer_address,
        "peer_port": failure.peer_port,
        "local_port": failure.local_port,
        "calling_ae_title": failure.calling_ae_title,
        "called_ae_title": failure.called_ae_title,
        "partition": failure.partition,
        "end": failure.end,
        "ended_by_peer": failure.ended_by_peer,
        "tls_version": failure.tls_version,
        "certificate_sha256": failure.certificate_sha256,
        "reject": None,
        "abort": None,
        "implementation_class_uid": failure.implementation_class_uid,
        "implementation_version_name": failure.implementation_version_name,
        "maximum_length": failure.maximum_length,
        "contexts": [
            {
                "abstract_syntax": context.abstract_syntax,
                "transfer_syntaxes": list(context.transfer_syntaxes),
                "accepted_transfer_syntax": context.accepted_transfer_syntax,
                "result": context.result if context.HasField("result") else None,
            }
            for context in failure.contexts
        ],
        "statuses": [
            {"command_field": f"{one.command_field:04X}", "status": f"{one.status:04X}", "count": one.count}
            for one in failure.statuses
        ],
        "bytes_received": failure.bytes_received,
        "bytes_sent": failure.bytes_sent,
        "seconds": round(failure.seconds, 3),
    }
    if failure.HasField("reject_result"):
        document["reject"] = {
            "result": failure.reject_result,
            "source": failure.reject_source,
            "reason": failure.reject_reason,
        }
    if failure.HasField("abort_source"):
        document["abort"] = {"source": failure.abort_source, "reason": failure.abort_reason}
    return document


def _contexts(evidence: Evidence) -> list[OfferedContext]:
    request, accept = evidence.facts.request, evidence.facts.accept
    if request is None:
        return []
    answers = {answer.context_id: answer for answer in accept.contexts} if accept else {}
    contexts = []
    for context in request.contexts:
        offered = OfferedContext(
            abstract_syntax=context.abstract_syntax, transfer_syntaxes=context.transfer_syntaxes
        )
        answer = answers.get(context.context_id)
        if answer is not None:
            offered.result = answer.result
            if answer.result == ContextResult.ACCEPTANCE:
                offered.accepted_transfer_syntax = answer.transfer_syntax
        contexts.append(offered)
    return contexts


def _time(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC).isoformat(timespec="milliseconds")
