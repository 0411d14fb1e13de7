"""What services need to decide by themselves, out of the database into one message."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from gantry.access.v1.access_pb2 import (
    ApplicationEntity,
    ClaimGrant,
    Grant,
    Issuer,
    PolicySnapshot,
    Revocation,
    VerificationKey,
)

from gantry_auth import federated_subjects, keys, registry
from gantry_auth.adapters.database import Connection
from gantry_auth.grants import parse_grant
from gantry_auth.settings import AuthSettings, FederatedIssuer
from gantry_auth.tokens import AUDIENCE

# The last second of the year 9999: after every token that can be issued.
_FOR_EVER = 253_402_300_799 * 1_000_000


def compose(connection: Connection, settings: AuthSettings, *, version: int, now: datetime) -> PolicySnapshot:
    """Return the snapshot of what the database holds now."""
    return PolicySnapshot(
        version=version,
        published_at_us=_microseconds(now),
        good_for_us=int(settings.policy_good_for_seconds * 1e6),
        issuers=[_own_issuer(connection, settings), *_federated(connection, settings, now)],
        application_entities=_entities(connection),
        open_registration=settings.open_registration,
        revocations=[*_revocations(connection, now), *_barred(connection)],
    )


def _own_issuer(connection: Connection, settings: AuthSettings) -> Issuer:
    own = [VerificationKey(key_id=key.key_id, jwk_json=key.public_jwk) for key in keys.load(connection)]
    return Issuer(issuer=settings.issuer, audience=AUDIENCE, keys=own)


def _federated(connection: Connection, settings: AuthSettings, now: datetime) -> list[Issuer]:
    oldest = now - timedelta(seconds=settings.federation_keys_good_for_seconds)
    fetched: dict[str, str] = dict(
        connection.execute(
            "SELECT issuer, jwks FROM auth.federated_keys WHERE fetched_at > %s", [oldest]
        ).fetchall()
    )
    return [
        _issuer(configured, fetched[configured.issuer])
        for configured in settings.federated_issuers
        if configured.issuer in fetched
    ]


def _issuer(configured: FederatedIssuer, jwks: str) -> Issuer:
    return Issuer(
        issuer=configured.issuer,
        audience=configured.audience,
        keys=[
            VerificationKey(key_id=key["kid"], jwk_json=json.dumps(key)) for key in json.loads(jwks)["keys"]
        ],
        role_claim=configured.role_claim,
        claim_grants=[
            ClaimGrant(value=value, grant=Grant(role=grant.role, partition=grant.partition))
            for value, texts in sorted(configured.grants.items())
            for grant in map(parse_grant, texts)
        ],
    )


def _entities(connection: Connection) -> list[ApplicationEntity]:
    return [
        ApplicationEntity(
            ae_title=entity.ae_title,
            partition=entity.partition,
            may_store=entity.may_store,
            may_find=entity.may_find,
            may_move=entity.may_move,
            source_addresses=entity.source_addresses,
            host=entity.host,
            port=entity.port,
            certificates=entity.certificates,
            maximum_associations=entity.maximum_associations,
            associations_per_minute=entity.associations_per_minute,
        )
        for entity in registry.list_all(connection)
    ]


def _revocations(connection: Connection, now: datetime) -> list[Revocation]:
    rows = connection.execute(
        "SELECT token_id, subject, revoked_at, forget_after FROM auth.revocations"
        " WHERE forget_after > %s ORDER BY revocation_id",
        [now],
    ).fetchall()
    return [
        Revocation(
            token_id=token_id or "",
            subject=subject or "",
            revoked_at_us=_microseconds(revoked_at),
            forget_after_us=_microseconds(forget_after),
        )
        for token_id, subject, revoked_at, forget_after in rows
    ]


def _barred(connection: Connection) -> list[Revocation]:
    return [
        Revocation(subject=name, revoked_at_us=_FOR_EVER, forget_after_us=_FOR_EVER)
        for name in federated_subjects.list_barred(connection)
    ]


def _microseconds(moment: datetime) -> int:
    # Exact: the float of a timestamp is not.
    epoch = datetime.fromtimestamp(0, moment.tzinfo)
    return (moment - epoch) // timedelta(microseconds=1)
