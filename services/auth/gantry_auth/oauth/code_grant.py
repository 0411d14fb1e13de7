"""Authorization code with PKCE (RFC 6749 4.1, RFC 7636) and its ID token (OpenID Connect Core 3.1)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from authlib.oauth2.rfc6749 import InvalidRequestError
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc7636.challenge import compare_s256_code_challenge
from authlib.oidc.core.grants import OpenIDCode
from gantry_telemetry.logs import get_logger

from gantry_auth import accounts, sessions
from gantry_auth.adapters.database import one
from gantry_auth.grants import scopes_of
from gantry_auth.machine_secrets import digest, new_secret
from gantry_auth.oauth.models import Code, OAuthClient
from gantry_auth.oauth.requests import Request

log = get_logger(__name__)

AUTHENTICATION_METHODS = ["client_secret_basic", "client_secret_post", "none"]
_LONGEST_NONCE = 512


class S256Only(CodeChallenge):  # type: ignore[misc]
    """PKCE for every client, and by S256 alone: ``plain`` protects nothing (RFC 9700 2.1.1)."""

    DEFAULT_CODE_CHALLENGE_METHOD = "S256"
    SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]  # noqa: RUF012 - as the base has it
    CODE_CHALLENGE_METHODS = {"S256": compare_s256_code_challenge}  # noqa: RUF012

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:  # noqa: ANN401
        """Refuse a request without a challenge, or with one of another method."""
        data = grant.request.payload.data
        if not data.get("code_challenge") or data.get("code_challenge_method") != "S256":
            raise InvalidRequestError("A 'code_challenge' of the method 'S256' is required")
        super().validate_code_challenge(grant, redirect_uri)


class CodeGrant(AuthorizationCodeGrant):  # type: ignore[misc]
    """Codes in the database, good once and for a minute."""

    TOKEN_ENDPOINT_AUTH_METHODS = AUTHENTICATION_METHODS

    def generate_authorization_code(self) -> str:
        """Return a new code."""
        return new_secret()

    def save_authorization_code(self, code: str, request: Request) -> None:
        """Keep what the code stands for; ``request.user`` is the browser's session."""
        service, session = self.server.service, request.user
        nonce = request.payload.data.get("nonce", "")
        if len(nonce) > _LONGEST_NONCE:
            raise InvalidRequestError("The 'nonce' is too long", redirect_uri=request.payload.redirect_uri)
        self.server.connection.execute(
            "INSERT INTO auth.authorization_codes (digest, client_id, subject, redirect_uri, scope, nonce,"
            " code_challenge, authenticated_at, expires_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                digest(code),
                request.client.get_client_id(),
                session.subject,
                request.payload.redirect_uri,
                request.scope or "",
                nonce,
                request.payload.data["code_challenge"],
                session.authenticated_at,
                service.clock() + timedelta(seconds=service.settings.authorization_code_seconds),
            ],
        )

    def query_authorization_code(self, code: str, client: OAuthClient) -> Code | None:
        """Return the code if it is good; one that comes again ends what came of it (RFC 6749 4.1.2)."""
        service, connection = self.server.service, self.server.connection
        found = one(
            connection,
            Code,
            "SELECT digest, client_id, subject, redirect_uri, scope, nonce, code_challenge,"
            " authenticated_at, expires_at, session_id, used_at FROM auth.authorization_codes"
            " WHERE digest = %s AND client_id = %s FOR UPDATE",
            [digest(code), client.get_client_id()],
        )
        if found is None:
            return None
        if found.used_at is not None:
            log.warning("authorization_code_reused", principal=found.subject)
            if found.session_id is not None:
                sessions.end(connection, found.session_id, reason="code-reuse", now=service.clock())
            return None
        return found if service.clock() < found.expires_at else None

    def authenticate_user(self, code: Code) -> str | None:
        """Return the code's user unless it is revoked."""
        return code.subject if accounts.is_active(self.server.connection, code.subject) else None

    def generate_token(
        self,
        user: str | None = None,  # noqa: ARG002 - it is the code's
        scope: str | None = None,  # noqa: ARG002
        grant_type: str | None = None,  # noqa: ARG002
        expires_in: int | None = None,  # noqa: ARG002
        include_refresh_token: bool = True,
    ) -> dict[str, Any]:
        """Begin the session that the code was for, and return its first tokens."""
        service, code = self.server.service, self.request.authorization_code
        session = sessions.begin(
            self.server.connection,
            subject=code.subject,
            client_id=code.client_id,
            scope=code.scope,
            authenticated_at=code.authenticated_at,
            times=service.session_times,
        )
        code.session_id = session.session_id
        self.server.issued_to = session.subject
        return self.server.tokens_of(session, with_refresh_token=include_refresh_token)  # type: ignore[no-any-return]

    def delete_authorization_code(self, code: Code) -> None:
        """Note that the code is used up, and what came of it."""
        self.server.connection.execute(
            "UPDATE auth.authorization_codes SET used_at = %s, session_id = %s WHERE digest = %s",
            [self.server.service.clock(), code.session_id, code.digest],
        )


class IdToken(OpenIDCode):  # type: ignore[misc]
    """Adds the ID token to the answer for a code with the scope ``openid``."""

    def __init__(self, service: Any) -> None:  # noqa: ANN401 - a Service; the base is untyped
        super().__init__()
        self._service = service
        self._signer: Any = None

    def exists_nonce(self, nonce: str, request: Request) -> bool:  # noqa: ARG002
        """Return no: the nonce binds the ID token for the client, who has to check it."""
        return False

    def process_token(self, grant: Any, response: Any) -> None:  # noqa: ANN401
        """Sign the ID token with the key in use."""
        self._signer = grant.server.service.signer(grant.server.connection)
        super().process_token(grant, response)

    def resolve_client_private_key(self, client: OAuthClient) -> Any:  # noqa: ANN401, ARG002
        """Return the key in use."""
        return self._signer.key

    def get_client_algorithm(self, client: OAuthClient) -> str:  # noqa: ARG002
        """Return the algorithm of the key in use."""
        return self._signer.algorithm  # type: ignore[no-any-return]

    def get_encode_header(self, client: OAuthClient) -> dict[str, str]:  # noqa: ARG002
        """Return the header of the ID token."""
        return {"typ": "JWT", "alg": self._signer.algorithm, "kid": self._signer.key_id}

    def get_client_claims(self, client: OAuthClient) -> dict[str, Any]:
        """Return issuer, audience and times."""
        settings, now = self._service.settings, int(self._service.clock().timestamp())
        return {
            "iss": settings.issuer,
            "aud": [client.get_client_id()],
            "iat": now,
            "exp": now + settings.access_token_seconds,
        }

    def generate_user_info(self, user: str, scope: str) -> dict[str, str]:
        """Return who it is about."""
        return {"sub": user} | ({"preferred_username": user} if "profile" in scopes_of(scope) else {})
