"""Users, clients and application entities, for administrators with a bearer token.

The session cookie is no good here: what a browser sends by itself must not change who may do what.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TypeVar

import orjson
from gantry.access.v1.access_pb2 import ACCESS_KIND_CHANGE
from gantry_access.policy import Grant
from gantry_access.tokens import Bearer
from gantry_dicom.errors import BadRequest
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from gantry_auth import accounts, federated_subjects, passwords, registry
from gantry_auth.accounts import CLIENT_PREFIX, Listed
from gantry_auth.adapters.database import Connection
from gantry_auth.entrypoints import web
from gantry_auth.entrypoints.callers import require_administrator
from gantry_auth.grants import parse_grant
from gantry_auth.machine_secrets import new_password, new_secret
from gantry_auth.registry import Entity
from gantry_auth.service import Service

M = TypeVar("M", bound=BaseModel)
Change = Callable[[Connection], object]

_CREATED = 201


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _NewUser(_Body):
    name: str
    grants: list[str] = Field(default_factory=list, max_length=200)
    # Generated, and said once, when there is none.
    password: str | None = None


class _Password(_Body):
    password: str | None = None
    # Also lets a revoked user in again.
    reinstate: bool = False


class _Grants(_Body):
    grants: list[str] = Field(max_length=200)


class _NewClient(_Body):
    client_id: str
    grants: list[str] = Field(default_factory=list, max_length=200)
    grant_types: list[str] = Field(default=["client_credentials"])
    redirect_uris: list[str] = Field(default_factory=list, max_length=20)
    public: bool = False


class _NewEntity(_Body):
    ae_title: str
    partition: str = "main"
    may_store: bool = False
    may_find: bool = False
    may_move: bool = False
    source_addresses: list[str] = Field(default_factory=list, max_length=100)
    host: str = ""
    port: int = 0
    certificates: list[str] = Field(default_factory=list, max_length=100)
    maximum_associations: int = 0
    associations_per_minute: int = 0


async def list_users(request: Request) -> Response:
    """List users."""
    return await _listed(request, accounts.list_users, prefix="")


async def list_clients(request: Request) -> Response:
    """List service clients and applications."""
    return await _listed(request, accounts.list_clients, prefix=CLIENT_PREFIX)


async def add_user(request: Request) -> Response:
    """Add a user; the answer holds the password when it was generated."""
    body = await _body(request, _NewUser)
    service = web.service_of(request)
    grants = _grants(body.grants)

    def work() -> dict[str, object]:
        caller = require_administrator(service, request)
        password, kept = _password(body.password, body.name)
        _change(
            service,
            request,
            caller,
            f"user add {body.name}",
            lambda connection: accounts.add_user(connection, body.name, kept, grants, service.clock()),
        )
        return _once({"name": body.name}, "password", None if body.password else password)

    return _json(await web.in_thread(work), _CREATED)


async def reset_password(request: Request) -> Response:
    """Give a user another password; what was open with the old one is closed."""
    body = await _body(request, _Password)
    service, name = web.service_of(request), request.path_params["name"]

    def work() -> dict[str, object]:
        caller = require_administrator(service, request)
        password, kept = _password(body.password, name)

        def change(connection: Connection) -> None:
            accounts.set_password(connection, name, kept, service.clock())
            _close(service, connection, name, "password")
            if body.reinstate:
                accounts.reinstate(connection, name)

        _change(service, request, caller, f"user password {name}", change)
        return _once({"name": name}, "password", None if body.password else password)

    return _json(await web.in_thread(work))


async def set_grants(request: Request) -> Response:
    """Replace the grants of a user, or of a client; tokens with the old ones are revoked."""
    body = await _body(request, _Grants)
    service, subject = web.service_of(request), _subject(request)
    grants = _grants(body.grants)

    def change(connection: Connection) -> None:
        accounts.set_grants(connection, subject, grants)
        _close(service, connection, subject, "grants")

    return await _changed(request, f"grants {subject}", change)


async def revoke_subject(request: Request) -> Response:
    """Revoke a user, a client or somebody of another issuer, with every token and session."""
    service, subject = web.service_of(request), _subject(request)

    def change(connection: Connection) -> None:
        if federated_subjects.is_federated(subject):
            federated_subjects.bar(connection, subject, service.clock())
            return
        accounts.revoke(connection, subject, service.clock())
        _close(service, connection, subject, "revoked")

    return await _changed(request, f"revoke {subject}", change)


async def reinstate_subject(request: Request) -> Response:
    """Let a revoked user or somebody of another issuer in again; what was closed stays closed."""
    subject = _subject(request)

    def change(connection: Connection) -> None:
        if federated_subjects.is_federated(subject):
            federated_subjects.let_in(connection, subject)
        else:
            accounts.reinstate(connection, subject)

    return await _changed(request, f"reinstate {subject}", change)


async def list_barred(request: Request) -> Response:
    """List whom of other issuers is let in no more."""
    service = web.service_of(request)

    def work() -> list[str]:
        require_administrator(service, request)
        with service.database.transaction() as connection:
            return federated_subjects.list_barred(connection)

    return _json(await web.in_thread(work))


async def add_client(request: Request) -> Response:
    """Add a client; the answer holds its secret, which is said only here."""
    body = await _body(request, _NewClient)
    service = web.service_of(request)
    grants = _grants(body.grants)

    def work() -> dict[str, object]:
        caller = require_administrator(service, request)
        secret = None if body.public else new_secret()
        _change(
            service,
            request,
            caller,
            f"client add {body.client_id}",
            lambda connection: accounts.add_client(
                connection,
                body.client_id,
                secret=secret,
                grant_types=body.grant_types,
                redirect_uris=body.redirect_uris,
                grants=grants,
                now=service.clock(),
            ),
        )
        return _once({"client_id": body.client_id}, "client_secret", secret)

    return _json(await web.in_thread(work), _CREATED)


async def list_entities(request: Request) -> Response:
    """List application entities."""
    service = web.service_of(request)

    def work() -> list[dict[str, object]]:
        require_administrator(service, request)
        with service.database.transaction() as connection:
            return [asdict(entity) for entity in registry.list_all(connection)]

    return _json(await web.in_thread(work))


async def add_entity(request: Request) -> Response:
    """Register an application entity."""
    body = await _body(request, _NewEntity)
    entity = Entity(**body.model_dump())
    operation = f"ae add {entity.ae_title}@{entity.partition}"
    return await _changed(request, operation, lambda connection: registry.add(connection, entity), _CREATED)


async def remove_entity(request: Request) -> Response:
    """Take an application entity out, of one partition or of all."""
    title, partition = request.path_params["title"], request.query_params.get("partition")
    return await _changed(
        request, f"ae revoke {title}", lambda connection: registry.remove(connection, title, partition)
    )


async def _listed(request: Request, read: Callable[[Connection], list[Listed]], *, prefix: str) -> Response:
    service = web.service_of(request)

    def work() -> list[dict[str, object]]:
        require_administrator(service, request)
        with service.database.transaction() as connection:
            found = read(connection)
        return [asdict(item) | {"name": item.name.removeprefix(prefix)} for item in found]

    return _json(await web.in_thread(work))


async def _changed(request: Request, operation: str, change: Change, status: int = 204) -> Response:
    service = web.service_of(request)

    def work() -> None:
        _change(service, request, require_administrator(service, request), operation, change)

    await web.in_thread(work)
    return Response(status_code=status)


def _change(service: Service, request: Request, caller: Bearer, operation: str, change: Change) -> None:
    """Make a change of rights, recorded before it counts.

    ``operation`` names whom it is about: of one that comes twice in a window a single record is kept.
    """
    with service.database.transaction() as connection:
        change(connection)
        service.record(
            caller.name,
            web.address_of(request),
            operation=operation,
            outcome="allowed",
            kind=ACCESS_KIND_CHANGE,
        )


def _close(service: Service, connection: Connection, subject: str, reason: str) -> None:
    accounts.close_all(connection, subject, reason=reason, now=service.clock(), token_life=service.token_life)


def _subject(request: Request) -> str:
    if "client_id" in request.path_params:
        return f"{CLIENT_PREFIX}{request.path_params['client_id']}"
    name: str = request.path_params["name"]
    # A client is revoked as one, under its own path.
    return "" if name.startswith(CLIENT_PREFIX) else name


def _password(chosen: str | None, name: str) -> tuple[str, str]:
    password = new_password() if chosen is None else passwords.check_new(chosen, name)
    return password, passwords.hash_password(password)


def _once(document: dict[str, object], name: str, secret: str | None) -> dict[str, object]:
    """Add a secret that we made; the only time that it is said."""
    return document if secret is None else document | {name: secret}


def _grants(texts: list[str]) -> list[Grant]:
    return [parse_grant(text) for text in texts]


async def _body(request: Request, kind: type[M]) -> M:
    try:
        return kind.model_validate_json(await web.body_of(request) or b"{}")
    except ValidationError as error:
        # Places only: values may be passwords.
        places = sorted({".".join(map(str, item["loc"])) or "body" for item in error.errors()})
        raise BadRequest(f"the body is not as it should be: {', '.join(places)[:200]}") from None


def _json(document: object, status: int = 200) -> Response:
    return Response(orjson.dumps(document), status, media_type="application/json")
