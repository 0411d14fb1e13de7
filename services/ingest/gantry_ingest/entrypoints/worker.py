"""One worker of the DIMSE listener: associations on connections from the shared socket."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from dataclasses import dataclass
from functools import partial

import uvloop
from gantry_dimse.listening import Listener
from gantry_telemetry.logs import get_logger
from gantry_telemetry.tracing import flush_traces
from gantry_web.lifeline import end_with_process

from gantry_ingest.adapters.slots import AssociationSlots
from gantry_ingest.archive import Archive
from gantry_ingest.bootstrap import build_worker, configure_process
from gantry_ingest.entrypoints.listener import LISTENER_PID
from gantry_ingest.settings import IngestSettings
from gantry_ingest.tls import TlsReloader

log = get_logger(__name__)

# How often a worker looks how many associations the others have.
_TICK_SECONDS = 0.2
# How long a connection is left to a worker that has fewer associations: that one may be stuck.
_POLITE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Sockets:
    """What all workers accept from."""

    plain: socket.socket
    tls: socket.socket | None = None


class Sharing:
    """Decides whether a worker takes connections from the socket that all of them share."""

    def __init__(self, settings: IngestSettings, slots: AssociationSlots) -> None:
        self._maximum = settings.maximum_associations
        self._share = -(-settings.maximum_associations // settings.dimse_workers)
        self._slots = slots

    def delay(self, count: int) -> float | None:
        """Return after how many seconds a worker with ``count`` associations takes a connection.

        ``None`` leaves it to the others. One above its share does that; but when all are full it
        takes the connection, to tell the peer so at once.
        """
        counts = self._slots.counts()
        if sum(counts) >= self._maximum:
            return 0.0
        if count >= self._share:
            return None
        return 0.0 if count <= min(counts) else _POLITE_SECONDS


async def serve(settings: IngestSettings, sockets: Sockets, slots: AssociationSlots, number: int) -> None:
    """Serve until SIGTERM or SIGINT, then let what is in hand finish and close the batch."""
    stopping = asyncio.Event()
    changed = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stopping.set)
    parts = await build_worker(settings)
    archive = Archive(settings, parts, slots, number, changed.set)
    listeners = [Listener(sockets.plain, archive, maximum_unassociated=settings.maximum_unassociated)]
    tls_files = settings.tls_files()
    reloader = TlsReloader(tls_files) if tls_files is not None and sockets.tls is not None else None
    if reloader is not None and sockets.tls is not None:
        limit = settings.maximum_unassociated
        listeners.append(Listener(sockets.tls, archive, tls=reloader.context, maximum_unassociated=limit))
    upkeep = [asyncio.create_task(parts.failures.run())]
    # One worker of a listener is enough to bring reports; of several listeners, the lock chooses.
    if number == 0:
        upkeep.append(asyncio.create_task(parts.reports.run(settings.commitment_retry_seconds)))
    sharing = Sharing(settings, slots)
    slots.set_serving(number, serving=True)
    log.info("worker_started", worker=number)
    stopped = asyncio.create_task(stopping.wait())
    while not stopping.is_set():
        delay = sharing.delay(archive.association_count)
        for listener in listeners:
            listener.accept(accepting=delay is not None, delay=delay or 0.0)
        if reloader is not None and reloader.look():
            listeners[-1].use(reloader.context)
        changed.clear()
        await asyncio.wait(
            {stopped, change := asyncio.create_task(changed.wait())},
            timeout=_TICK_SECONDS,
            return_when=asyncio.FIRST_COMPLETED,
        )
        change.cancel()
    await asyncio.gather(*(listener.close(settings.drain_seconds) for listener in listeners))
    for task in upkeep:
        task.cancel()
    await asyncio.gather(*upkeep, return_exceptions=True)
    await parts.close()
    flush_traces()
    log.info("worker_stopped", worker=number)


def work(
    settings: IngestSettings,
    listener_descriptor: int,
    slots_descriptor: int,
    number: int,
    tls_descriptor: int | None = None,
) -> None:
    """Run one worker on inherited descriptors until SIGTERM or SIGINT."""
    configure_process(settings)
    # A listener that was killed tells nobody; an orphan would keep the port from the next one.
    listener = int(os.environ[LISTENER_PID])
    end_with_process(listener, partial(os.kill, os.getpid(), signal.SIGTERM))
    tls = None if tls_descriptor is None else socket.socket(fileno=tls_descriptor)
    sockets = Sockets(socket.socket(fileno=listener_descriptor), tls)
    slots = AssociationSlots(slots_descriptor, settings.dimse_workers, settings.maximum_associations)
    uvloop.run(serve(settings, sockets, slots, number))
