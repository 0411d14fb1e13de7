"""Reception for programs made of threads: one event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from types import TracebackType
from typing import Any, Self, TypeVar

from gantry.reception.v1.reception_pb2 import Lane, Reception, Source
from gantry_dicom.errors import Unavailable
from gantry_dicom.gate import Admission
from gantry_objectstore.store import Buffer

from gantry_reception.receiver import Receiver

T = TypeVar("T")


class ThreadedReceiver:
    """A ``Receiver`` whose methods block; call them from any number of threads.

    ``make`` is called on the loop's own thread, so that what it opens belongs to that loop.
    """

    def __init__(self, make: Callable[[], Receiver]) -> None:
        self._make = make
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="reception", daemon=True)
        self._receiver: Receiver | None = None

    def start(self) -> Self:
        """Start the loop and make the receiver; raises what making it raised."""
        self._thread.start()
        try:
            self._receiver = self.run(self._open())
        except BaseException:
            self._stop()
            raise
        return self

    def receive(
        self,
        admission: Admission,
        buffer: Buffer,
        source: Source,
        *,
        partition: str,
        lane: Lane = Lane.LANE_LIVE,
        traceparent: str = "",
        reply_to: str = "",
    ) -> Reception:
        """Store an instance and block until its sender may be told; see ``Receiver.receive``."""
        if self._receiver is None:
            raise Unavailable("reception has not started")
        return self.run(
            self._receiver.receive(
                admission,
                buffer,
                source,
                partition=partition,
                lane=lane,
                traceparent=traceparent,
                reply_to=reply_to,
            )
        )

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run any coroutine on the loop (of the store, of a publisher) and block until it ends."""
        if not self._thread.is_alive():
            coroutine.close()
            raise Unavailable("reception has ended")
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
        except CancelledError:
            raise Unavailable("reception has ended") from None

    def close(self, seconds: float = 10.0) -> None:
        """Close the receiver and end the thread."""
        if self._receiver is not None and self._thread.is_alive():
            self.run(self._receiver.close(seconds))
        self._stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _open(self) -> Receiver:
        return self._make()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            # Whoever still waits in another thread must not wait for ever.
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    def _stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
