"""Keys that sign tokens: made, published ahead of their time, followed by the next, forgotten.

A key is in the JWKS and in snapshots before it signs and until the last token that it signed has
expired, so that a rotation is noticed by nobody. The newest key whose time has come signs, but
only once a snapshot that holds it has been published: services check by snapshots alone.
Private parts lie in the database encrypted (RFC 7516, ``dir`` with A256GCM).
"""

from __future__ import annotations

import hmac
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from gantry_dicom.errors import GantryError, Unavailable
from gantry_telemetry.logs import get_logger
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeyParameters, OctKey, OKPKey

from gantry_auth.adapters.database import Connection, every

log = get_logger(__name__)

Key = ECKey | OKPKey

_PURPOSE = b"gantry auth signing keys"
# Advisory lock of whoever makes or forgets keys: "gantryke" as a number.
_LOCK = 0x67616E7472796B65
# Beyond the life of the last token: clocks differ, and a verifier allows for that.
_MARGIN = timedelta(seconds=60)


class KeySettingsError(GantryError):
    """The keys that seal cannot be used."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key as it lies in the database."""

    key_id: str
    algorithm: str
    public_jwk: str
    sealed_private: str
    signs_from: datetime
    published_at: datetime | None


@dataclass(frozen=True, slots=True)
class KeyTimes:
    """How long a key signs, how long before that it is published, how long its tokens live."""

    rotation: timedelta
    prepublish: timedelta
    token_life: timedelta


class KeyVault:
    """Encrypts private keys for the database, with keys derived from those that seal records."""

    def __init__(self, seal_keys: str) -> None:
        self._keys: dict[str, OctKey] = {}
        for item in seal_keys.split(","):
            key_id, _, digits = item.strip().partition(":")
            try:
                derived = hmac.digest(bytes.fromhex(digits), _PURPOSE, "sha256")
            except ValueError:
                raise KeySettingsError("seal keys are given as id:hex,id:hex") from None
            self._keys[key_id] = OctKey.import_key(derived)
        self._current = next(iter(self._keys))

    def seal(self, key: Key) -> str:
        """Return ``key`` encrypted."""
        header = {"alg": "dir", "enc": "A256GCM", "kid": self._current}
        plain = json.dumps(key.as_dict(private=True)).encode()
        return jwe.encrypt_compact(header, plain, self._keys[self._current])

    def open(self, signing_key: SigningKey) -> Key:
        """Return the private key. Raises ``Unavailable`` when it is sealed with a key that is not ours."""
        try:
            found = jwe.decrypt_compact(signing_key.sealed_private, self._find, algorithms=["dir", "A256GCM"])
        except (JoseError, KeyError, ValueError) as error:
            log.exception("signing_key_sealed_by_others", key_id=signing_key.key_id)
            raise Unavailable("the signing key cannot be opened") from error
        members = json.loads(found.plaintext or b"")
        return ECKey.import_key(members) if members["kty"] == "EC" else OKPKey.import_key(members)

    def _find(self, guest: object) -> OctKey:
        header = getattr(guest, "headers")()  # noqa: B009 - of several recipient types
        return self._keys[header["kid"]]


def load(connection: Connection) -> list[SigningKey]:
    """Return every key, in the order in which they sign."""
    return every(
        connection,
        SigningKey,
        "SELECT key_id, algorithm, public_jwk, sealed_private, signs_from, published_at"
        " FROM auth.signing_keys ORDER BY signs_from, key_id",
    )


def signer(keys: Sequence[SigningKey], now: datetime) -> SigningKey:
    """Return the key that signs at ``now``. Raises ``Unavailable`` when there is none yet."""
    due = [key for key in keys if key.signs_from <= now]
    known = [key for key in due if key.published_at is not None]
    if not due:
        raise Unavailable("there is no key that signs yet")
    return (known or due)[-1]


def tend(
    connection: Connection, vault: KeyVault, *, algorithm: str, times: KeyTimes, now: datetime
) -> list[SigningKey]:
    """Make the key that is due, forget those whose tokens have all expired; returns what is left."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    keys = load(connection)
    if not keys:
        _make(connection, vault, algorithm, now)
    elif keys[-1].signs_from <= now and now >= keys[-1].signs_from + times.rotation - times.prepublish:
        _make(connection, vault, algorithm, max(now + times.prepublish, keys[-1].signs_from + times.rotation))
    for key, successor in pairwise(keys):
        if successor.published_at is None:
            continue
        signed_last = max(successor.signs_from, successor.published_at)
        if signed_last + times.token_life + _MARGIN <= now:
            connection.execute("DELETE FROM auth.signing_keys WHERE key_id = %s", [key.key_id])
            log.info("signing_key_forgotten", key_id=key.key_id)
    return load(connection)


def rotate(
    connection: Connection,
    vault: KeyVault,
    *,
    algorithm: str,
    times: KeyTimes,
    now: datetime,
    distrust: bool = False,
) -> str:
    """Put the next key in place before its time, and return its id.

    With ``distrust`` it signs at once and every other key is forgotten: whoever holds a token
    has to log in again. Without, a successor that waits already is left to its time.
    """
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    if distrust:
        connection.execute("DELETE FROM auth.signing_keys")
        return _make(connection, vault, algorithm, now)
    waiting = [key for key in load(connection) if key.signs_from > now]
    return waiting[-1].key_id if waiting else _make(connection, vault, algorithm, now + times.prepublish)


def note_published(connection: Connection, key_ids: Sequence[str], now: datetime) -> None:
    """Note that a snapshot with these keys is where services look."""
    connection.execute(
        "UPDATE auth.signing_keys SET published_at = %s WHERE key_id = ANY(%s) AND published_at IS NULL",
        [now, list(key_ids)],
    )


def _make(connection: Connection, vault: KeyVault, algorithm: str, signs_from: datetime) -> str:
    key_id = uuid.uuid4().hex
    parameters: KeyParameters = {"kid": key_id, "use": "sig", "alg": algorithm}
    key: Key
    if algorithm == "ES256":
        key = ECKey.generate_key("P-256", parameters)
    else:
        key = OKPKey.generate_key("Ed25519", parameters)
    connection.execute(
        "INSERT INTO auth.signing_keys (key_id, algorithm, public_jwk, sealed_private, signs_from)"
        " VALUES (%s, %s, %s, %s, %s)",
        [key_id, algorithm, json.dumps(key.as_dict(private=False)), vault.seal(key), signs_from],
    )
    log.info("signing_key_made", key_id=key_id)
    return key_id
