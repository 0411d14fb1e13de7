"""Seals: a record that only a holder of the deployment's key can have written.

A seal is HMAC-SHA-256 over the record's kind (full protobuf name), a zero byte and its
bytes. The kind is covered so that a journal entry cannot pass for a manifest.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import TypeVar

from gantry.sealed.v1.sealed_pb2 import Sealed
from google.protobuf.message import DecodeError, Message

from gantry_objectstore.errors import BadSeal, SettingsError

MINIMUM_KEY_BYTES = 16

M = TypeVar("M", bound=Message)


class Sealer:
    """Seals with the current key and opens what any of the keys has sealed."""

    def __init__(self, keys: Mapping[str, bytes], current: str) -> None:
        if current not in keys:
            raise SettingsError("the current seal key is not among the keys")
        if any(len(key) < MINIMUM_KEY_BYTES for key in keys.values()):
            raise SettingsError(f"a seal key is shorter than {MINIMUM_KEY_BYTES} bytes")
        self._keys = dict(keys)
        self._current = current

    @classmethod
    def from_text(cls, text: str) -> Sealer:
        """Return the sealer for ``id:hex,id:hex``, the first being current. Raises ``SettingsError``."""
        keys: dict[str, bytes] = {}
        for item in text.split(","):
            key_id, separator, digits = item.strip().partition(":")
            try:
                key = bytes.fromhex(digits)
            except ValueError:
                # Not the ValueError's own text: it may quote the key.
                raise SettingsError("a seal key is not in hexadecimal digits") from None
            if not separator or not key_id or key_id in keys:
                raise SettingsError("seal keys are given as id:hex,id:hex with different ids")
            keys[key_id] = key
        return cls(keys, next(iter(keys)))

    def seal(self, message: Message) -> bytes:
        """Return ``message`` as the bytes of a ``Sealed`` record."""
        kind = message.DESCRIPTOR.full_name
        payload = message.SerializeToString()
        return Sealed(
            kind=kind,
            key_id=self._current,
            payload=payload,
            mac=_mac(self._keys[self._current], kind, payload),
        ).SerializeToString()

    def open(self, data: bytes, kind: type[M]) -> M:
        """Return the message of type ``kind`` that was sealed as ``data``. Raises ``BadSeal``."""
        try:
            sealed = Sealed.FromString(data)
        except DecodeError:
            raise BadSeal("not a sealed record") from None
        expected = kind.DESCRIPTOR.full_name
        key = self._keys.get(sealed.key_id)
        if key is None:
            raise BadSeal("sealed with a key that is not ours")
        if not hmac.compare_digest(_mac(key, sealed.kind, sealed.payload), sealed.mac):
            raise BadSeal("the seal does not fit the record")
        if sealed.kind != expected:
            raise BadSeal("a record of another kind")
        try:
            return kind.FromString(sealed.payload)
        except DecodeError:
            raise BadSeal("a sealed record that cannot be read") from None


def _mac(key: bytes, kind: str, payload: bytes) -> bytes:
    return hmac.digest(key, kind.encode() + b"\0" + payload, "sha256")
