"""Encryption of what a backup holds: to a public key, so that who makes backups cannot read them.

A sealed stream is::

    magic (8) | ephemeral X25519 public key (32) | chunks

The key of a stream is HKDF-SHA256 (RFC 5869) of the X25519 agreement (RFC 7748) with the recipient's
key. Chunks are AES-256-GCM over up to 1 MiB of plaintext; the nonce counts them and marks the last, so
that none can be left out, put elsewhere or cut off. Every chunk is bound to the name of its part.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from gantry_dicom.errors import Conflict

MAGIC = b"GANTRYB1"
CHUNK_BYTES = 1 << 20
_KEY_BYTES = 32
_HEADER_BYTES = len(MAGIC) + _KEY_BYTES
_TAG_BYTES = 16
_SEALED_CHUNK_BYTES = CHUNK_BYTES + _TAG_BYTES


class BadBackup(Conflict):
    """What lies in the repository is not what was written there, or was written for another key."""


class Encryptor:
    """Turns plaintext, given in pieces of any size, into one sealed stream."""

    def __init__(self, recipient: X25519PublicKey, name: str) -> None:
        ephemeral = X25519PrivateKey.generate()
        self._header = MAGIC + ephemeral.public_key().public_bytes_raw()
        self._cipher = AESGCM(_stream_key(ephemeral, recipient, self._header, recipient))
        self._name = name.encode()
        self._pending = bytearray()
        self._number = 0

    def update(self, data: bytes | memoryview) -> bytes:
        """Return what can be written now that ``data`` has come."""
        self._pending += data
        sealed = [self._take_header()]
        # The last chunk may be a full one: one is kept back until more has come.
        while len(self._pending) > CHUNK_BYTES:
            sealed.append(self._chunk(bytes(self._pending[:CHUNK_BYTES]), is_last=False))
            del self._pending[:CHUNK_BYTES]
        return b"".join(sealed)

    def finish(self) -> bytes:
        """Return the end of the stream."""
        return self._take_header() + self._chunk(bytes(self._pending), is_last=True)

    def _take_header(self) -> bytes:
        header, self._header = self._header, b""
        return header

    def _chunk(self, plain: bytes, *, is_last: bool) -> bytes:
        nonce = _nonce(self._number, is_last=is_last)
        self._number += 1
        return self._cipher.encrypt(nonce, plain, self._name)


class Decryptor:
    """Turns a sealed stream, given in pieces of any size, back into plaintext.

    Every method raises ``BadBackup`` for a stream that is not as it was written.
    """

    def __init__(self, key: X25519PrivateKey, name: str) -> None:
        self._key = key
        self._name = name
        self._cipher: AESGCM | None = None
        self._pending = bytearray()
        self._number = 0

    def update(self, data: bytes | memoryview) -> bytes:
        """Return the plaintext that is certain now that ``data`` has come."""
        self._pending += data
        if self._cipher is None:
            if len(self._pending) < _HEADER_BYTES:
                return b""
            self._cipher = self._open(bytes(self._pending[:_HEADER_BYTES]))
            del self._pending[:_HEADER_BYTES]
        plain = []
        while len(self._pending) > _SEALED_CHUNK_BYTES:
            plain.append(self._chunk(bytes(self._pending[:_SEALED_CHUNK_BYTES]), is_last=False))
            del self._pending[:_SEALED_CHUNK_BYTES]
        return b"".join(plain)

    def finish(self) -> bytes:
        """Return the end of the plaintext."""
        return self._chunk(bytes(self._pending), is_last=True)

    def _open(self, header: bytes) -> AESGCM:
        if not header.startswith(MAGIC):
            raise BadBackup(f"{self._name} is no sealed part of a backup")
        ephemeral = X25519PublicKey.from_public_bytes(header[len(MAGIC) :])
        return AESGCM(_stream_key(self._key, ephemeral, header, self._key.public_key()))

    def _chunk(self, sealed: bytes, *, is_last: bool) -> bytes:
        if self._cipher is None:
            raise BadBackup(f"{self._name} ends before it begins")
        nonce = _nonce(self._number, is_last=is_last)
        self._number += 1
        try:
            return self._cipher.decrypt(nonce, sealed, self._name.encode())
        except InvalidTag:
            raise BadBackup(f"{self._name} was changed or cut off, or is for another key") from None


async def sealed(plain: AsyncIterable[bytes], recipient: X25519PublicKey, name: str) -> AsyncIterator[bytes]:
    """Yield the sealed stream of ``plain``."""
    encryptor = Encryptor(recipient, name)
    async for piece in plain:
        ready = encryptor.update(piece)
        if ready:
            yield ready
    yield encryptor.finish()


async def opened(pieces: AsyncIterable[bytes], key: X25519PrivateKey, name: str) -> AsyncIterator[bytes]:
    """Yield the plaintext of a sealed stream. Raises ``BadBackup``."""
    decryptor = Decryptor(key, name)
    async for piece in pieces:
        ready = decryptor.update(piece)
        if ready:
            yield ready
    yield decryptor.finish()


def seal_bytes(plain: Iterable[bytes], recipient: X25519PublicKey, name: str) -> bytes:
    """Return the sealed stream of what is in memory anyway."""
    encryptor = Encryptor(recipient, name)
    pieces = [encryptor.update(piece) for piece in plain]
    return b"".join([*pieces, encryptor.finish()])


def open_bytes(sealed_bytes: bytes, key: X25519PrivateKey, name: str) -> bytes:
    """Return the plaintext of a sealed stream. Raises ``BadBackup``."""
    return b"".join(_plain(sealed_bytes, Decryptor(key, name)))


def _plain(sealed_bytes: bytes, decryptor: Decryptor) -> Iterator[bytes]:
    yield decryptor.update(sealed_bytes)
    yield decryptor.finish()


def _stream_key(
    ours: X25519PrivateKey, theirs: X25519PublicKey, header: bytes, recipient: X25519PublicKey
) -> bytes:
    derive = HKDF(
        SHA256(), _KEY_BYTES, salt=header + recipient.public_bytes_raw(), info=b"gantry backup part"
    )
    try:
        return derive.derive(ours.exchange(theirs))
    except ValueError:
        # A public key of small order, which no honest writer makes.
        raise BadBackup("a sealed part names a key that cannot be") from None


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11) + bytes([is_last])
