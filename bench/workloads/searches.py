"""W3: QIDO-RS on a population of studies, every number of matches known."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from bench import checks, population
from bench.driving import Bench, Load
from bench.generator import sop_uid, study_uid
from bench.workloads.series import INSTANCES, getting, population_maker, store, the_series

CLIENTS = 8
PAGE = 50
_ASKED = 5000


@dataclass(frozen=True, slots=True)
class _Case:
    name: str
    path: Callable[[int], str]
    expected: Callable[[int], int] | None


async def searches(bench: Bench) -> None:
    """Store the population when asked to, then search it."""
    count = bench.scope.population
    if bench.scope.load:
        makers = [population_maker(number) for number in range(count)]
        await store(bench, [makers[at : at + PAGE] for at in range(0, count, PAGE)], clients=4)
    for case in _cases(count):
        await bench.drive(
            "W3",
            f"QIDO N={count} {case.name}, c={CLIENTS}",
            Load(
                getting(case.path),
                bench.scope.count(2000),
                CLIENTS,
                checks.matches(case.expected) if case.expected else None,
                good=(200, 204),
            ),
        )
    path = f"{await the_series(bench)}/instances?limit={INSTANCES}"
    await bench.drive(
        "W3",
        f"QIDO N={count} 500 instances of a series, c={CLIENTS}",
        Load(
            getting(lambda _: path),
            bench.scope.count(400),
            CLIENTS,
            checks.matches(lambda _: INSTANCES),
        ),
    )


def _cases(count: int) -> list[_Case]:
    studies = [population.study(number) for number in range(count)]
    choose = random.Random(5)
    asked = [choose.randrange(count) for _ in range(_ASKED)]
    families = sorted({study.patient_name.split("^")[0] for study in studies})
    choose.shuffle(families)
    days = [population.EPOCH + timedelta(days=choose.randrange(3600)) for _ in range(200)]

    def study_of(k: int) -> population.Study:
        return studies[asked[k % _ASKED]]

    def family(k: int) -> str:
        return families[k % len(families)]

    def fortnight(k: int) -> tuple[str, str]:
        first = days[k % len(days)]
        return f"{first:%Y%m%d}", f"{first + timedelta(days=13):%Y%m%d}"

    def in_fortnight(k: int) -> str:
        return "/studies?StudyDate={}-{}".format(*fortnight(k))

    def counted(test: Callable[[population.Study], bool], limit: int = PAGE) -> int:
        return min(limit, sum(map(test, studies)))

    def ct_in_fortnight(k: int) -> int:
        first, last = fortnight(k)
        return counted(lambda study: first <= study.study_date <= last and study.modality == "CT")

    return [
        _Case(
            "PatientID exact",
            lambda k: f"/studies?PatientID={study_of(k).patient_id}&limit={PAGE}",
            lambda k: counted(lambda study: study.patient_id == study_of(k).patient_id),
        ),
        _Case(
            "AccessionNumber exact",
            lambda k: f"/studies?AccessionNumber={study_of(k).accession_number}",
            lambda _: 1,
        ),
        _Case(
            "PatientName prefix wildcard FAM*",
            lambda k: f"/studies?PatientName={family(k)}*&limit={PAGE}",
            lambda k: counted(lambda study: study.patient_name.startswith(family(k))),
        ),
        _Case(
            "PatientName infix wildcard *AM*",
            lambda k: f"/studies?PatientName=*{family(k)[1:5]}*&limit={PAGE}",
            lambda k: counted(lambda study: family(k)[1:5] in study.patient_name),
        ),
        _Case(
            "StudyDate 14 days + ModalitiesInStudy=CT",
            lambda k: f"{in_fortnight(k)}&ModalitiesInStudy=CT&limit={PAGE}",
            ct_in_fortnight,
        ),
        _Case("all, limit=50 offset=0", lambda _: f"/studies?limit={PAGE}&offset=0", lambda _: PAGE),
        _Case(
            "all, limit=50 offset in the middle",
            lambda _: f"/studies?limit={PAGE}&offset={count // 2}",
            lambda _: PAGE,
        ),
        _Case(
            "all, limit=50 offset near the end",
            lambda _: f"/studies?limit={PAGE}&offset={count - 100}",
            lambda _: PAGE,
        ),
        _Case(
            "StudyDate 14 days, includefield=all",
            lambda k: f"{in_fortnight(k)}&limit={PAGE}&includefield=all",
            None,
        ),
        _Case(
            "series of a study",
            lambda k: f"/studies/{study_uid(population.NAMESPACE, asked[k % _ASKED])}/series",
            lambda _: 1,
        ),
        _Case(
            "series by Modality=MR, PatientID",
            lambda k: f"/series?Modality=MR&PatientID={study_of(k).patient_id}",
            lambda k: counted(
                lambda study: study.patient_id == study_of(k).patient_id and study.modality == "MR"
            ),
        ),
        _Case(
            "instance by SOPInstanceUID",
            lambda k: f"/instances?SOPInstanceUID={sop_uid(population.NAMESPACE, asked[k % _ASKED], 0, 0)}",
            lambda _: 1,
        ),
    ]
