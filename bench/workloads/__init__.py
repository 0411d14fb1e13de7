"""The workloads, by name, in the order in which they run: the population comes last, it may slow others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from bench.driving import Bench
from bench.workloads import dimse, reads, renderings, searches, stores

WORKLOADS: Mapping[str, Callable[[Bench], Awaitable[None]]] = {
    "W1": stores.stow,
    "W2": dimse.c_store,
    "W4": reads.metadata,
    "W5": reads.frames,
    "W6": reads.instances,
    "W7": renderings.rendered,
    "W8": stores.until_visible,
    "W9": dimse.query_retrieve,
    "W3": searches.searches,
}
