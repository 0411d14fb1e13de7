"""Policy snapshots and tokens for tests: an issuer of our own, without services/auth."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence

from gantry.access.v1.access_pb2 import ApplicationEntity, Issuer, PolicySnapshot, Revocation, VerificationKey
from gantry_access.snapshots import newest_version, publish_snapshot
from gantry_objectstore.protocol import ObjectStore
from gantry_objectstore.sealing import Sealer
from joserfc import jwt
from joserfc.jwk import OKPKey

ISSUER = "https://issuer.test/auth"
AUDIENCE = "gantry"


class TestIssuer:
    """Signs tokens, and makes and publishes the snapshots that trust them."""

    __test__ = False

    def __init__(self) -> None:
        self.key = OKPKey.generate_key("Ed25519", {"kid": uuid.uuid4().hex})

    def token(
        self, grants: Sequence[str] = (), *, subject: str = "tester", seconds: float = 600.0, **claims: object
    ) -> str:
        """Return an access token with ``grants`` (``role@partition``); ``claims`` add or change."""
        now = int(time.time())
        body = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "iat": now,
            "exp": int(now + seconds),
            "jti": uuid.uuid4().hex,
            "grants": list(grants),
        } | claims
        header = {"typ": "at+jwt", "alg": "EdDSA", "kid": self.key.kid}
        return jwt.encode(header, body, self.key, algorithms=["EdDSA"])

    def snapshot(
        self,
        version: int,
        *,
        entities: Sequence[ApplicationEntity] = (),
        revocations: Sequence[Revocation] = (),
        open_registration: bool = False,
        good_for: float = 3600.0,
        age: float = 0.0,
    ) -> PolicySnapshot:
        """Return a snapshot that was published ``age`` seconds ago and trusts this issuer alone."""
        jwk = json.dumps(self.key.as_dict(private=False))
        key = VerificationKey(key_id=self.key.kid or "", jwk_json=jwk)
        return PolicySnapshot(
            version=version,
            published_at_us=int((time.time() - age) * 1e6),
            good_for_us=int(good_for * 1e6),
            issuers=[Issuer(issuer=ISSUER, audience=AUDIENCE, keys=[key])],
            application_entities=entities,
            revocations=revocations,
            open_registration=open_registration,
        )

    async def publish(
        self,
        store: ObjectStore,
        sealer: Sealer,
        *,
        entities: Sequence[ApplicationEntity] = (),
        revocations: Sequence[Revocation] = (),
        open_registration: bool = False,
        good_for: float = 3600.0,
        age: float = 0.0,
    ) -> int:
        """Publish the next snapshot (see ``snapshot``) and return its version."""
        version = await newest_version(store) + 1
        snapshot = self.snapshot(
            version,
            entities=entities,
            revocations=revocations,
            open_registration=open_registration,
            good_for=good_for,
            age=age,
        )
        await publish_snapshot(store, sealer, snapshot)
        return version
