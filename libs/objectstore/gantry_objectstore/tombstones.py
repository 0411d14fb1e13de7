"""What a study's amendments leave hidden and destroyed: pure, and the same as the index says.

An object is hidden by the first deletion that names it while it is shown. Only what a deletion
still hides when its purge is written is destroyed: whoever restored before that has won.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gantry.amendment.v1.amendment_pb2 import (
    AMENDMENT_KIND_HIDE,
    AMENDMENT_KIND_PURGE,
    AMENDMENT_KIND_RELOCATE,
    AMENDMENT_KIND_RESTORE,
    Amendment,
)


@dataclass(slots=True)
class Tombstones:
    """Object keys by the revision of the deletion that hides them, and of the purge that destroys them."""

    hidden: dict[str, int] = field(default_factory=dict)
    purged: dict[str, int] = field(default_factory=dict)

    def hidden_by(self, revision: int) -> list[str]:
        """Return what a deletion hides and nobody has destroyed, sorted."""
        return sorted(key for key, by in self.hidden.items() if by == revision)

    def purged_by(self, revision: int) -> list[str]:
        """Return what a purge destroys, sorted."""
        return sorted(key for key, by in self.purged.items() if by == revision)


def tombstones(history: Iterable[Amendment]) -> Tombstones:
    """Return what stands after the amendments of one study, given in the order of their revisions."""
    standing = Tombstones()
    for amendment in history:
        if amendment.kind == AMENDMENT_KIND_HIDE:
            for reception in amendment.receptions:
                if reception.object_key not in standing.purged:
                    standing.hidden.setdefault(reception.object_key, amendment.revision)
        elif amendment.kind == AMENDMENT_KIND_RESTORE:
            for key in standing.hidden_by(amendment.undoes):
                del standing.hidden[key]
        elif amendment.kind == AMENDMENT_KIND_PURGE:
            for key in standing.hidden_by(amendment.purges):
                del standing.hidden[key]
                standing.purged[key] = amendment.revision
    return standing


def locations(history: Iterable[Amendment]) -> dict[str, str]:
    """Return the store to which each object of a study was moved last, by its key."""
    return {
        reception.object_key: amendment.store_id
        for amendment in history
        if amendment.kind == AMENDMENT_KIND_RELOCATE
        for reception in amendment.receptions
    }
