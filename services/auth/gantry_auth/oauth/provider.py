"""The authorization server of one request: Authlib's, on one connection and in one transaction."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from authlib.oauth2.rfc6749 import AuthorizationServer, InvalidScopeError
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant, RefreshTokenGrant
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc9207 import IssuerParameter
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey

from gantry_auth import accounts, keys, revocations, sessions
from gantry_auth.adapters.database import Connection
from gantry_auth.grants import MAX_SCOPES, NotGranted, grant_text, is_scope, scopes_of
from gantry_auth.machine_secrets import digest
from gantry_auth.oauth.code_grant import AUTHENTICATION_METHODS, CodeGrant, IdToken, S256Only
from gantry_auth.oauth.models import OAuthClient, RefreshCredential, Revocable
from gantry_auth.oauth.requests import Answer, Request
from gantry_auth.service import Service
from gantry_auth.sessions import Refresh, Session
from gantry_auth.tokens import AccessToken


class Provider(AuthorizationServer):  # type: ignore[misc]
    """Grants, refresh and revocation for clients; made for one request."""

    def __init__(self, service: Service, connection: Connection) -> None:
        super().__init__()
        self.service = service
        self.connection = connection
        # Who has been given a token by a login of its own, not by a refresh.
        self.issued_to: str | None = None
        self.register_grant(CodeGrant, [S256Only(), IdToken(service)])
        self.register_grant(RefreshGrant)
        self.register_grant(ServiceGrant)
        self.register_endpoint(Revocation)
        self.register_extension(_IssuerParameter(service.settings.issuer))

    # -- what Authlib asks of its surroundings

    def query_client(self, client_id: str) -> OAuthClient | None:
        """Return the client unless it is unknown or revoked."""
        client = accounts.find_client(self.connection, client_id)
        return OAuthClient(client) if client else None

    def save_token(self, token: dict[str, Any], request: Request) -> None:
        """Do nothing: what has to be kept is kept where a token is made."""

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Do nothing: nobody listens."""

    def create_oauth2_request(self, request: Request) -> Request:
        """Return the request, which has the right form already."""
        return request

    def handle_response(self, status: int, body: Any, headers: list[tuple[str, str]]) -> Answer:  # noqa: ANN401
        """Return what is to be answered."""
        return Answer(status, dict(body) if isinstance(body, list) else body, list(headers))

    def validate_requested_scope(self, scope: str | None) -> None:
        """Refuse a scope that nobody can have."""
        scopes = scopes_of(scope)
        if len(scopes) > MAX_SCOPES or not all(map(is_scope, scopes)):
            raise InvalidScopeError()

    # -- for the grants

    def tokens_of(
        self, session: Session, *, scope: str | None = None, with_refresh_token: bool
    ) -> dict[str, Any]:
        """Return the token answer of a session; ``scope`` asks for less than the session has."""
        asked = session.scope if scope is None else scope
        token = _granted(lambda: self.service.issue_for(self.connection, session, asked))
        answer = self._describe(token, asked)
        if with_refresh_token:
            answer["refresh_token"] = sessions.new_refresh_token(
                self.connection, session, now=self.service.clock(), times=self.service.session_times
            )
        return answer

    def tokens_of_client(self, client: OAuthClient, scope: str | None) -> dict[str, Any]:
        """Return the token answer of a client that acts for itself."""
        known = client.client
        token = _granted(lambda: self.service.issue(self.connection, known.subject, known.client_id, scope))
        self.issued_to = known.subject
        return self._describe(token, scope)

    def _describe(self, token: AccessToken, asked: str | None) -> dict[str, Any]:
        plain = [scope for scope in scopes_of(asked) if "@" not in scope]
        return {
            "token_type": "Bearer",
            "access_token": token.text,
            "expires_in": self.service.settings.access_token_seconds,
            # What came of the scope that was asked for (RFC 6749 3.3).
            "scope": " ".join([*plain, *(grant_text(grant) for grant in sorted(token.grants))]),
        }


class ServiceGrant(ClientCredentialsGrant):  # type: ignore[misc]
    """Client credentials (RFC 6749 4.4)."""

    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]  # noqa: RUF012

    def generate_token(self, **_: object) -> dict[str, Any]:
        """Return a token for the client itself."""
        return self.server.tokens_of_client(self.request.client, self.request.payload.scope)  # type: ignore[no-any-return]


class RefreshGrant(RefreshTokenGrant):  # type: ignore[misc]
    """Refresh tokens that are good once (RFC 9700 4.14.2)."""

    TOKEN_ENDPOINT_AUTH_METHODS = AUTHENTICATION_METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> RefreshCredential | None:
        """Return the token if it is good; one that was used already ends its session."""
        state, session = sessions.look_at(
            self.server.connection, refresh_token, now=self.server.service.clock()
        )
        if session is None or state is not Refresh.GOOD:
            return None
        return RefreshCredential(session, refresh_token)

    def authenticate_user(self, credential: RefreshCredential) -> str | None:
        """Return the session's user unless it is revoked."""
        subject = credential.session.subject
        return subject if accounts.is_active(self.server.connection, subject) else None

    def issue_token(self, user: str, credential: RefreshCredential) -> dict[str, Any]:  # noqa: ARG002
        """Return the session's next tokens."""
        return self.server.tokens_of(  # type: ignore[no-any-return]
            credential.session, scope=self.request.payload.scope or None, with_refresh_token=True
        )

    def revoke_old_credential(self, credential: RefreshCredential) -> None:
        """Use the old token up."""
        sessions.use_up(self.server.connection, credential.token, now=self.server.service.clock())


class Revocation(RevocationEndpoint):  # type: ignore[misc]
    """Revocation by the client a token was issued to (RFC 7009)."""

    CLIENT_AUTH_METHODS = AUTHENTICATION_METHODS

    def query_token(self, token_string: str, token_type_hint: str | None) -> Revocable | None:  # noqa: ARG002
        """Return what the token is, whatever the hint says; ``None`` for what is no good anyway."""
        row = self.server.connection.execute(
            "SELECT s.session_id, s.client_id FROM auth.refresh_tokens t"
            " JOIN auth.sessions s USING (session_id) WHERE t.digest = %s",
            [digest(token_string)],
        ).fetchone()
        if row is not None:
            return Revocable(row[1] or "", session_id=row[0])
        return self._access_token(token_string)

    def revoke_token(self, token: Revocable, request: Request) -> None:  # noqa: ARG002
        """End the session of a refresh token; revoke an access token alone."""
        now, connection = self.server.service.clock(), self.server.connection
        if token.session_id is not None:
            sessions.end(connection, token.session_id, reason="revoked", now=now)
        elif token.expires_at is not None:
            after = token.expires_at + sessions.LEEWAY
            revocations.revoke_token(connection, token.token_id, now=now, forget_after=after)

    def _access_token(self, text: str) -> Revocable | None:
        service = self.server.service
        for key in keys.load(self.server.connection):
            members = json.loads(key.public_jwk)
            public = ECKey.import_key(members) if members["kty"] == "EC" else OKPKey.import_key(members)
            try:
                claims = jwt.decode(text, public, algorithms=[key.algorithm]).claims
            except (JoseError, ValueError, TypeError):
                continue
            if claims.get("iss") != service.settings.issuer or "jti" not in claims:
                return None
            expires_at = datetime.fromtimestamp(claims["exp"], UTC)
            if expires_at + sessions.LEEWAY <= service.clock():
                return None
            return Revocable(claims["client_id"], token_id=claims["jti"], expires_at=expires_at)
        return None


class _IssuerParameter(IssuerParameter):  # type: ignore[misc]
    """Names the issuer in answers to the browser, against mixing issuers up (RFC 9207)."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer

    def get_issuer(self) -> str:
        """Return our name."""
        return self._issuer


def _granted(issue: Callable[[], AccessToken]) -> AccessToken:
    try:
        return issue()
    except NotGranted:
        raise InvalidScopeError("The scope asks for more than is granted") from None
