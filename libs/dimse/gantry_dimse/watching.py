"""Time-outs of an association, looked at a few times while they run: a busy one pays nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gantry_dimse.limits import Limits
from gantry_dimse.upper_layer import UpperLayer

# A time-out is looked at this many times while it runs, so it comes up to a quarter late.
_LOOKS = 4


class Watch:
    """Ends an association that is idle, or whose peer sends or takes too slowly."""

    def __init__(
        self, layer: UpperLayer, limits: Limits, is_busy: Callable[[], bool], end: Callable[[str], None]
    ) -> None:
        self._layer = layer
        self._limits = limits
        self._is_busy = is_busy
        self._end = end
        self._period = min(limits.idle_seconds, limits.pdu_seconds) / _LOOKS
        self._timer: asyncio.TimerHandle | None = None
        # What the last look saw, and for how many looks it has been the same.
        self._bytes = (0, 0)
        self._pdus = 0
        self._idle = self._reading = self._writing = 0

    def start(self) -> None:
        """Look from now on."""
        self._timer = asyncio.get_running_loop().call_later(self._period, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        layer = self._layer
        seen = (layer.bytes_received, layer.bytes_sent)
        still = seen == self._bytes
        same_pdu = layer.reader.mid_pdu and layer.reader.pdus == self._pdus and not layer.read_paused
        stuck = layer.write_paused and seen[1] == self._bytes[1]
        self._idle = self._idle + 1 if still and not self._is_busy() else 0
        self._reading = self._reading + 1 if same_pdu else 0
        self._writing = self._writing + 1 if stuck else 0
        self._bytes, self._pdus = seen, layer.reader.pdus
        reason = self._reason()
        if reason:
            self._end(reason)
            return
        if self._idle:
            layer.shrink()
        self.start()

    def _reason(self) -> str:
        if self._idle * self._period >= self._limits.idle_seconds:
            return "nothing was sent for too long"
        if self._reading * self._period >= self._limits.pdu_seconds:
            return "a PDU took too long to arrive"
        if self._writing * self._period >= self._limits.pdu_seconds:
            return "the peer did not take what was sent"
        return ""
