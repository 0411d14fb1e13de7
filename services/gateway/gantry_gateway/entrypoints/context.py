"""What every DICOMweb entry point needs of its request: partition, caller, public base."""

from __future__ import annotations

import re
from typing import cast

from gantry_access.point import ANONYMOUS
from gantry_access.policy import Action, Principal, Resource
from gantry_dicom.errors import BadRequest, GantryError, NotAllowed, NotFound
from gantry_dicom.uids import is_valid_uid
from gantry_objectstore.keys import is_partition
from starlette.requests import Request

from gantry_gateway.bootstrap import Components
from gantry_gateway.entrypoints.credentials import token_of
from gantry_gateway.entrypoints.recording import note_refusal, remember_caller

DEFAULT_PARTITION = "main"
# What may go into documents as it is: a name or address, a port, a path of plain segments.
_ROOT = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*")


def components(request: Request) -> Components:
    """Return what the composition root built."""
    return cast("Components", request.app.state.components)


def partition_of(request: Request) -> str:
    """Return the partition that the path names; raises ``NotFound`` for what can be none."""
    name = str(request.path_params.get("partition", DEFAULT_PARTITION))
    if not is_partition(name):
        raise NotFound("there is no such partition")
    return name


def uid_of(request: Request, name: str) -> str | None:
    """Return the UID of path parameter ``name``, if the route has it; raises ``BadRequest``."""
    uid = request.path_params.get(name)
    if uid is None:
        return None
    if not is_valid_uid(uid):
        raise BadRequest(f"the {name} in the path is not a UID")
    return str(uid)


def authorise(request: Request, action: Action, partition: str | None = None) -> Principal:
    """Ask the policy point; returns who the caller is. ``partition`` is that of the path unless given.

    Raises ``NotAuthenticated``, ``NotAllowed``, ``NotFound`` for a partition where the caller may
    do nothing, and ``Unavailable`` while the rules are not known.
    """
    parts = components(request)
    principal = Principal(ANONYMOUS, request.client.host if request.client else "")
    try:
        if parts.access.point.feed is not None:
            token = token_of(request, _root(request))
            principal = parts.access.point.bearer(token, principal.peer_address)
        resource = Resource(partition or partition_of(request), uid_of(request, "study"))
        decision = parts.access.point.require(principal, action, resource)
    except GantryError as error:
        note_refusal(request, parts, principal, error)
        raise
    remember_caller(request, principal, decision.rule)
    return principal


def may(request: Request, principal: Principal, action: Action, partition: str) -> bool:
    """Whether the caller, who was let through for something else, may also do this."""
    try:
        components(request).access.point.require(principal, action, Resource(partition))
    except (NotAllowed, NotFound):
        return False
    return True


def base_url(request: Request) -> str:
    """Return the public base of the partition's DICOMweb service, without a trailing slash.

    The configured base wins; else scheme and host come from Forwarded or X-Forwarded-*
    (RFC 7239), else from the request itself.
    """
    root = _root(request)
    if "partition" not in request.path_params:
        return f"{root}/dicom-web"
    return f"{root}/partitions/{partition_of(request)}/dicom-web"


def _root(request: Request) -> str:
    return components(request).settings.public_base_url.rstrip("/") or _requested_root(request)


def _requested_root(request: Request) -> str:
    scheme = request.url.scheme
    host = _named_host(request)
    prefix = ""
    forwarded = request.headers.get("forwarded")
    if forwarded:
        for pair in forwarded.split(",")[0].split(";"):
            name, _, value = pair.strip().partition("=")
            if name.lower() == "proto":
                scheme = value.strip('"')
            elif name.lower() == "host":
                host = value.strip('"')
    else:
        scheme = request.headers.get("x-forwarded-proto", scheme).split(",")[0].strip()
        host = request.headers.get("x-forwarded-host", host).split(",")[0].strip()
        prefix = request.headers.get("x-forwarded-prefix", "").rstrip("/")
    root = f"{scheme.lower()}://{host}{prefix}"
    if _ROOT.fullmatch(root) is None:
        raise BadRequest("the host named in the request is malformed")
    return root


def _named_host(request: Request) -> str:
    """Return the host that the request names, with the port that some clients leave out of it.

    RFC 9110 7.2 wants the port in Host; dicomweb-client for Python does not send it. It is known
    only where the host named is the very address that was called: behind a proxy it is another.
    """
    host = request.headers.get("host", request.url.netloc)
    address, port = request.scope.get("server") or ("", None)
    default = 443 if request.url.scheme == "https" else 80
    named = "127.0.0.1" if host == "localhost" else host
    return f"{host}:{port}" if named == address and port not in {None, default} else host
