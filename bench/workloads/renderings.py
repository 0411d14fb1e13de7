"""W7: pictures."""

from __future__ import annotations

from collections.abc import Callable

from bench import checks
from bench.driving import Bench, Load
from bench.generator import study_uid
from bench.workloads.series import STUDY, getting, instance_path, scattered, the_series

_JPEG, _PNG = "image/jpeg", "image/png"
_SIGNATURES = {_JPEG: b"\xff\xd8", _PNG: b"\x89PNG"}


async def rendered(bench: Bench) -> None:
    """Measure rendered instances and thumbnails of the three levels."""
    series = await the_series(bench)
    study = f"/studies/{study_uid(bench.scope.namespace, STUDY)}"

    def of_instance(end: str) -> Callable[[int], str]:
        return lambda k: f"{instance_path(bench, STUDY, scattered(k))}/{end}"

    window = "rendered?window=40,400,linear&viewport=128,128"
    cases = (
        ("rendered JPEG 512x512, c=1", of_instance("rendered"), _JPEG, 200, 1),
        ("rendered JPEG 512x512, c=8", of_instance("rendered"), _JPEG, 800, 8),
        ("rendered PNG 512x512, c=8", of_instance("rendered"), _PNG, 400, 8),
        ("rendered JPEG window=40,400,linear viewport=128,128, c=8", of_instance(window), _JPEG, 400, 8),
        ("thumbnail of instance, c=8", of_instance("thumbnail"), _JPEG, 400, 8),
        ("thumbnail of series, c=8", lambda _: f"{series}/thumbnail", _JPEG, 400, 8),
        ("thumbnail of study, c=8", lambda _: f"{study}/thumbnail", _JPEG, 400, 8),
    )
    for name, path, media_type, n, clients in cases:
        await bench.drive(
            "W7",
            name,
            Load(
                getting(path, media_type),
                bench.scope.count(n),
                clients,
                checks.begins(_SIGNATURES[media_type]),
            ),
        )
