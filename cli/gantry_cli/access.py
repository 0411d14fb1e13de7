"""Who the command is to an archive with login: a token, a service account, or the local stack's own.

A stack of ``gantry up`` leaves the secret of the account ``operator`` (every right) in its state
folder. With it the command makes the other accounts that it uses itself, with rights for their work.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from gantry_dicom.errors import BadRequest, Conflict, Unavailable
from gantry_embedded.files import private_folder, write_private

from gantry_cli.exits import OK
from gantry_cli.lifecycle import facts_of
from gantry_cli.options import CLIENTS_FOLDER, OPERATOR, StackFacts
from gantry_cli.problems import error_of
from gantry_cli.terminal import say
from gantry_cli.tokens import ANSWER_SECONDS, BearerAuth, ClientCredentials, fetch_token, read_secret

TOKEN_VARIABLE = "GANTRY_TOKEN"  # noqa: S105 - a variable's name
SCRIPTS, SCRIPTS_GRANTS = "scripts", ("service@*",)


@dataclass(frozen=True, slots=True)
class AccessOptions:
    """What the user says of itself; everything empty means the stack of ``state``."""

    state: Path
    token: str = ""
    issuer: str = ""
    client: str = ""
    secret_file: Path | None = None

    @property
    def given_token(self) -> str:
        """The token named on the command line or in the environment, empty if there is none."""
        return self.token or os.environ.get(TOKEN_VARIABLE, "")


class Admin:
    """The administration routes of an issuer."""

    def __init__(self, issuer: str, auth: BearerAuth) -> None:
        self._http = httpx.Client(base_url=f"{issuer}/admin", auth=auth, timeout=ANSWER_SECONDS)
        self._issuer = issuer

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: dict[str, str] | None = None,
    ) -> Any:  # noqa: ANN401 - a JSON value
        """Return what a route answers. Raises the ``GantryError`` that the answer stands for."""
        try:
            answer = self._http.request(method, path, json=body, params=query)
        except httpx.HTTPError as error:
            raise Unavailable(f"{self._issuer} does not answer: {error}") from error
        if answer.status_code >= httpx.codes.BAD_REQUEST:
            raise error_of(answer)
        return answer.json() if answer.content else None


def issuer_of(options: AccessOptions) -> str:
    """Return the issuer that was named, or the local stack's.

    Raises ``Unavailable`` when none runs, ``BadRequest`` when it has no login.
    """
    if options.issuer:
        return options.issuer.rstrip("/")
    return _issuer_of_stack(facts_of(options.state))


def administration(options: AccessOptions) -> Admin:
    """Return the administration as the user named, or as the local stack's ``operator``.

    Raises ``Unavailable``, ``BadRequest``.
    """
    return Admin(issuer_of(options), BearerAuth(_chosen(options) or _operator(options.state)))


def script_access(options: AccessOptions, account: str = SCRIPTS) -> ClientCredentials | str:
    """Return what a program shows to store, search and read.

    Without a word from the user it is an account of the local stack for just that, made when it is
    first used. Raises ``Unavailable``, ``BadRequest``.
    """
    return _chosen(options) or local_account(options.state, account, SCRIPTS_GRANTS)


def dicomweb_base(options: AccessOptions, url: str | None) -> tuple[str, BearerAuth | None]:
    """Return the DICOMweb base at ``url``, or of the running stack, and what to show there.

    Another archive is shown what the user named and nothing else. Raises what
    ``script_access`` does.
    """
    if url is not None:
        named = options.given_token or options.client
        return url.rstrip("/"), BearerAuth(script_access(options)) if named else None
    facts = facts_of(options.state)
    return facts.dicomweb_url, BearerAuth(script_access(options)) if facts.issuer else None


def gateway_root(options: AccessOptions, url: str | None) -> tuple[str, BearerAuth | None]:
    """Return the root of the gateway at ``url``, or of the running stack, and what an administrator shows.

    Raises ``Unavailable``, ``BadRequest``.
    """
    chosen = _chosen(options)
    if url is not None:
        return url.rstrip("/"), BearerAuth(chosen) if chosen else None
    facts = facts_of(options.state)
    root = facts.dicomweb_url.removesuffix("/dicom-web")
    return root, BearerAuth(chosen or _operator(options.state)) if facts.issuer else None


def print_token(options: AccessOptions, scope: str) -> int:
    """Print an access token and nothing else; raises what ``script_access`` and ``fetch_token`` do."""
    source = script_access(options)
    say(source if isinstance(source, str) else fetch_token(source, scope).text)
    return OK


def local_account(state: Path, client_id: str, grants: tuple[str, ...]) -> ClientCredentials:
    """Return an account of the local stack by its secret in the state folder, made if it is not there.

    Raises ``Unavailable``, ``BadRequest``, ``Conflict`` when its secret has been lost.
    """
    issuer = _issuer_of_stack(facts_of(state))
    file = private_folder(state / CLIENTS_FOLDER) / client_id
    if not file.exists():
        admin = Admin(issuer, BearerAuth(_operator(state)))
        try:
            made = admin.ask("POST", "/clients", {"client_id": client_id, "grants": list(grants)})
        except Conflict:
            raise Conflict(f"the secret of the client {client_id} is not in {file}") from None
        write_private(file, made["client_secret"])
    return ClientCredentials(issuer, client_id, read_secret(file))


def _chosen(options: AccessOptions) -> ClientCredentials | str | None:
    if options.given_token:
        return options.given_token
    if options.client:
        file = options.secret_file or options.state / CLIENTS_FOLDER / options.client
        return ClientCredentials(issuer_of(options), options.client, read_secret(file))
    if options.issuer or options.secret_file:
        raise BadRequest(f"name a token (--token, {TOKEN_VARIABLE}), or --client with --secret-file")
    return None


def _operator(state: Path) -> ClientCredentials:
    issuer = _issuer_of_stack(facts_of(state))
    return ClientCredentials(issuer, OPERATOR, read_secret(state / CLIENTS_FOLDER / OPERATOR))


def _issuer_of_stack(facts: StackFacts) -> str:
    if not facts.issuer:
        raise BadRequest("this stack has no login: nobody needs an account or a token")
    return facts.issuer
