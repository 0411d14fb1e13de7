"""The study of 500 CT slices (263 MB) that reads are measured on, and untimed stores."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence

from bench import checks, population
from bench.connection import Request
from bench.driving import Bench
from bench.generator import Kind, Parts, ct, instance, series_uid, sop_uid, study_uid

INSTANCES = 500
STUDY = 300_000
DICOM_JSON = "application/dicom+json"
PER_REQUEST = 50
_BOUNDARY = "gantrybench"
_ATTEMPTS = 4
_JOIN_BYTES = 1 << 20


def stow_request(parts: Sequence[Parts]) -> Request:
    """Return one STOW-RS request with these instances."""
    body: list[bytes | memoryview] = []
    for number, (head, tail) in enumerate(parts):
        begin = "\r\n" if number else ""
        opening = f"{begin}--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body += [opening + head, tail]
    body.append(f"\r\n--{_BOUNDARY}--\r\n".encode())
    if sum(map(len, body)) < _JOIN_BYTES:
        body = [b"".join(body)]
    content_type = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'
    return Request("/studies", DICOM_JSON, "POST", body, content_type)


async def store(bench: Bench, batches: Sequence[Sequence[Callable[[], Parts]]], clients: int = 2) -> None:
    """Store untimed; an answer that is wrong is asked for again a few times.

    Raises ``RuntimeError`` when it stays wrong.
    """
    waiting = iter(batches)

    async def client() -> None:
        connection = bench.target.connection()
        try:
            for batch in waiting:
                request = stow_request([make() for make in batch])
                for attempt in range(1, _ATTEMPTS + 1):
                    answer = await connection.send(request, keep=True)
                    wrong = checks.stored(len(batch))(0, answer)
                    if not wrong:
                        break
                    if attempt == _ATTEMPTS:
                        raise RuntimeError(f"STOW {answer.status}: {wrong}")
        finally:
            connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))


async def store_series(bench: Bench, study: int) -> None:
    """Store a study of 500 slices."""
    makers = [_slice(bench, study, number) for number in range(INSTANCES)]
    await store(bench, [makers[at : at + PER_REQUEST] for at in range(0, INSTANCES, PER_REQUEST)])


async def the_series(bench: Bench) -> str:
    """Return the path of the series of 500, stored when it is not there."""
    connection = bench.target.connection()
    uid = study_uid(bench.scope.namespace, STUDY)
    answer = await connection.send(Request(f"/studies?StudyInstanceUID={uid}", DICOM_JSON), keep=True)
    connection.close()
    if not answer.body or not json.loads(answer.body):
        await store_series(bench, STUDY)
    return series_path(bench, STUDY)


def series_path(bench: Bench, study: int) -> str:
    """Return the path of a study's only series."""
    namespace = bench.scope.namespace
    return f"/studies/{study_uid(namespace, study)}/series/{series_uid(namespace, study, 0)}"


def instance_path(bench: Bench, study: int, number: int) -> str:
    """Return the path of an instance of a study's only series."""
    return f"{series_path(bench, study)}/instances/{sop_uid(bench.scope.namespace, study, 0, number)}"


def getting(path: Callable[[int], str], accept: str = DICOM_JSON) -> Callable[[int], Request]:
    """Return what makes request ``k``: a GET of ``path(k)``."""
    return lambda k: Request(path(k), accept)


def scattered(k: int) -> int:
    """Return which of the 500 request ``k`` is about: each in turn, never two neighbours."""
    return (k * 37) % INSTANCES


def population_maker(number: int) -> Callable[[], Parts]:
    """Return what makes the instance of a study of the population."""
    return lambda: population.instance(number)


def object_maker(bench: Bench, kind: Kind, study: int) -> Callable[[], Parts]:
    """Return what makes the only instance of a study."""
    return lambda: instance(kind, bench.scope.namespace, study, 0, 0)


def _slice(bench: Bench, study: int, number: int) -> Callable[[], Parts]:
    return lambda: ct(bench.scope.namespace, study, number)
