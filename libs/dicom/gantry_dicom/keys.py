"""Order keys: what decides "first" everywhere, whatever the order of arrival at the index."""

from __future__ import annotations


def order_key(batch: str, ordinal: int) -> str:
    """Return the order key of a reception: batch ULID and zero-padded ordinal.

    Order keys compare as text; the smaller was received first (batches of one process
    exactly, of different machines by their clocks: a deterministic tie, no more).
    """
    return f"{batch}{ordinal:08d}"


def parse_order_key(key: str) -> tuple[str, int]:
    """Return batch and ordinal of an order key."""
    return key[:-8], int(key[-8:])
