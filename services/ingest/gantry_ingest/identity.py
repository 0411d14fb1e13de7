"""User identity of an association (PS3.7 D.3.3.7): a token, or the name and secret of a client.

Passwords of people are not taken: a device would have to keep them, and a port without login pages
is where they are guessed. What a device has is an account of its own, a client, whose name and
secret are exchanged for a token like any program's.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode
from dataclasses import dataclass, field
from enum import IntEnum

from gantry_access.assembly import Access
from gantry_dicom.errors import GantryError, NotAuthenticated, Unavailable
from gantry_dimse.negotiation import UserIdentity
from gantry_telemetry import metrics
from gantry_telemetry.logs import get_logger

log = get_logger(__name__)

IDENTITIES = metrics.counter(
    "gantry_dimse_user_identities", "User identities of associations", ("kind", "outcome")
)

_MOST_KNOWN = 256
_ANSWER_BYTES = 64 << 10
# Failures of a name and secret are remembered so long, so that guessing is slow and auth is spared.
_REFUSED_SECONDS = 10.0


class IdentityKind(IntEnum):
    """PS3.7 Table D.3-14, User-Identity-Type."""

    USER_NAME = 1
    USER_NAME_AND_PASSCODE = 2
    KERBEROS = 3
    SAML = 4
    JSON_WEB_TOKEN = 5


_VERIFIED = frozenset({IdentityKind.USER_NAME_AND_PASSCODE, IdentityKind.JSON_WEB_TOKEN})


@dataclass(slots=True)
class Identities:
    """Verifies user identities; belongs to one event loop."""

    access: Access
    # The token endpoint of the service of logins; empty takes no names and secrets.
    token_url: str = ""
    timeout_seconds: float = 3.0
    # Whether an association needs an identity that was verified.
    required: bool = False
    # By the digest of name and secret: the token, empty for a refusal, and until when.
    _known: dict[bytes, tuple[str, float]] = field(default_factory=dict)

    def is_verified(self, identity: UserIdentity | None) -> bool:
        """Whether ``identity`` is of a kind that is verified here; others are ignored (D.3.3.7.2)."""
        return identity is not None and identity.kind in _VERIFIED and self.access.point.feed is not None

    async def token_of(self, identity: UserIdentity, peer_address: str) -> str:
        """Return the token behind a verified kind of identity.

        Raises ``NotAuthenticated``, ``StalePolicy``, and ``Unavailable`` when it cannot be asked for.
        """
        kind = "token" if identity.kind == IdentityKind.JSON_WEB_TOKEN else "secret"
        try:
            if identity.kind == IdentityKind.JSON_WEB_TOKEN:
                token = identity.primary.decode("ascii", "replace").strip(" \0")
            else:
                token = await self._exchange(identity.primary, identity.secondary)
            self.access.point.bearer(token, peer_address)
        except GantryError as error:
            IDENTITIES.labels(kind, error.outcome.value).inc()
            log.warning("user_identity_refused", kind=kind, reason=error.outcome.value)
            raise
        IDENTITIES.labels(kind, "verified").inc()
        return token

    async def _exchange(self, name: bytes, secret: bytes) -> str:
        if not self.token_url:
            raise NotAuthenticated("names and passcodes are not taken here: use a token or a certificate")
        digest = hashlib.sha256(len(name).to_bytes(4) + name + secret).digest()
        token, until = self._known.get(digest, ("", 0.0))
        if time.monotonic() >= until:
            token, seconds = await asyncio.to_thread(self._ask, name, secret)
            while len(self._known) >= _MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[digest] = (token, time.monotonic() + seconds)
        if not token:
            raise NotAuthenticated("the name or passcode is wrong")
        return token

    def _ask(self, name: bytes, secret: bytes) -> tuple[str, float]:
        """Return a token, empty when it was refused, and how long to go by that (RFC 6749 4.4)."""
        # RFC 6749 2.3.1: both are form-encoded first.
        pair = b":".join(urllib.parse.quote_from_bytes(part, safe="").encode() for part in (name, secret))
        request = urllib.request.Request(  # noqa: S310 - the address is a setting
            self.token_url,
            data=b"grant_type=client_credentials",
            headers={"Authorization": f"Basic {b64encode(pair).decode()}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_seconds) as answer:  # noqa: S310
                document = json.loads(answer.read(_ANSWER_BYTES))
            return str(document["access_token"]), max(1.0, float(document.get("expires_in", 60)) / 2)
        except urllib.error.HTTPError as error:
            if error.code in (400, 401, 403):
                return "", _REFUSED_SECONDS
            raise Unavailable("the service of logins is in trouble") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Unavailable("the service of logins does not answer") from error
