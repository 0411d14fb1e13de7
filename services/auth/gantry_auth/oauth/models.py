"""Clients, codes and refresh tokens as Authlib's grants ask them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, ClientMixin, TokenMixin

from gantry_auth.accounts import Client
from gantry_auth.grants import MAX_SCOPES, is_scope, scopes_of
from gantry_auth.machine_secrets import matches
from gantry_auth.sessions import Session


class OAuthClient(ClientMixin):  # type: ignore[misc]
    """A registered client."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def get_client_id(self) -> str:
        """Return its id."""
        return self.client.client_id

    def get_default_redirect_uri(self) -> None:
        """Return none: a request says where to (RFC 9700 2.1)."""
        return

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """Return the scope if all of it can be asked for; whether it is granted is the user's grants."""
        scopes = scopes_of(scope)
        return " ".join(scopes) if len(scopes) <= MAX_SCOPES and all(map(is_scope, scopes)) else None

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Whether the URI is registered, letter for letter (RFC 9700 4.1.3)."""
        return redirect_uri in self.client.redirect_uris

    def check_client_secret(self, client_secret: str) -> bool:
        """Whether the secret is the client's."""
        kept = self.client.secret_digest
        return kept is not None and matches(client_secret, kept)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:  # noqa: ARG002
        """Whether the client may authenticate so: a public one not at all, the others always."""
        return (method == "none") == (self.client.secret_digest is None)

    def check_response_type(self, response_type: str) -> bool:
        """Whether the client may ask for a code."""
        return response_type == "code" and "authorization_code" in self.client.grant_types

    def check_grant_type(self, grant_type: str) -> bool:
        """Whether the client may use the grant."""
        return grant_type in self.client.grant_types


@dataclass(slots=True)
class Code(AuthorizationCodeMixin):  # type: ignore[misc]
    """An authorization code that is good; ``session_id`` is set once something came of it."""

    digest: bytes
    client_id: str
    subject: str
    redirect_uri: str
    scope: str
    nonce: str
    code_challenge: str
    authenticated_at: datetime
    expires_at: datetime
    session_id: uuid.UUID | None
    used_at: datetime | None

    # Only this method is ever stored.
    code_challenge_method = "S256"

    def get_redirect_uri(self) -> str:
        """Return where the code was sent."""
        return self.redirect_uri

    def get_scope(self) -> str:
        """Return what was asked for."""
        return self.scope

    def get_nonce(self) -> str:
        """Return the nonce of the ID token."""
        return self.nonce

    def get_auth_time(self) -> int:
        """Return when the user logged in."""
        return int(self.authenticated_at.timestamp())

    def get_acr(self) -> None:
        """Return no authentication context class."""
        return

    def get_amr(self) -> list[str]:
        """Return how the user was authenticated (RFC 8176)."""
        return ["pwd"]


@dataclass(frozen=True, slots=True)
class RefreshCredential(TokenMixin):  # type: ignore[misc]
    """A refresh token that is good."""

    session: Session
    token: str

    def check_client(self, client: OAuthClient) -> bool:
        """Whether the token was issued to ``client``."""
        return self.session.client_id == client.get_client_id()

    def get_scope(self) -> str:
        """Return what was asked for at the beginning."""
        return self.session.scope


@dataclass(frozen=True, slots=True)
class Revocable(TokenMixin):  # type: ignore[misc]
    """A token that its client wants revoked: a session's, or one access token."""

    client_id: str
    session_id: uuid.UUID | None = None
    token_id: str = ""
    expires_at: datetime | None = None

    def check_client(self, client: OAuthClient) -> bool:
        """Whether the token was issued to ``client``."""
        return self.client_id == client.get_client_id()
