"""The DIMSE listener: one listening socket, worker processes that accept from it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time

from gantry_telemetry.logs import get_logger
from gantry_telemetry.metrics import forget_worker
from gantry_web.health import HealthServer

from gantry_ingest.adapters.slots import AssociationSlots
from gantry_ingest.bootstrap import configure_process
from gantry_ingest.settings import IngestSettings

log = get_logger(__name__)

# The variable by which a worker knows its listener.
LISTENER_PID = "GANTRY_LISTENER_PID"
_BACKLOG = 512
# A worker that dies sooner than this after its start is started again with a delay.
_QUICK_DEATH_SECONDS = 5.0
_RESTART_DELAY_SECONDS = 1.0


class Listener:
    """Owns the socket and the workers; starts a worker again when it dies."""

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings
        self._stopping = threading.Event()
        self._socket = _listening(settings.dimse_host, settings.dimse_port)
        self._tls_socket = None
        tls_files = settings.tls_files()
        if tls_files is not None:
            tls_files.context()  # what cannot be used stops us here, not every worker again and again
            self._tls_socket = _listening(settings.dimse_host, settings.dimse_tls_port)
        workers, most = settings.dimse_workers, settings.maximum_associations
        self._slots_descriptor = AssociationSlots.create(workers, most)
        self._slots = AssociationSlots(self._slots_descriptor, workers, most)
        self._workers: dict[int, subprocess.Popen[bytes]] = {}
        self._started: dict[int, float] = {}

    def stop(self) -> None:
        """Ask ``run`` to end; safe in a signal handler."""
        self._stopping.set()

    def ready(self) -> bool:
        """Tell whether at least one worker takes connections."""
        return any(
            worker.poll() is None and self._slots.serving(number)
            for number, worker in list(self._workers.items())
        )

    def run(self) -> None:
        """Keep the workers running until stopped, then stop them and wait."""
        for number in range(self._settings.dimse_workers):
            self._start(number)
        host, port = self._socket.getsockname()[:2]
        log.info("listener_started", host=host, port=port, workers=len(self._workers))
        while not self._stopping.wait(0.2):
            for number, worker in list(self._workers.items()):
                if worker.poll() is not None:
                    self._replace(number, worker)
        self._shut_down()

    def _start(self, number: int) -> None:
        self._slots.set_serving(number, serving=False)
        descriptors = [self._socket.fileno(), self._slots_descriptor]
        arguments = [str(self._socket.fileno()), str(self._slots_descriptor), str(number)]
        if self._tls_socket is not None:
            descriptors.append(self._tls_socket.fileno())
            arguments.append(str(self._tls_socket.fileno()))
        self._workers[number] = subprocess.Popen(
            [sys.executable, "-m", "gantry_ingest", "work", *arguments],
            pass_fds=descriptors,
            env=os.environ | {LISTENER_PID: str(os.getpid())},
        )
        self._started[number] = time.monotonic()

    def _replace(self, number: int, dead: subprocess.Popen[bytes]) -> None:
        forget_worker(dead.pid)
        log.error("worker_died", worker=number, exit_code=dead.returncode)
        self._slots.publish(number, ())
        if time.monotonic() - self._started[number] < _QUICK_DEATH_SECONDS:
            self._stopping.wait(_RESTART_DELAY_SECONDS)
        if not self._stopping.is_set():
            self._start(number)

    def _shut_down(self) -> None:
        for worker in self._workers.values():
            worker.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + self._settings.drain_seconds + 10.0
        for number, worker in self._workers.items():
            try:
                worker.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("worker_killed", worker=number)
                worker.kill()
                worker.wait()
        self._socket.close()
        if self._tls_socket is not None:
            self._tls_socket.close()
        log.info("listener_stopped")


def _listening(host: str, port: int) -> socket.socket:
    listening = socket.create_server((host, port), backlog=_BACKLOG, reuse_port=False)
    listening.set_inheritable(True)
    return listening


def listen(settings: IngestSettings) -> None:
    """Run the listener until SIGTERM or SIGINT."""
    configure_process(settings)
    listener = Listener(settings)
    signal.signal(signal.SIGTERM, lambda *_: listener.stop())
    signal.signal(signal.SIGINT, lambda *_: listener.stop())
    health = (
        HealthServer(settings.http_host, settings.http_port, listener.ready) if settings.http_port else None
    )
    if health:
        health.start()
    listener.run()
    if health:
        health.stop()
