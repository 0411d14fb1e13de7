"""Access tokens (RFC 7519, RFC 9068) against the issuers of one policy snapshot.

Checked once, then known by the SHA-256 of the token until it expires; a revocation comes with
a new snapshot, and that with a new verifier.
"""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gantry.access.v1.access_pb2 import Issuer, PolicySnapshot
from gantry_dicom.errors import NotAuthenticated
from gantry_telemetry.logs import get_logger
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from gantry_access.claims import JsonObject, claim_at, take_apart, text_of, texts_of, time_of
from gantry_access.policy import Grant
from gantry_access.roles import ROLES

log = get_logger(__name__)

# RFC 9864 gives the algorithm a narrower name; which curve it is, our keys say anyway.
warnings.filterwarnings("ignore", message="EdDSA is deprecated via RFC 9864")

LEEWAY_SECONDS = 15.0
CACHED_TOKENS = 8192
_SMALLEST_RSA_BITS = 2048
_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_MAX_GRANTS = 256
# OpenID Connect Core 2.
_LONGEST_SUBJECT = 255

_Key = OKPKey | ECKey | RSAKey


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who a good token speaks for.

    ``name`` is the subject; that of a federated issuer has the issuer before it
    (``https://idp.example#7f3a``), so that no two issuers' subjects are ever one caller.
    """

    name: str
    grants: frozenset[Grant]
    token_id: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class _TrustedKey:
    algorithm: str
    key: _Key


@dataclass(frozen=True, slots=True)
class _TrustedIssuer:
    name: str
    audience: str
    keys: Mapping[str, _TrustedKey]
    # Empty for our own issuer, whose tokens say their grants themselves.
    role_claim: str
    claim_grants: Mapping[str, frozenset[Grant]]


class TokenVerifier:
    """Checks tokens against one snapshot; safe in threads (a doubled check is the worst)."""

    def __init__(
        self,
        snapshot: PolicySnapshot,
        *,
        leeway: float = LEEWAY_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._leeway = leeway
        self._clock = clock
        self._issuers = {issuer.issuer: _trusted(issuer) for issuer in snapshot.issuers if issuer.audience}
        self._revoked_tokens = frozenset(r.token_id for r in snapshot.revocations if r.token_id)
        self._revoked_subjects: dict[str, int] = {}
        for revocation in snapshot.revocations:
            if revocation.subject:
                latest = self._revoked_subjects.get(revocation.subject, 0)
                self._revoked_subjects[revocation.subject] = max(latest, revocation.revoked_at_us)
        self._known: dict[bytes, Bearer] = {}

    def verify(self, token: str) -> Bearer:
        """Return who ``token`` speaks for. Raises ``NotAuthenticated``."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        bearer = self._known.get(digest)
        if bearer is None:
            bearer = self._check(token)
            if len(self._known) >= CACHED_TOKENS:
                # The oldest first: with short-lived tokens those expire first too.
                self._known.pop(next(iter(self._known)), None)
            self._known[digest] = bearer
        if self._clock() >= bearer.expires_at + self._leeway:
            self._known.pop(digest, None)
            raise NotAuthenticated("the token has expired")
        return bearer

    def _check(self, token: str) -> Bearer:
        parts = take_apart(token)
        issuer = self._issuers.get(text_of(parts.claims, "iss"))
        if issuer is None:
            raise NotAuthenticated("the token's issuer is not trusted")
        trusted = _key_for(issuer, parts.header)
        try:
            jws.deserialize_compact(token.encode(), trusted.key, algorithms=[trusted.algorithm])
        except (JoseError, ValueError, TypeError):
            raise NotAuthenticated("the token's signature is not good") from None
        claims = parts.claims
        issued_at = self._check_times(claims)
        if issuer.audience not in texts_of(claims.get("aud")):
            raise NotAuthenticated("the token is not for this service")
        subject = text_of(claims, "sub")
        if len(subject) > _LONGEST_SUBJECT or not subject.isprintable():
            raise NotAuthenticated("the token's subject is not one")
        name = f"{issuer.name}#{subject}" if issuer.role_claim else subject
        token_id = str(claims.get("jti") or "")
        if not issuer.role_claim and not token_id:
            raise NotAuthenticated("the token has no jti")
        # Whole seconds: a token of the very second of the revocation is refused too.
        if token_id in self._revoked_tokens or issued_at * 1e6 <= self._revoked_subjects.get(name, -1):
            raise NotAuthenticated("the token has been revoked")
        return Bearer(name, _grants(issuer, claims), token_id, time_of(claims, "exp"))

    def _check_times(self, claims: JsonObject) -> float:
        now = self._clock()
        if now >= time_of(claims, "exp") + self._leeway:
            raise NotAuthenticated("the token has expired")
        issued_at = time_of(claims, "iat")
        not_before = time_of(claims, "nbf") if "nbf" in claims else issued_at
        if max(issued_at, not_before) > now + self._leeway:
            raise NotAuthenticated("the token is not valid yet")
        return issued_at


def _key_for(issuer: _TrustedIssuer, header: JsonObject) -> _TrustedKey:
    """Return the key that the header names; the key says which algorithm is allowed, not the token."""
    if "crit" in header or "b64" in header:
        raise NotAuthenticated("the token needs an extension that is not understood")
    if str(header.get("typ", "JWT")).lower() not in _TYPES:
        raise NotAuthenticated("the token is of another type")
    trusted = issuer.keys.get(text_of(header, "kid"))
    if trusted is None:
        raise NotAuthenticated("the token's key is not known")
    if header.get("alg") != trusted.algorithm:
        raise NotAuthenticated("the token's algorithm is not that of its key")
    return trusted


def _grants(issuer: _TrustedIssuer, claims: JsonObject) -> frozenset[Grant]:
    if issuer.role_claim:
        values = texts_of(claim_at(claims, issuer.role_claim))
        return frozenset[Grant]().union(*(issuer.claim_grants.get(value, frozenset()) for value in values))
    grants = set()
    for text in texts_of(claims.get("grants"))[:_MAX_GRANTS]:
        role, _, partition = text.partition("@")
        if role in ROLES and partition:
            grants.add(Grant(role, partition))
    return frozenset(grants)


def _trusted(issuer: Issuer) -> _TrustedIssuer:
    claim_grants: dict[str, set[Grant]] = {}
    for mapping in issuer.claim_grants:
        if mapping.grant.role in ROLES and mapping.grant.partition:
            claim_grants.setdefault(mapping.value, set()).add(
                Grant(mapping.grant.role, mapping.grant.partition)
            )
    keys: dict[str, _TrustedKey] = {}
    for key in issuer.keys:
        trusted = _import_key(key.jwk_json, federated=bool(issuer.role_claim))
        if trusted is None:
            log.error("policy_key_unusable", key_id=key.key_id)
        elif key.key_id:
            keys[key.key_id] = trusted
    return _TrustedIssuer(
        issuer.issuer,
        issuer.audience,
        keys,
        issuer.role_claim,
        {value: frozenset(grants) for value, grants in claim_grants.items()},
    )


def _import_key(jwk_json: str, *, federated: bool) -> _TrustedKey | None:
    """Return a public key with its one algorithm, or ``None`` for what may sign nothing here."""
    try:
        jwk = json.loads(jwk_json)
        kind, curve = jwk.get("kty"), jwk.get("crv")
        if "d" in jwk or jwk.get("use", "sig") != "sig":
            return None
        members = {name: jwk[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in jwk}
        trusted: _TrustedKey | None = None
        if (kind, curve) == ("OKP", "Ed25519"):
            trusted = _TrustedKey("EdDSA", OKPKey.import_key(members))
        elif (kind, curve) == ("EC", "P-256"):
            trusted = _TrustedKey("ES256", ECKey.import_key(members))
        elif kind == "RSA" and federated:
            key = RSAKey.import_key(members)
            if key.public_key.key_size >= _SMALLEST_RSA_BITS:
                trusted = _TrustedKey("RS256", key)
    except (JoseError, ValueError, TypeError, AttributeError):
        return None
    if trusted is not None and jwk.get("alg", trusted.algorithm) not in (trusted.algorithm, "Ed25519"):
        return None
    return trusted
