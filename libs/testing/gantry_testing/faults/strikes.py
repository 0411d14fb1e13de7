"""What can befall a service, and the way from a service to the object store.

Each strike is a generator that takes its steps on the main thread and yields how many seconds
pass before the next; when it ends, what it broke is whole again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from gantry_testing.fault_proxy import Fault, Point, Weather
from gantry_testing.faults.scene import TICK_SECONDS, Scene, clock_library

Strike = Callable[[Scene, str], Iterator[float]]


@dataclass(frozen=True, slots=True)
class FaultPoint:
    """A moment in a service's work: the request to the object store on either side of it."""

    name: str
    request_line: bytes
    point: Point


def _both(what: str, request_line: bytes) -> tuple[FaultPoint, FaultPoint]:
    return (
        FaultPoint(f"{what}: asked for, not done", request_line, Point.REQUEST),
        FaultPoint(f"{what}: done, not known", request_line, Point.ANSWER),
    )


_JOURNAL = _both("journal entry", rb"PUT /gantry/j/")
_OBJECT = _both("object", rb"PUT /gantry/o/")
_PART = _both("part of a huge object", rb"PUT /gantry/o/.*partNumber=2")
_COMPLETE = _both("completion of a huge object", rb"POST /gantry/o/.*uploadId=")
_MANIFEST = _both("manifest", rb"PUT /gantry/m/")
_RELEASE = _both("release of a journal entry", rb"DELETE /gantry/j/")
_BELIEVE = _both("look for journal entry or manifest", rb"(GET|HEAD) /gantry/[jm]/")
_READ = _both("reading an object again", rb"GET /gantry/o/")

POINTS: Mapping[str, tuple[FaultPoint, ...]] = {
    "ingest": (*_JOURNAL, *_OBJECT, *_PART, *_COMPLETE, *_MANIFEST),
    "gateway": (*_JOURNAL, *_OBJECT, *_PART, *_COMPLETE, *_MANIFEST),
    "indexer": (*_BELIEVE, *_READ),
    "indexer-worker": (*_BELIEVE, *_READ),
    "storage": (*_MANIFEST, *_RELEASE, *_BELIEVE),
}


def kill(scene: Scene, service: str) -> Iterator[float]:
    """End it as a power failure would, at any moment."""
    scene.tell(f"SIGKILL {service}")
    scene.kill(service)
    yield from scene.until_ready(service)


def freeze(scene: Scene, service: str) -> Iterator[float]:
    """Let it stand still, for less than a lease or for longer, and go on as if nothing had been."""
    seconds = scene.dice.uniform(0.3, 3 * scene.lease_seconds)
    if scene.stack.is_alive(service):
        scene.tell(f"SIGSTOP {service} for {seconds:.1f} s")
        scene.stack.pause(service)
        yield seconds
        scene.stack.resume(service)


def _at_point(scene: Scene, service: str, then: Strike) -> Iterator[float]:
    point = scene.dice.choice(POINTS[service])
    hold = scene.stack.proxies[service].hold(point.request_line, point.point)
    try:
        while not hold.reached.is_set():
            if scene.ending:
                scene.tell(f"{service} never came to: {point.name}")
                return
            yield TICK_SECONDS
        scene.tell(f"{service} is at: {point.name}")
        yield from then(scene, service)
    finally:
        hold.release()


def kill_at_point(scene: Scene, service: str) -> Iterator[float]:
    """End it at a named moment of its work."""
    yield from _at_point(scene, service, kill)


def freeze_at_point(scene: Scene, service: str) -> Iterator[float]:
    """Let it stand still at a named moment of its work."""
    yield from _at_point(scene, service, freeze)


def _weather(scene: Scene, service: str, weather: Weather) -> Iterator[float]:
    seconds = scene.dice.uniform(1.0, 5.0)
    shares = ", ".join(f"{share:.0%} {fault.value}" for fault, share in weather.shares.items())
    scene.tell(f"the store shows {service}: {shares}, for {seconds:.1f} s")
    proxy = scene.stack.proxies[service]
    proxy.set_weather(weather)
    yield seconds
    proxy.set_weather()


def slow_down(scene: Scene, service: str) -> Iterator[float]:
    """The store asks for fewer requests."""
    return _weather(scene, service, Weather({Fault.SLOW_DOWN: scene.dice.choice((0.2, 0.6, 1.0))}))


def bad_connections(scene: Scene, service: str) -> Iterator[float]:
    """Connections to the store are reset, before and after it has done what was asked."""
    share = scene.dice.choice((0.1, 0.25, 0.5))
    return _weather(scene, service, Weather({Fault.RESET: share, Fault.LOST_ANSWER: share}))


def stalls(scene: Scene, service: str) -> Iterator[float]:
    """Requests to the store stall half way, for longer than a lease."""
    return _weather(scene, service, Weather({Fault.STALL: 0.3}, stall_seconds=2 * scene.lease_seconds))


def slow_store(scene: Scene, service: str) -> Iterator[float]:
    """The store's discs are slow: every request takes up to a lease longer."""
    seconds = scene.dice.choice((0.1, 0.5, 1.2)) * scene.lease_seconds
    return _weather(scene, service, Weather({Fault.DELAY: 1.0}, delay_seconds=seconds))


def lost_manifests(scene: Scene, service: str) -> Iterator[float]:
    """Only what is written about instances is lost, not they themselves."""
    requests = re.compile(rb"PUT /gantry/[jm]/")
    return _weather(scene, service, Weather({Fault.LOST_ANSWER: 0.5, Fault.SLOW_DOWN: 0.5}, requests))


def jump_clock(scene: Scene, service: str) -> Iterator[float]:
    """Its wall clock jumps, forward or back; the monotonic one goes on (libfaketime, from a restart on)."""
    library = clock_library()
    if library is None:
        scene.tell("no clock jump: the Debian package libfaketime is not installed")
        return
    jump = scene.dice.choice((-86_400, -3_600, -300, 300, 3_600, 86_400))
    file = scene.stack.folder / f"clock-{service}"
    file.write_text("+0")
    scene.stack.set_environment(
        service,
        {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
            "NO_FAKE_STAT": "1",
        },
    )
    scene.kill(service)
    yield from scene.until_ready(service)
    scene.tell(f"the clock of {service} jumps by {jump:+d} s")
    file.write_text(f"{jump:+d}")
    yield scene.dice.uniform(2.0, 5.0)
    file.write_text("+0")


def second_sweeper(scene: Scene, service: str) -> Iterator[float]:
    """Another storage service runs beside the first until the load has ended."""
    scene.tell("a second sweeper starts")
    scene.stack.launch(service)
    while not scene.ending:
        yield TICK_SECONDS
    scene.kill(service)
