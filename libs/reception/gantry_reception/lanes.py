"""Right of way: which receptions are live, and which belong to a bulk load that may wait.

A migration and an emergency look alike but for their number. So a sender that has sent a great
many instances in a short while goes behind the others until it slows down; on an archive that
has nothing else to do, it loses nothing by that. Senders known to migrate can be named.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from gantry.reception.v1.reception_pb2 import Lane, Source

from gantry_reception.settings import ReceiverSettings

# Senders watched at a time; calling AE titles are the senders' own choice.
WATCHED = 1024


@dataclass(slots=True)
class _Meter:
    # Instances sent and not yet forgotten, and when that was so.
    level: float
    at: float
    is_bulk: bool = False


class Lanes:
    """Watches the senders of a process; a leaky bucket each, by partition and name."""

    def __init__(self, settings: ReceiverSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._meters: OrderedDict[tuple[str, str], _Meter] = OrderedDict()

    def lane_of(self, partition: str, source: Source) -> Lane:
        """Count one more instance of a sender and return the lane it goes by."""
        names = {source.calling_ae_title, source.principal} - {""}
        if names & self._settings.bulk_sources:
            return Lane.LANE_BULK
        if not self._settings.live_burst:
            return Lane.LANE_LIVE
        meter = self._meter(
            (partition, f"{source.calling_ae_title}|{source.principal}|{source.peer_address}")
        )
        burst = self._settings.live_burst
        if meter.level > burst:
            meter.is_bulk = True
        elif meter.level < burst / 2:
            # Not at the same level: a study must not change lanes with every other instance.
            meter.is_bulk = False
        return Lane.LANE_BULK if meter.is_bulk else Lane.LANE_LIVE

    def _meter(self, sender: tuple[str, str]) -> _Meter:
        now = self._clock()
        meter = self._meters.pop(sender, None) or _Meter(0.0, now)
        forgotten = (now - meter.at) * self._settings.live_burst / self._settings.live_burst_seconds
        # Bounded above, so that a migration that has ended is forgotten in a burst's time.
        meter.level = min(max(0.0, meter.level - forgotten) + 1, 2.0 * self._settings.live_burst)
        meter.at = now
        self._meters[sender] = meter
        if len(self._meters) > WATCHED:
            self._meters.popitem(last=False)
        return meter
