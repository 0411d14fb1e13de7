"""What a migration does to an emergency: ``python -m gantry_testing.faults.migration --instances 20000``.

Stores live studies one after the other, each from an AE of its own, and measures the time from the
first C-STORE to the answer of a search that finds all of it: first alone, then while a migration of
very many small instances is stored by STOW-RS as fast as it is taken. Both say what they are to
nobody: the archive has to see it. With ``--indexer-away`` the indexer is down while the first part of
the migration arrives, so that the live studies find a backlog before them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

from gantry_testing.dimse import store_all
from gantry_testing.reactor import pause_exactly
from gantry_testing.recording import outgoing
from gantry_testing.stack import Stack
from gantry_testing.synthetic import Instance, generate_study
from gantry_testing.waiting import wait_for
from gantry_testing.web import WebClient

INSTANCES_A_REQUEST = 50
SENDERS = 4
LIVE_INSTANCES = 20
# How long until the last instance of the migration has to be found.
END_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from the first C-STORE of a live study until a search found all of it."""

    studies: int
    median: float
    worst: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of it; rates in instances a second."""

    instances: int
    stored_per_second: float
    # Until the last one was found by searches, from the first store.
    indexed_seconds: float
    deepest_backlog: int
    alone: Latency
    beside: Latency


def main(arguments: list[str] | None = None) -> int:
    """Measure, print a JSON line."""
    parser = argparse.ArgumentParser(prog="python -m gantry_testing.faults.migration", description=__doc__)
    parser.add_argument("--instances", type=int, default=20_000)
    parser.add_argument("--studies", type=int, default=15, help="live studies on each side")
    parser.add_argument("--live-burst", type=int, help="as the setting; 0 lets everybody be live")
    parser.add_argument(
        "--indexer-away", type=float, default=0.0, help="share of the migration stored without"
    )
    parser.add_argument("--store", choices=["file", "s3"], default="file")
    options = parser.parse_args(arguments)
    pause_exactly()
    environment = {} if options.live_burst is None else {"GANTRY_LIVE_BURST": str(options.live_burst)}
    with (
        tempfile.TemporaryDirectory(prefix="gantry-migration-") as folder,
        Stack(Path(folder), store=options.store, environment=environment) as stack,
    ):
        measured = measure(stack, options.instances, options.studies, options.indexer_away)
    sys.stdout.write(json.dumps(asdict(measured)) + "\n")
    return 0


def measure(stack: Stack, instances: int, studies: int, indexer_away: float = 0.0) -> Measured:
    """Measure on a stack that is up and idle; ``studies`` live ones on each side."""
    with stack.web() as web:
        alone = _latencies(stack, web, range(studies))
        requests = iter(_bodies(instances))
        lock, ended = threading.Lock(), threading.Event()
        begun = time.monotonic()
        stored_at: list[float] = []
        senders = [
            threading.Thread(target=_migrate, args=(stack, requests, lock, stored_at)) for _ in range(SENDERS)
        ]
        deepest = [0]
        watch = threading.Thread(target=_watch, args=(stack, ended, deepest))
        if indexer_away:
            stack.kill("indexer")
        for thread in (*senders, watch):
            thread.start()
        # Not before the archive can know: a burst's worth is live for everybody.
        share = max(indexer_away, 0.2)
        wait_for(
            lambda: len(stored_at) * INSTANCES_A_REQUEST > instances * share, "the migration to run", 600
        )
        if indexer_away:
            stack.start_service("indexer")
        beside = _latencies(stack, web, range(studies, 2 * studies))
        if not any(sender.is_alive() for sender in senders):
            sys.stderr.write("note: all of the migration was stored before the last live study\n")
        for sender in senders:
            sender.join()
        stored_seconds = max(stored_at) - begun
        stack.wait_indexed(instances + 2 * studies * LIVE_INSTANCES, seconds=END_SECONDS)
        indexed_seconds = time.monotonic() - begun
        ended.set()
        watch.join()
    return Measured(
        instances=instances,
        stored_per_second=round(instances / stored_seconds, 1),
        indexed_seconds=round(indexed_seconds, 1),
        deepest_backlog=deepest[0],
        alone=alone,
        beside=beside,
    )


def _latencies(stack: Stack, web: WebClient, numbers: Sequence[int]) -> Latency:
    taken = []
    for number in numbers:
        study = generate_study(8_000, "CT", number=number, instances=LIVE_INSTANCES, size=(64, 64))
        peer = replace(stack.peer, calling_ae_title=f"CT{number}")
        begun = time.monotonic()
        statuses = store_all(peer, [outgoing(instance) for instance in study])
        if any(statuses):
            raise ValueError(f"a live instance was refused: {statuses}")
        uid = study[0].study_uid
        wait_for(
            lambda uid=uid: len(web.search("/instances", StudyInstanceUID=uid)) == LIVE_INSTANCES,  # type: ignore[misc]
            "a live study to be found",
            600,
        )
        taken.append(time.monotonic() - begun)
    return Latency(len(taken), round(median(taken), 2), round(max(taken), 2))


def _bodies(instances: int) -> Iterator[list[bytes]]:
    """Yield the files of each request: copies of one small instance under UIDs of their own."""
    (model,) = generate_study(8_100, "SC")
    for first in range(0, instances, INSTANCES_A_REQUEST):
        numbers = range(first, min(first + INSTANCES_A_REQUEST, instances))
        yield [_copy(model, number) for number in numbers]


def _copy(model: Instance, number: int) -> bytes:
    study = number // 100
    data = model.data
    for uid, mark in ((model.sop_uid, number), (model.series_uid, study), (model.study_uid, study)):
        data = data.replace(uid.encode(), f"{uid[:-9]}{1_000_000_00 + mark}".encode()[: len(uid)])
    return data


def _migrate(
    stack: Stack, requests: Iterator[list[bytes]], lock: threading.Lock, stored_at: list[float]
) -> None:
    with stack.web(timeout=300) as web:
        while True:
            with lock:
                files = next(requests, None)
            if files is None:
                return
            answer = web.store(files)
            if len(answer.stored) != len(files):
                raise ValueError(f"stored {len(answer.stored)} of {len(files)}")
            stored_at.append(time.monotonic())


def _watch(stack: Stack, ended: threading.Event, deepest: list[int]) -> None:
    import redis

    with redis.Redis.from_url(stack.valkey.url) as client:
        while not ended.wait(0.5):
            depth = sum(int(client.xlen(name)) for name in ("index.live", "index.bulk", "index.replay"))
            deepest[0] = max(deepest[0], depth)


if __name__ == "__main__":
    sys.exit(main())
