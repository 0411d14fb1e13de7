"""W4: metadata. W5: frames. W6: whole instances."""

from __future__ import annotations

import io
import random
from collections.abc import Callable

from pydicom import dcmread
from pydicom.encaps import generate_frames

from bench import checks
from bench.connection import Request
from bench.driving import Bench, Load
from bench.generator import FRAME_BYTES, Kind, instance, pixels, sop_uid, study_uid, template
from bench.workloads.series import (
    DICOM_JSON,
    INSTANCES,
    STUDY,
    getting,
    instance_path,
    object_maker,
    scattered,
    series_path,
    store,
    store_series,
    the_series,
)

_OCTETS = 'multipart/related; type="application/octet-stream"'
_DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'
# Name, what is accepted, whether the frame comes as it is stored.
_AS_STORED = {
    "raw": [("uncompressed", _OCTETS, True)],
    "rle": [
        (
            "RLE as stored",
            'multipart/related; type="image/dicom-rle"; transfer-syntax=1.2.840.10008.1.2.5',
            True,
        ),
        ("RLE decoded by the server", f"{_OCTETS}; transfer-syntax=1.2.840.10008.1.2.1", False),
    ],
    "j2k": [
        (
            "JPEG 2000 lossless as stored",
            'multipart/related; type="image/jp2"; transfer-syntax=1.2.840.10008.1.2.4.90',
            True,
        )
    ],
}


async def metadata(bench: Bench) -> None:
    """Measure metadata of a series of 500: first after it was stored, then warm; and of one instance."""
    study = 310_000
    for number in range(bench.scope.count(3)):
        study = 310_000 + number
        await store_series(bench, study)
        path = f"{series_path(bench, study)}/metadata"
        await bench.drive(
            "W4",
            f"series metadata of 500, first after store #{number}",
            Load(_always(path), 1, 1, warm_up=0),
        )
    whole = f"{series_path(bench, study)}/metadata"
    of_study = f"/studies/{study_uid(bench.scope.namespace, study)}/metadata"
    for name, path, clients, n in (
        ("series", whole, 1, 10),
        ("series", whole, 4, 20),
        ("study", of_study, 1, 10),
    ):
        await bench.drive(
            "W4",
            f"{name} metadata of 500, warm, c={clients}",
            Load(
                _always(path),
                bench.scope.count(n),
                clients,
                checks.metadata(INSTANCES),
                warm_up=1,
                seconds_factor=3,
            ),
        )
    await bench.drive(
        "W4",
        "instance metadata, c=8",
        Load(
            getting(lambda k: f"{instance_path(bench, study, scattered(k))}/metadata"),
            bench.scope.count(1500),
            8,
            checks.metadata(1),
        ),
    )


async def frames(bench: Bench) -> None:
    """Measure frames of single-frame slices and of one object with many."""
    await the_series(bench)
    choose = random.Random(9)
    order = [choose.randrange(INSTANCES) for _ in range(4000)]
    native = [pixels(Kind("ct", variant)) for variant in range(4)]
    for clients, n in ((1, 400), (8, 1500)):
        await bench.drive(
            "W5",
            f"frame 1 of a random single-frame CT, c={clients}",
            Load(
                getting(lambda k: f"{instance_path(bench, STUDY, order[k % len(order)])}/frames/1", _OCTETS),
                bench.scope.count(n),
                clients,
                checks.one_part(lambda k: native[order[k % len(order)] % 4]),
            ),
        )
    for number, codec in enumerate(_AS_STORED):
        await _frames_of_one(bench, codec, 320_000 + number, order)


async def _frames_of_one(bench: Bench, codec: str, study: int, order: list[int]) -> None:
    count = bench.scope.frames
    kind = Kind("mf", frames=count, codec=codec)
    await store(bench, [[object_maker(bench, kind, study)]], clients=1)
    native = pixels(Kind("mf", frames=count), count)
    stored = _frames_in(bench, kind, study)
    base = f"{series_path(bench, study)}/instances/{sop_uid(bench.scope.namespace, study, 0, 0)}/frames"

    def frame(k: int) -> int:
        return order[k % len(order)] % count

    for name, accept, as_stored in _AS_STORED[codec]:
        expected: Callable[[int], bytes] = (
            (lambda k: stored[frame(k)])
            if as_stored
            else (lambda k: native[FRAME_BYTES * frame(k) : FRAME_BYTES * (frame(k) + 1)])
        )
        for clients, n in ((1, 200), (8, 800)):
            await bench.drive(
                "W5",
                f"frame k of {count}-frame {template(kind).size // 1_000_000} MB, {name}, c={clients}",
                Load(
                    getting(lambda k: f"{base}/{frame(k) + 1}", accept),
                    bench.scope.count(n),
                    clients,
                    checks.one_part(expected),
                    warm_up=4,
                ),
            )


def _frames_in(bench: Bench, kind: Kind, study: int) -> list[bytes]:
    if kind.codec == "raw":
        native = pixels(kind, kind.frames)
        return [native[at : at + FRAME_BYTES] for at in range(0, len(native), FRAME_BYTES)]
    data = b"".join(map(bytes, instance(kind, bench.scope.namespace, study, 0, 0)))
    encapsulated = dcmread(io.BytesIO(data)).PixelData
    return list(generate_frames(encapsulated, number_of_frames=kind.frames))


async def instances(bench: Bench) -> None:
    """Measure a series of 500 slices, and one slice at a time."""
    path = await the_series(bench)
    for clients, n in ((1, 4), (4, 8)):
        await bench.drive(
            "W6",
            f"series of 500 x 526 kB as application/dicom, c={clients}",
            Load(
                _always(path, _DICOM),
                bench.scope.count(n),
                clients,
                checks.part_10_files(INSTANCES),
                warm_up=1,
                seconds_factor=12,
                items=INSTANCES,
            ),
        )
    await bench.drive(
        "W6",
        "one 526 kB instance as application/dicom, c=8",
        Load(
            getting(lambda k: instance_path(bench, STUDY, scattered(k)), _DICOM),
            bench.scope.count(1500),
            8,
            checks.part_10_files(1),
            items=1,
        ),
    )


def _always(path: str, accept: str = DICOM_JSON) -> Callable[[int], Request]:
    return getting(lambda _: path, accept)
