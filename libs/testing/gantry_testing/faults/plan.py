"""Which strikes befall a round, drawn from the seed: the catalogue and the dice."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from gantry_testing.faults import servers, strikes
from gantry_testing.faults.strikes import Strike
from gantry_testing.stack import EVERY_SERVICE, SECOND_STORAGE

LOAD_SECONDS = 5.0
MOST_AT_ONCE = 3
# Part of the load rather than a strike: an instance that kills its indexer.
POISON = "poison instance"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of strike and whom it can befall. Two strikes of a round never have one ``share``."""

    name: str
    strike: Strike
    targets: tuple[str, ...]
    weight: int = 1
    share: str = ""
    needs: str = ""


_STORING = ("ingest", "gateway", "storage", "indexer")
_MORE = ("valkey", "postgres", "s3")
CATALOGUE: tuple[Kind, ...] = (
    Kind("kill", strikes.kill, EVERY_SERVICE, 3),
    Kind("freeze", strikes.freeze, EVERY_SERVICE, 2),
    Kind("kill at a point", strikes.kill_at_point, EVERY_SERVICE, 5),
    Kind("freeze at a point", strikes.freeze_at_point, EVERY_SERVICE, 3),
    Kind("slow down", strikes.slow_down, _STORING, 1, "way of"),
    Kind("bad connections", strikes.bad_connections, _STORING, 2, "way of"),
    Kind("stalls", strikes.stalls, _STORING, 1, "way of"),
    Kind("slow store", strikes.slow_store, _STORING, 1, "way of"),
    Kind("lost records", strikes.lost_manifests, ("ingest", "gateway", "storage"), 2, "way of"),
    Kind("clock jump", strikes.jump_clock, EVERY_SERVICE, 2),
    Kind("second sweeper", strikes.second_sweeper, (SECOND_STORAGE.name,), 2),
    Kind("server crash", servers.crash, _MORE, 3),
    Kind("server stop", servers.stop, _MORE, 1),
    Kind("server freeze", servers.freeze, _MORE, 2),
    Kind("server stutter", servers.stutter, ("valkey", "postgres"), 1),
    Kind("flush", servers.flush, ("valkey",), 1),
    Kind("read-only database", servers.refuse_writes, ("postgres",), 2),
    Kind("older copy", servers.fail_over, ("postgres",), 2),
    Kind("full disk", servers.fill_disk, ("postgres", "s3"), 2, needs="disk"),
)


@dataclass(frozen=True, slots=True)
class Blow:
    """One strike of a plan: what befalls whom, so many seconds after the load began."""

    kind: Kind
    target: str
    at: float

    def __str__(self) -> str:
        return f"{self.kind.name} ({self.target})"


@dataclass(frozen=True, slots=True)
class Plan:
    """What befalls a round."""

    blows: tuple[Blow, ...]
    with_poison: bool

    @property
    def names(self) -> list[str]:
        """Names for people, of strikes and targets."""
        return [str(blow) for blow in self.blows] + ([POISON] if self.with_poison else [])


def dice_of(seed: int, number: int) -> random.Random:
    """Return the dice of a round, which its number and the seed alone decide."""
    return random.Random(f"{seed}.{number}")  # noqa: S311 - must repeat, not surprise


def draw(dice: random.Random, only: Sequence[str] = (), without: Sequence[str] = ()) -> Plan:
    """Draw one to three strikes of different targets from the kinds that ``only`` names (default all).

    Raises ``ValueError`` when that leaves none.
    """
    kinds = [
        kind
        for kind in CATALOGUE
        if (not only or kind.name in only) and not (kind.needs and kind.needs in without)
    ]
    with_poison = dice.random() < 0.1 if not only else POISON in only
    if not kinds and not with_poison:
        raise ValueError(f"no such strike: {', '.join(only)}")
    blows: dict[str, Blow] = {}
    for _ in range(dice.randint(1, MOST_AT_ONCE) if kinds else 0):
        kind = dice.choices(kinds, [kind.weight for kind in kinds])[0]
        target = dice.choice(kind.targets)
        at = round(dice.uniform(0.1, 0.8) * LOAD_SECONDS, 2)
        blows.setdefault(f"{kind.share}{target}", Blow(kind, target, at))
    return Plan(tuple(sorted(blows.values(), key=lambda blow: blow.at)), with_poison)
