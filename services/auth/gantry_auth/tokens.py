"""Access tokens (RFC 9068) as this service signs them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gantry_access.policy import Grant
from joserfc import jwt

from gantry_auth.grants import grant_text
from gantry_auth.keys import Key, SigningKey

AUDIENCE = "gantry"


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A signed token and what it says of itself; never logged."""

    text: str
    token_id: str
    issued_at: datetime
    expires_at: datetime
    grants: frozenset[Grant]


@dataclass(frozen=True, slots=True)
class Signer:
    """The key in use, opened."""

    key: Key
    key_id: str
    algorithm: str

    @classmethod
    def of(cls, key: Key, signing_key: SigningKey) -> Signer:
        """Return the signer with an opened key."""
        return cls(key, signing_key.key_id, signing_key.algorithm)

    def sign(self, claims: dict[str, object], kind: str) -> str:
        """Return a compact JWS of ``claims`` with the header ``typ`` ``kind``."""
        header = {"typ": kind, "alg": self.algorithm, "kid": self.key_id}
        return jwt.encode(header, claims, self.key, algorithms=[self.algorithm])


def issue_time(now: datetime, revoked_at: datetime | None) -> datetime:
    """Return the whole second in which a token of ``now`` is issued.

    A revocation refuses every token of its own second too, because times in tokens are whole
    seconds: what is issued after it is dated to the next one.
    """
    second = now.replace(microsecond=0)
    if revoked_at is not None and second <= revoked_at:
        second = revoked_at.replace(microsecond=0) + timedelta(seconds=1)
    return second


def make_access_token(
    signer: Signer,
    *,
    issuer: str,
    subject: str,
    client_id: str,
    grants: Iterable[Grant],
    issued_at: datetime,
    seconds: int,
) -> AccessToken:
    """Return a token for ``subject`` with ``grants`` that lives for ``seconds``."""
    carried = frozenset(grants)
    begun = int(issued_at.timestamp())
    token_id = uuid.uuid4().hex
    claims: dict[str, object] = {
        "iss": issuer,
        "sub": subject,
        "aud": AUDIENCE,
        "iat": begun,
        "exp": begun + seconds,
        "jti": token_id,
        "client_id": client_id,
        "grants": [grant_text(grant) for grant in sorted(carried)],
    }
    return AccessToken(
        signer.sign(claims, "at+jwt"),
        token_id,
        issued_at,
        datetime.fromtimestamp(begun + seconds, UTC),
        carried,
    )
