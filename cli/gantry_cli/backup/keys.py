"""The keys of a backup repository.

Two pairs are made once. What is written is sealed to the public half of the first; the private half is
locked with a passphrase in the repository, or goes to a file that is kept elsewhere. The second pair
signs (Ed25519, RFC 8032): its private half stays with the archive, its public half is locked up
together with the key that opens, so that nobody who can only write to the repository can put a
backup there that a restore would believe.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from gantry_dicom.errors import BadRequest, NotAllowed

from gantry_cli.backup.sealing import BadBackup

# RFC 7914: 128 * n * r bytes of memory, here 128 MiB, and about half a second.
SCRYPT_N, SCRYPT_R, SCRYPT_P = 1 << 17, 8, 1
LEAST_CHARACTERS = 12
_SALT_BYTES, _NONCE_BYTES, _KEY_BYTES = 16, 12, 32
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class WritingKeys:
    """What making backups takes: it opens none."""

    recipient: X25519PublicKey
    signer: Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class ReadingKeys:
    """What restoring takes."""

    private: X25519PrivateKey
    verifier: Ed25519PublicKey

    def verify(self, signature: bytes, data: bytes, name: str) -> None:
        """Raise ``BadBackup`` unless the archive itself has signed ``data``."""
        try:
            self.verifier.verify(signature, data)
        except InvalidSignature:
            raise BadBackup(f"{name} was not written by the archive that owns this repository") from None


def new_keys() -> tuple[WritingKeys, ReadingKeys]:
    """Make both pairs."""
    private, signer = X25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    return WritingKeys(private.public_key(), signer), ReadingKeys(private, signer.public_key())


def locked(keys: ReadingKeys, passphrase: str) -> Document:
    """Return the keys as they may lie in the open. Raises ``BadRequest`` for a short passphrase."""
    if len(passphrase) < LEAST_CHARACTERS:
        raise BadRequest(f"a passphrase has at least {LEAST_CHARACTERS} characters")
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    parameters = {"kdf": "scrypt", "n": SCRYPT_N, "r": SCRYPT_R, "p": SCRYPT_P, "salt": salt.hex()}
    box = AESGCM(_derived(parameters, passphrase)).encrypt(nonce, as_text(keys).encode(), None)
    return {**parameters, "nonce": nonce.hex(), "box": box.hex()}


def unlocked(lock: Document, passphrase: str) -> ReadingKeys:
    """Return the keys that a passphrase opens. Raises ``NotAllowed`` when it is not the one."""
    try:
        box, nonce = bytes.fromhex(lock["box"]), bytes.fromhex(lock["nonce"])
        plain = AESGCM(_derived(lock, passphrase)).decrypt(nonce, box, None)
    except InvalidTag:
        raise NotAllowed("that is not the passphrase of this repository") from None
    except (KeyError, TypeError, ValueError) as error:
        raise BadBackup("the repository's lock cannot be read") from error
    return from_text(plain.decode())


def as_text(keys: ReadingKeys) -> str:
    """Return the keys as a line for a file that is kept apart."""
    return json.dumps(
        {"opens": keys.private.private_bytes_raw().hex(), "verifies": keys.verifier.public_bytes_raw().hex()}
    )


def from_text(text: str) -> ReadingKeys:
    """Return the keys that ``as_text`` wrote down. Raises ``BadRequest``."""
    try:
        document = json.loads(text)
        return ReadingKeys(
            X25519PrivateKey.from_private_bytes(bytes.fromhex(document["opens"])),
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(document["verifies"])),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise BadRequest("that is no key file of a backup repository") from error


def _derived(parameters: Document, passphrase: str) -> bytes:
    if parameters["n"] > SCRYPT_N << 4:
        # Whoever wrote the repository must not choose how much memory a restore takes.
        raise BadBackup("the repository's lock asks for too much memory")
    kdf = Scrypt(
        bytes.fromhex(parameters["salt"]), _KEY_BYTES, parameters["n"], parameters["r"], parameters["p"]
    )
    return kdf.derive(passphrase.encode())
