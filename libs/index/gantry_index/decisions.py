"""Decides the receptions of a chunk against those that are known: pure, no SQL.

Only the receptions of one instance are compared with each other; what a decision means for
study and series is worked out in ``chunk_rows``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from gantry.index.v1.index_pb2 import (
    VERDICT_STATE_CONFLICT_LOSER,
    VERDICT_STATE_DUPLICATE,
    VERDICT_STATE_INDEXED,
    VERDICT_STATE_PENDING,
    VERDICT_STATE_TOMBSTONED,
    Verdict,
    VerdictState,
)

from gantry_index.arrivals import Arrival, Identity, StoredObject
from gantry_index.records import FindingKind
from gantry_index.winners import Candidate, content_of, state_against, survivor

# A reception in one of these states is a candidate; a quarantined or tombstoned one is not.
CANDIDATE_STATES = frozenset({VERDICT_STATE_INDEXED, VERDICT_STATE_DUPLICATE, VERDICT_STATE_CONFLICT_LOSER})


class Standing(NamedTuple):
    """A reception row, as ``statements.RECEPTIONS`` returns it."""

    object_key: str
    partition: str
    study_uid: str
    series_uid: str
    sop_uid: str
    order_key: str
    state: int
    survivor_key: str | None
    reason: str | None
    replaces: bool
    data_set_digest: bytes
    transfer_syntax_uid: str
    store_id: str
    size: int
    meta_length: int
    frame_table: bytes | None
    received_at: datetime

    @property
    def identity(self) -> Identity:
        """The instance it is a reception of."""
        return Identity(self.partition, self.study_uid, self.sop_uid)

    @property
    def candidate(self) -> Candidate:
        """What is compared with other receptions."""
        content = content_of(self.data_set_digest, self.transfer_syntax_uid)
        return Candidate(self.order_key, self.object_key, content, self.replaces)

    @property
    def verdict(self) -> Verdict:
        """The verdict that stands."""
        return Verdict(
            object_key=self.object_key,
            state=VerdictState.Name(self.state),
            survivor_key=self.survivor_key or "",
            reason=self.reason or "",
        )


class Finding(NamedTuple):
    """A row of ``finding``."""

    partition: str
    kind: str
    study_uid: str
    series_uid: str
    sop_uid: str
    object_key: str


class Decided(NamedTuple):
    """The verdict on an arrival that had none."""

    arrival: Arrival
    state: int
    survivor_key: str | None


class Placement(NamedTuple):
    """An instance row to be written: the facts of ``source``, and the object that it points at.

    The object is the source's own, and ``decided`` its verdict, unless an earlier object of
    the same data set survives.
    """

    source: Arrival
    stored: StoredObject
    decided: Decided | None
    is_new: bool
    # Derived again from the object that it points at already.
    is_renewed: bool = False


class Redecision(NamedTuple):
    """A standing reception that gets another verdict because a better one came."""

    object_key: str
    old_state: int
    state: int
    survivor_key: str | None


@dataclass(slots=True)
class Decisions:
    """The outcome for a chunk."""

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    # Arrivals that get a reception row.
    decided: list[Decided] = field(default_factory=list)
    redecided: list[Redecision] = field(default_factory=list)
    placements: list[Placement] = field(default_factory=list)
    findings: set[Finding] = field(default_factory=set)
    settled: set[Finding] = field(default_factory=set)

    @property
    def fresh(self) -> Iterator[Arrival]:
        """Every arrival that was not decided before."""
        return (decided.arrival for decided in self.decided)

    @property
    def touched(self) -> Iterator[Arrival]:
        """Every arrival that something is written of."""
        yield from self.fresh
        yield from (placement.source for placement in self.placements if placement.is_renewed)


def decide(
    chunk: Sequence[Arrival],
    standing: Mapping[str, Standing],
    hidden: Collection[str] = (),
    *,
    renewing: bool = False,
) -> Decisions:
    """Decide every arrival of ``chunk``, given the ``standing`` receptions by object key.

    The object keys in ``hidden`` were taken out of sight by an amendment, whenever they arrive.
    With ``renewing`` those that are shown are written again.
    """
    decisions = Decisions()
    fresh: dict[Identity, dict[str, Arrival]] = defaultdict(dict)
    for arrival in chunk:
        known = standing.get(arrival.object_key)
        if known is not None and known.state != VERDICT_STATE_PENDING:
            decisions.verdicts[arrival.object_key] = known.verdict
            if renewing and known.state == VERDICT_STATE_INDEXED and known.identity == arrival.identity:
                placement = Placement(arrival, arrival.stored, None, is_new=False, is_renewed=True)
                decisions.placements.append(placement)
        elif arrival.object_key in hidden:
            _bury(decisions, arrival)
        else:
            fresh[arrival.identity].setdefault(arrival.object_key, arrival)
    rivals: dict[Identity, list[Standing]] = defaultdict(list)
    for known in standing.values():
        if known.state in CANDIDATE_STATES:
            rivals[known.identity].append(known)
    for identity, group in fresh.items():
        _decide_instance(decisions, list(group.values()), rivals.get(identity, []))
    decisions.findings |= _in_several_studies(decisions.fresh, standing.values())
    return decisions


def _bury(decisions: Decisions, arrival: Arrival) -> None:
    if arrival.object_key not in decisions.verdicts:
        decisions.decided.append(Decided(arrival, VERDICT_STATE_TOMBSTONED, None))
        decisions.verdicts[arrival.object_key] = Verdict(
            object_key=arrival.object_key, state=VERDICT_STATE_TOMBSTONED
        )


def _decide_instance(decisions: Decisions, fresh: Sequence[Arrival], rivals: Sequence[Standing]) -> None:
    if len(fresh) == 1 and not rivals:  # nearly always
        decided = _settle_arrival(decisions, fresh[0], fresh[0].candidate)
        decisions.placements.append(Placement(fresh[0], fresh[0].stored, decided, is_new=True))
        return
    current = next((rival for rival in rivals if rival.state == VERDICT_STATE_INDEXED), None)
    # Documents are at hand for the contents that arrive and for the one that is shown. The rule
    # picks no other, unless the one that was shown has been taken away meanwhile.
    showable = {arrival.candidate.content for arrival in fresh}
    if current is not None:
        showable.add(current.candidate.content)
    candidates = [arrival.candidate for arrival in fresh] + [rival.candidate for rival in rivals]
    winner = survivor(candidate for candidate in candidates if candidate.content in showable)

    settled = {arrival.object_key: _settle_arrival(decisions, arrival, winner) for arrival in fresh}
    for rival in rivals:
        _settle_rival(decisions, rival, winner)
    if current is not None and current.object_key == winner.object_key:
        return
    if winner.object_key in settled:
        decided = settled[winner.object_key]
        placement = Placement(decided.arrival, decided.arrival.stored, decided, is_new=current is None)
    else:
        # An earlier object of the same data set: its own place, the arrival's documents.
        source = next(arrival for arrival in fresh if arrival.candidate.content == winner.content)
        known = next(rival for rival in rivals if rival.object_key == winner.object_key)
        stored = StoredObject(
            *(known.order_key, known.object_key, known.store_id, known.size, known.meta_length),
            *(known.frame_table or b"", known.received_at),
        )
        placement = Placement(source, stored, None, is_new=current is None)
    decisions.placements.append(placement)


def _settle_arrival(decisions: Decisions, arrival: Arrival, winner: Candidate) -> Decided:
    state = state_against(arrival.candidate, winner)
    survivor_key = None if state == VERDICT_STATE_INDEXED else winner.object_key
    decided = Decided(arrival, state, survivor_key)
    decisions.decided.append(decided)
    decisions.verdicts[arrival.object_key] = Verdict(
        object_key=arrival.object_key, state=state, survivor_key=survivor_key or ""
    )
    if state == VERDICT_STATE_CONFLICT_LOSER:
        decisions.findings.add(_conflict(arrival.identity, arrival.series_uid, arrival.object_key))
    return decided


def _settle_rival(decisions: Decisions, rival: Standing, winner: Candidate) -> None:
    state = state_against(rival.candidate, winner)
    survivor_key = None if state == VERDICT_STATE_INDEXED else winner.object_key
    if (rival.state, rival.survivor_key) == (state, survivor_key):
        return
    decisions.redecided.append(Redecision(rival.object_key, rival.state, state, survivor_key))
    finding = _conflict(rival.identity, rival.series_uid, rival.object_key)
    if state == VERDICT_STATE_CONFLICT_LOSER:
        decisions.findings.add(finding)
    elif rival.state == VERDICT_STATE_CONFLICT_LOSER:
        decisions.settled.add(finding)


def _conflict(identity: Identity, series_uid: str, object_key: str) -> Finding:
    partition, study_uid, sop_uid = identity
    return Finding(partition, FindingKind.INSTANCE_CONFLICT.value, study_uid, series_uid, sop_uid, object_key)


def _in_several_studies(fresh: Iterable[Arrival], standing: Iterable[Standing]) -> set[Finding]:
    arrived = {arrival.identity for arrival in fresh}
    known = {rival.identity for rival in standing if rival.state in CANDIDATE_STATES}
    studies: dict[tuple[str, str], set[Identity]] = defaultdict(set)
    for identity in arrived | known:
        studies[identity.partition, identity.sop_uid].add(identity)
    return {
        Finding(partition, FindingKind.INSTANCE_IN_STUDIES.value, study_uid, "", sop_uid, "")
        for places in studies.values()
        if len(places) > 1 and places & arrived
        for partition, study_uid, sop_uid in places
    }
