"""Which reception of an instance the index shows: a pure rule, blind to the order of arrival.

Receptions with the same data set in the same transfer syntax have one *content*. The
content shown is that of the latest reception (largest order key) whose source replaces,
or, when no source replaces, that of the first reception (smallest order key). Among the
receptions of that content the first one survives; the others are its duplicates, and
receptions of other contents have lost the conflict.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gantry.index.v1.index_pb2 import (
    VERDICT_STATE_CONFLICT_LOSER,
    VERDICT_STATE_DUPLICATE,
    VERDICT_STATE_INDEXED,
    VerdictState,
)


class Candidate(NamedTuple):
    """One reception of an instance; the smaller candidate was received first."""

    order_key: str
    object_key: str
    content: bytes
    replaces: bool


def survivor(candidates: Iterable[Candidate]) -> Candidate:
    """Return the reception that stands for all ``candidates`` (at least one)."""
    ranked: Sequence[Candidate] = sorted(candidates)
    replacing = [candidate for candidate in ranked if candidate.replaces]
    content = (replacing[-1] if replacing else ranked[0]).content
    return next(candidate for candidate in ranked if candidate.content == content)


def state_against(candidate: Candidate, winner: Candidate) -> VerdictState:
    """Return the verdict on ``candidate`` where ``winner`` survives."""
    if candidate.object_key == winner.object_key:
        return VERDICT_STATE_INDEXED
    if candidate.content == winner.content:
        return VERDICT_STATE_DUPLICATE
    return VERDICT_STATE_CONFLICT_LOSER


def content_of(data_set_digest: bytes, transfer_syntax_uid: str) -> bytes:
    """Return the identity of a data set: its digest with the syntax it is encoded in."""
    return data_set_digest + transfer_syntax_uid.encode()
