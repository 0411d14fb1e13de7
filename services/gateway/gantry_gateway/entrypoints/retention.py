"""Retention for administrators: plans and runs, purges, and certificates of destruction.

The gateway destroys nothing: it asks the storage service, which alone has the right.
"""

from __future__ import annotations

from datetime import UTC, datetime

from gantry.access.v1.access_pb2 import ACCESS_KIND_CHANGE
from gantry.retention.v1.retention_pb2 import Certificate
from gantry_dicom.errors import BadRequest, NotFound
from gantry_dicom.uids import is_valid_uid
from gantry_index.storage_requests import RequestKind, read_request
from gantry_objectstore.certificates import name_of
from gantry_web.app import TemplateRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gantry_gateway.entrypoints.administration import (
    administrator,
    answer_of_storage,
    json_answer,
    number_in,
    reason_in,
    request_answer,
)
from gantry_gateway.entrypoints.context import components, uid_of
from gantry_gateway.entrypoints.recording import note_access

PLAN_PATH = "/admin/retention/plan"
RUN_PATH = "/admin/retention/run"
REQUEST_PATH = "/admin/retention/requests/{number}"
PURGE_PATH = "/admin/studies/{study}/purge"
RECALL_PATH = "/admin/studies/{study}/recall"
CERTIFICATES_PATH = "/admin/certificates"
CERTIFICATE_PATH = "/admin/certificates/{certificate}"
_DEFAULT_LIMIT, _MOST = 100, 1000
_MOST_REQUESTS = 2**63 - 1


async def plan(request: Request) -> Response:
    """Answer what a run of the retention policies would do now: counts, bytes, studies."""
    partition, principal = administrator(request, set())
    return await answer_of_storage(request, RequestKind.RETENTION_PLAN, partition, principal, {})


async def run(request: Request) -> Response:
    """Have the retention policies carried out now; answers what was done."""
    partition, principal = administrator(request, set())
    note_access(request, components(request), ACCESS_KIND_CHANGE, partition=partition)
    return await answer_of_storage(request, RequestKind.RETENTION_RUN, partition, principal, {})


async def show_request(request: Request) -> Response:
    """Answer what became of a request: 202 while it waits, 409 when it was refused."""
    partition, _ = administrator(request, set())
    number = number_in(request.path_params["number"], "number", _MOST_REQUESTS)
    found = await read_request(components(request).pool, partition, number)
    if found is None:
        raise NotFound("there is no such request")
    return request_answer(found)


async def purge(request: Request) -> Response:
    """Have destroyed what is deleted of a study; answers the names of the certificates.

    Only what is out of its grace, unless ``now=true``. 409 when a hold or something else forbids it.
    """
    partition, principal = administrator(request, {"reason", "now"})
    study_uid = uid_of(request, "study")
    now = request.query_params.get("now", "false")
    if now not in ("true", "false"):
        raise BadRequest("now is true or false")
    arguments = {"study": study_uid, "reason": reason_in(request), "now": now == "true"}
    note_access(request, components(request), ACCESS_KIND_CHANGE, partition=partition, study_uid=study_uid)
    return await answer_of_storage(request, RequestKind.PURGE, partition, principal, arguments)


async def recall(request: Request) -> Response:
    """Have a study brought back to the store into which everything is received; answers counts."""
    partition, principal = administrator(request, {"reason"})
    study_uid = uid_of(request, "study")
    arguments = {"study": study_uid, "reason": reason_in(request)}
    note_access(request, components(request), ACCESS_KIND_CHANGE, partition=partition, study_uid=study_uid)
    return await answer_of_storage(request, RequestKind.RECALL, partition, principal, arguments)


async def list_certificates(request: Request) -> Response:
    """Answer certificates of a partition or of a ``study``, newest first, without their objects."""
    partition, _ = administrator(request, {"study", "limit"})
    query = request.query_params
    study_uid = query.get("study")
    if study_uid is not None and not is_valid_uid(study_uid):
        raise BadRequest("study is a UID")
    limit = number_in(query.get("limit", str(_DEFAULT_LIMIT)), "limit", _MOST)
    found = await components(request).certificates.newest(partition, limit, study_uid or "")
    found.sort(key=lambda each: each.ended_at_us, reverse=True)
    return json_answer([_summary(each) for each in found])


async def show_certificate(request: Request) -> Response:
    """Answer one certificate with every object that it names."""
    partition, _ = administrator(request, set())
    certificate = await components(request).certificates.read(partition, request.path_params["certificate"])
    objects = [
        {
            "key": one.object_key,
            "series": one.series_instance_uid,
            "instance": one.sop_instance_uid,
            "sopClass": one.sop_class_uid,
            "size": one.size,
            "dataSetSha256": one.data_set_digest.hex(),
            "copies": one.copies,
        }
        for one in certificate.objects
    ]
    return json_answer({**_summary(certificate), "destroyed": objects})


def retention_routes() -> list[Route]:
    """Return the routes of retention."""
    return [
        TemplateRoute(PLAN_PATH, plan, methods=["POST"]),
        TemplateRoute(RUN_PATH, run, methods=["POST"]),
        TemplateRoute(REQUEST_PATH, show_request, methods=["GET"]),
        TemplateRoute(PURGE_PATH, purge, methods=["POST"]),
        TemplateRoute(RECALL_PATH, recall, methods=["POST"]),
        TemplateRoute(CERTIFICATES_PATH, list_certificates, methods=["GET"]),
        TemplateRoute(CERTIFICATE_PATH, show_certificate, methods=["GET"]),
    ]


def _summary(certificate: Certificate) -> dict[str, object]:
    return {
        "certificate": name_of(certificate),
        "partition": certificate.partition,
        "study": certificate.study_instance_uid,
        "policy": certificate.policy or None,
        "deleted": {
            "revision": certificate.deletion_revision,
            "at": _time(certificate.deleted_at_us),
            "by": certificate.deleted_by,
            "reason": certificate.deletion_reason,
        },
        "purged": {
            "revision": certificate.purge_revision,
            "begun": _time(certificate.begun_at_us),
            "ended": _time(certificate.ended_at_us),
            "by": certificate.ordered_by,
            "reason": certificate.order_reason,
        },
        "objects": len(certificate.objects),
        "bytes": sum(one.size for one in certificate.objects),
        "stores": list(certificate.stores),
        "remaining": {
            "inBackupsUntil": _time(certificate.backups_until_us),
            "backups": list(certificate.backups),
            "records": ["manifests", "amendments", "access records", "this certificate"],
        },
    }


def _time(microseconds: int) -> str | None:
    if not microseconds:
        return None
    return datetime.fromtimestamp(microseconds / 1e6, UTC).isoformat(timespec="seconds")
