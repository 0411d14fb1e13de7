"""What a diagnosis is made from: an association that has ended, and why we refused it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gantry_dimse.commands import CommandField
from gantry_dimse.facts import AssociationFacts, EndKind
from gantry_dimse.negotiation import ContextResult, ProposedContext

# Statuses that are no failure (PS3.7 C): success, warnings, cancel, pending.
_WARNINGS = (0x0001, 0x0107, 0x0116)
_CANCELLED = 0xFE00


@dataclass(frozen=True, slots=True)
class Evidence:
    """One ended association; ``refusal`` is our own reason for a rejection, empty without one."""

    facts: AssociationFacts
    refusal: str = ""

    @property
    def ended(self) -> EndKind | None:
        """How it ended."""
        return self.facts.end.kind if self.facts.end else None

    @property
    def by_peer(self) -> bool:
        """Whether the peer ended it."""
        return self.facts.end is not None and self.facts.end.by_peer

    @property
    def detail(self) -> str:
        """What was wrong, in the words of the upper layer."""
        return self.facts.end.detail if self.facts.end else ""

    @property
    def asked(self) -> bool:
        """Whether the peer has sent an A-ASSOCIATE-RQ."""
        return self.facts.request is not None

    @property
    def established(self) -> bool:
        """Whether it was accepted."""
        return self.facts.accept is not None

    @property
    def has_accepted_context(self) -> bool:
        """Whether anything could have been sent over it."""
        accept = self.facts.accept
        return accept is not None and any(
            answer.result == ContextResult.ACCEPTANCE for answer in accept.contexts
        )

    def refused(self, result: ContextResult) -> Iterator[ProposedContext]:
        """Yield the contexts that were refused with ``result``."""
        request, accept = self.facts.request, self.facts.accept
        if request is None or accept is None:
            return
        results = {answer.context_id: answer.result for answer in accept.contexts}
        for context in request.contexts:
            if results.get(context.context_id) == result:
                yield context

    def answered(self, command: CommandField, first: int, last: int | None = None) -> bool:
        """Whether a request ``command`` was answered with a status from ``first`` to ``last``."""
        return any(
            field == command and first <= status <= (first if last is None else last)
            for field, status in self.facts.statuses
        )

    @property
    def has_failure_status(self) -> bool:
        """Whether any request was answered with a failure."""
        return any(is_failure(status) for _, status in self.facts.statuses)

    @property
    def is_failure(self) -> bool:
        """Whether somebody may ask why it did not work.

        An association whose peer released it without sending anything, although we had refused
        some of its contexts, is one: it did not get what it came for.
        """
        if self.ended is not EndKind.RELEASED or self.has_failure_status:
            return True
        if not self.has_accepted_context:
            return True
        refusals = (
            ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED,
            ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED,
        )
        is_partly_refused = any(True for result in refusals for _ in self.refused(result))
        return is_partly_refused and not self.facts.statuses


def is_failure(status: int) -> bool:
    """Whether a final status is a failure (PS3.7 C.1): not success, a warning or a cancel."""
    return bool(status) and status not in _WARNINGS and status >> 12 != 0xB and status != _CANCELLED
