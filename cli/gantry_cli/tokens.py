"""Access tokens of programs: OAuth2 client credentials (RFC 6749 4.4), renewed before they expire."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import httpx
from gantry_dicom.errors import BadRequest, NotAuthenticated, Unavailable

from gantry_cli.problems import detail_of

ANSWER_SECONDS = 30.0
# Of a token's life, after which a client that goes on asks for the next one.
RENEWED_AFTER = 0.7


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """A service account at an issuer."""

    issuer: str
    client_id: str
    secret: str


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and how long it lives, in seconds."""

    text: str
    seconds: float


def fetch_token(credentials: ClientCredentials, scope: str = "") -> Token:
    """Return a token with the rights of the account, or with those of ``scope`` (``role@partition ...``).

    Raises ``NotAuthenticated`` when the issuer refuses, ``Unavailable`` when it does not answer.
    """
    form = {"grant_type": "client_credentials"} | ({"scope": scope} if scope else {})
    try:
        answer = httpx.post(
            f"{credentials.issuer}/token",
            data=form,
            auth=(credentials.client_id, credentials.secret),
            timeout=ANSWER_SECONDS,
        )
    except httpx.HTTPError as error:
        raise Unavailable(f"{credentials.issuer} does not answer: {error}") from error
    if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise Unavailable(f"{credentials.issuer} gives no token: {detail_of(answer)}")
    if answer.status_code != httpx.codes.OK:
        raise NotAuthenticated(f"no token for {credentials.client_id}: {detail_of(answer)}")
    document = answer.json()
    return Token(document["access_token"], float(document["expires_in"]))


class BearerAuth(httpx.Auth):
    """Puts a token on every request of a client: one that is given, or those of a service account."""

    def __init__(self, source: ClientCredentials | str) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._text = ""
        self._renew_at = 0.0

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header; see ``httpx.Auth``. Raises what ``fetch_token`` raises."""
        request.headers["Authorization"] = f"Bearer {self.token()}"
        yield request

    def token(self) -> str:
        """Return a token that is good for a while yet."""
        if isinstance(self._source, str):
            return self._source
        with self._lock:
            if time.monotonic() >= self._renew_at:
                token = fetch_token(self._source)
                self._text = token.text
                self._renew_at = time.monotonic() + token.seconds * RENEWED_AFTER
            return self._text


def read_secret(file: Path) -> str:
    """Return the secret in a file. Raises ``BadRequest``."""
    try:
        return file.read_text().strip()
    except OSError as error:
        raise BadRequest(f"cannot read {file}: {error.strerror}") from error
