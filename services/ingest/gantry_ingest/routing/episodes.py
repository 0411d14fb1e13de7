"""When a study is complete: nothing has come for a while, so what came was one transfer. Pure.

An *episode* is a run of receptions of one study without a longer pause. It is named by its
first reception, so that whoever reads the same manifests again finds the same episodes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gantry.reception.v1.reception_pb2 import OUTCOME_REFUSED, Reception
from gantry_dicom.keys import order_key

# Studies whose associations have ended and whose manifests have not come.
_MOST_TRANSFERS = 10_000


@dataclass(slots=True)
class Episode:
    """What came of a study in one run; times in microseconds since the epoch."""

    partition: str
    study_uid: str
    first_order_key: str
    first_received_us: int
    last_received_us: int
    # SOP Instance UIDs by Series Instance UID.
    series: dict[str, set[str]] = field(default_factory=dict)
    sources: set[str] = field(default_factory=set)
    # Whether every association that is known to have brought some of it was released since.
    is_released: bool = False

    @property
    def instance_count(self) -> int:
        """Number of different instances."""
        return sum(map(len, self.series.values()))

    def add(self, reception: Reception) -> None:
        """Take in a reception."""
        key = order_key(reception.batch, reception.ordinal)
        self.first_order_key = min(self.first_order_key, key)
        self.first_received_us = min(self.first_received_us, reception.received_at_us)
        self.last_received_us = max(self.last_received_us, reception.received_at_us)
        of_series = self.series.setdefault(reception.series_instance_uid, set())
        of_series.add(reception.sop_instance_uid)
        source = reception.source
        self.sources.update(filter(None, (source.calling_ae_title, source.principal)))


@dataclass(frozen=True, slots=True)
class _Ended:
    """When an association was last released, and whether one ended otherwise."""

    released_us: int = -1
    is_broken_off: bool = False


class Arrivals:
    """Gathers receptions into episodes."""

    def __init__(self, quiet_us: int, released_quiet_us: int | None = None) -> None:
        """``released_quiet_us`` is the shorter time that will do when the associations were released."""
        self._quiet_us = quiet_us
        self._released_quiet_us = quiet_us if released_quiet_us is None else released_quiet_us
        self._current: dict[tuple[str, str], Episode] = {}
        self._ended: list[Episode] = []
        self._ended_transfers: dict[tuple[str, str], _Ended] = {}

    def add(self, partition: str, receptions: Iterable[Reception]) -> None:
        """Take in receptions of a manifest; what was refused never came."""
        for reception in sorted(receptions, key=lambda one: one.received_at_us):
            if reception.outcome == OUTCOME_REFUSED or not reception.study_instance_uid:
                continue
            place = (partition, reception.study_instance_uid)
            episode = self._current.get(place)
            if episode is not None and reception.received_at_us - episode.last_received_us > self._quiet_us:
                self._ended.append(self._current.pop(place))
                episode = None
            if episode is None:
                moment = reception.received_at_us
                episode = Episode(*place, order_key(reception.batch, reception.ordinal), moment, moment)
                self._current[place] = episode
            episode.add(reception)

    def transfer_ended(self, partition: str, study_uid: str, at_us: int, *, released: bool) -> None:
        """Take in that an association which brought instances of a study has ended.

        This is known at once, and what it brought only from its manifest, some seconds later.
        """
        ended = self._ended_transfers.pop((partition, study_uid), _Ended())
        self._ended_transfers[partition, study_uid] = _Ended(
            max(ended.released_us, at_us if released else 0), ended.is_broken_off or not released
        )
        if len(self._ended_transfers) > _MOST_TRANSFERS:
            del self._ended_transfers[next(iter(self._ended_transfers))]

    def complete(self, now_us: int) -> list[Episode]:
        """Return, once, the episodes that have ended by ``now_us``."""
        for place, episode in self._current.items():
            transfers = self._ended_transfers.get(place, _Ended())
            episode.is_released = (
                transfers.released_us >= episode.last_received_us and not transfers.is_broken_off
            )
        over = [place for place, episode in self._current.items() if now_us > self._quiet_until(episode)]
        for place in over:
            self._ended_transfers.pop(place, None)
        ended, self._ended = self._ended + [self._current.pop(place) for place in over], []
        return ended

    def _quiet_until(self, episode: Episode) -> int:
        quiet_us = self._released_quiet_us if episode.is_released else self._quiet_us
        return episode.last_received_us + quiet_us
