"""Pixel work in processes of its own, which end with the gateway."""

from __future__ import annotations

import os
from functools import partial

from gantry_imaging import workers
from gantry_web.lifeline import end_with_parent


class PixelWorkers(workers.PixelWorkers):
    """``gantry_imaging.workers.PixelWorkers`` of this service."""

    def __init__(self, processes: int, *, memory_bytes: int, seconds: float) -> None:
        end = partial(end_with_parent, partial(os._exit, 1))
        super().__init__(processes, memory_bytes=memory_bytes, seconds=seconds, prepare=end)
