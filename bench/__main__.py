"""``python -m bench``: rates and latencies of the whole stack on this machine."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gantry_testing.dimse import SUCCESS, Outgoing, Sender
from gantry_testing.stack import Stack
from gantry_testing.synthetic.studies import generate_study
from gantry_testing.synthetic.values import Instance
from gantry_testing.web import ANY_TRANSFER_SYNTAX, DICOM_JSON, OCTETS, WebClient

BATCH = 32
READS = 200


def main() -> None:
    """Run every measurement once and print a table."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--store", choices=("file", "s3"), default="file")
    parser.add_argument("--instances", type=int, default=200, help="CT instances of 526 kB a measurement")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="gantry-bench-") as folder,
        Stack(Path(folder), store=options.store) as stack,
        stack.web() as web,
    ):
        print(f"{'':<44}{'rate':>12}{'p50 ms':>10}{'p95 ms':>10}")
        measure_stores(stack, options.instances)
        measure_reads(web, generate_study(3, "CT", instances=options.instances))


def measure_stores(stack: Stack, count: int) -> None:
    """STOW-RS in batches over one and four connections, C-STORE over one association."""
    for seed, clients in ((1, 1), (2, 4)):
        instances = generate_study(seed, "CT", instances=count)
        batches = [[item.data for item in instances[at : at + BATCH]] for at in range(0, count, BATCH)]
        report(f"STOW-RS, {BATCH} a request, {clients} at a time", store_all(stack, batches, clients), count)
    instances = generate_study(3, "CT", instances=count)
    with Sender(stack.peer, [(instances[0].sop_class_uid, instances[0].transfer_syntax_uid)]) as sender:
        report("C-STORE, one association", [timed(lambda i=i: cstore(sender, i)) for i in instances], count)
    stack.wait_indexed(3 * count)


def store_all(stack: Stack, batches: Sequence[list[bytes]], clients: int) -> list[float]:
    """Send every batch; the seconds of each, by the clock of the slowest client."""

    def work(hand: Sequence[list[bytes]]) -> list[float]:
        with stack.web() as web:
            return [timed(lambda batch=batch: stow(web, batch)) for batch in hand]

    with ThreadPoolExecutor(clients) as pool:
        hands = list(pool.map(work, [batches[n::clients] for n in range(clients)]))
    return max(hands, key=sum)


def measure_reads(web: WebClient, instances: Sequence[Instance]) -> None:
    """Search, metadata, frames and whole instances of a study that is there."""
    study, series = (
        instances[0].study_uid,
        f"/studies/{instances[0].study_uid}/series/{instances[0].series_uid}",
    )
    some = [instances[n % len(instances)].sop_uid for n in range(READS)]
    cases: Sequence[tuple[str, list[str], str]] = (
        ("QIDO-RS, study by UID", [f"/studies?StudyInstanceUID={study}"] * READS, DICOM_JSON),
        ("QIDO-RS, instances of a series", [f"{series}/instances?limit=100"] * 50, DICOM_JSON),
        ("WADO-RS, metadata of the series", [f"{series}/metadata"] * 20, DICOM_JSON),
        ("WADO-RS, one frame", [f"{series}/instances/{uid}/frames/1" for uid in some], OCTETS),
        ("WADO-RS, one instance", [f"{series}/instances/{uid}" for uid in some], ANY_TRANSFER_SYNTAX),
        (
            "WADO-RS, rendered",
            [f"{series}/instances/{uid}/rendered" for uid in some[:50]],
            "image/jpeg",
        ),
        ("WADO-RS, the series", [series] * 3, ANY_TRANSFER_SYNTAX),
    )
    for name, paths, accept in cases:
        fetch(web, paths[0], accept)  # warm
        report(name, [timed(lambda p=path, a=accept: fetch(web, p, a)) for path in paths], len(paths))


def stow(web: WebClient, batch: list[bytes]) -> None:
    """Store a batch, all of it."""
    answer = web.store(batch)
    if len(answer.stored) != len(batch):
        raise SystemExit(f"{len(answer.stored)} of {len(batch)} stored")


def cstore(sender: Sender, instance: Instance) -> None:
    """Store one instance."""
    item = Outgoing(instance.sop_class_uid, instance.sop_uid, instance.transfer_syntax_uid, instance.data_set)
    if (status := sender.store(item)) != SUCCESS:
        raise SystemExit(f"C-STORE was answered 0x{status:04X}")


def fetch(web: WebClient, path: str, accept: str) -> None:
    """Get something, whole."""
    web.http.get(web.base_url + path, headers={"Accept": accept}).raise_for_status()


def timed(action: Callable[[], None]) -> float:
    """Return how long the action takes."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def report(name: str, seconds: Sequence[float], count: int) -> None:
    """Print one line: things a second, and the spread of the single calls."""
    p95 = statistics.quantiles(seconds, n=20)[-1] if len(seconds) > 1 else seconds[0]
    rate = f"{count / sum(seconds):.1f}/s"
    print(f"{name:<44}{rate:>12}{statistics.median(seconds) * 1000:>10.1f}{p95 * 1000:>10.1f}", flush=True)


if __name__ == "__main__":
    main()
