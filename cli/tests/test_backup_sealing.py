"""What a backup is sealed with: only whole, unchanged, in its place, by who owns it."""

from __future__ import annotations

import pytest
from gantry_cli.backup import keys as backup_keys
from gantry_cli.backup.sealing import CHUNK_BYTES, BadBackup, Decryptor, Encryptor, open_bytes, seal_bytes
from gantry_dicom.errors import BadRequest, NotAllowed
from hypothesis import given, settings
from hypothesis import strategies as st

WRITING, READING = backup_keys.new_keys()
PASSPHRASE = "correct horse battery"
SIZES = st.sampled_from([0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES])


@settings(max_examples=30, deadline=None)
@given(SIZES, st.integers(1, 3 * CHUNK_BYTES), st.integers(1, 3 * CHUNK_BYTES))
def test_what_was_sealed_in_any_pieces_is_opened_in_any_pieces(size, piece, sealed_piece):
    plain = bytes(range(256)) * (size // 256 + 1)
    plain = plain[:size]
    encryptor, decryptor = Encryptor(WRITING.recipient, "part"), Decryptor(READING.private, "part")
    pieces = [encryptor.update(plain[at : at + piece]) for at in range(0, size, piece)]
    sealed = b"".join([*pieces, encryptor.finish()])
    opened = [decryptor.update(sealed[at : at + sealed_piece]) for at in range(0, len(sealed), sealed_piece)]
    assert b"".join([*opened, decryptor.finish()]) == plain
    if size >= 64:
        assert plain[:64] not in sealed


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_single_changed_bit_is_noticed(data):
    sealed = bytearray(seal_bytes([b"x" * 300], WRITING.recipient, "part"))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(BadBackup):
        open_bytes(bytes(sealed), READING.private, "part")


@pytest.mark.parametrize("cut", [0, 5, 40, CHUNK_BYTES + 16 + 40, 2 * (CHUNK_BYTES + 16) + 40])
def test_a_stream_that_was_cut_off_is_noticed_also_between_chunks(cut):
    sealed = seal_bytes([bytes(2 * CHUNK_BYTES + 7)], WRITING.recipient, "part")
    assert cut < len(sealed)
    with pytest.raises(BadBackup):
        open_bytes(sealed[:cut], READING.private, "part")


def test_chunks_are_opened_only_in_their_order_and_under_their_name():
    sealed = seal_bytes([bytes(CHUNK_BYTES), b"\1" * CHUNK_BYTES, b"end"], WRITING.recipient, "a")
    chunk = CHUNK_BYTES + 16
    swapped = (
        sealed[:40] + sealed[40 + chunk : 40 + 2 * chunk] + sealed[40 : 40 + chunk] + sealed[40 + 2 * chunk :]
    )
    with pytest.raises(BadBackup):
        open_bytes(swapped, READING.private, "a")
    with pytest.raises(BadBackup):
        open_bytes(sealed, READING.private, "b")


def test_another_key_opens_nothing():
    _, stranger = backup_keys.new_keys()
    with pytest.raises(BadBackup):
        open_bytes(seal_bytes([b"secret"], WRITING.recipient, "part"), stranger.private, "part")


def test_the_passphrase_opens_the_lock_and_no_other_does():
    lock = backup_keys.locked(READING, PASSPHRASE)
    assert backup_keys.as_text(backup_keys.unlocked(lock, PASSPHRASE)) == backup_keys.as_text(READING)
    assert READING.private.private_bytes_raw().hex() not in str(lock)
    with pytest.raises(NotAllowed):
        backup_keys.unlocked(lock, PASSPHRASE + "!")


def test_a_lock_that_asks_for_all_memory_is_refused():
    lock = backup_keys.locked(READING, PASSPHRASE)
    with pytest.raises(BadBackup):
        backup_keys.unlocked({**lock, "n": 1 << 30}, PASSPHRASE)


def test_a_short_passphrase_is_refused():
    with pytest.raises(BadRequest):
        backup_keys.locked(READING, "short")


def test_keys_in_a_file_are_the_same_keys():
    again = backup_keys.from_text(backup_keys.as_text(READING))
    again.verify(WRITING.signer.sign(b"data"), b"data", "it")
    with pytest.raises(BadBackup):
        again.verify(WRITING.signer.sign(b"data"), b"other", "it")
    with pytest.raises(BadRequest):
        backup_keys.from_text("{}")
