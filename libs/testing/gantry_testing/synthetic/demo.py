"""The patient of the demonstration: a CT with a prior, an MR, an echocardiogram, old films."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pydicom.dataset import Dataset
from pydicom.uid import JPEGBaseline8Bit, RLELossless

from gantry_testing.synthetic import phantoms
from gantry_testing.synthetic.plans import PixelPlan, Pixels
from gantry_testing.synthetic.studies import Painter, make_series, make_study, stream_series
from gantry_testing.synthetic.values import EXPLICIT_LE, Instance, Patient, Series, Study, make_uid

PATIENT = Patient(
    patient_id="GANTRY-DEMO",
    patient_name="Phantom^Synthia",
    patient_birth_date="19690721",
    patient_sex="F",
)


def demo_patient(*, slices: int = 48) -> Iterator[Instance]:
    """Yield the instances of five studies of one patient, study after study.

    About five times ``slices`` instances; the same bytes on every call.
    """
    current = _study(0, "20240614", "CT chest with contrast")
    yield from _ct(_series(current, 1, "Chest 1.0 soft tissue", "CHEST"), slices, "20240614")
    yield from _ct(_series(current, 2, "Chest 1.0 lung", "CHEST"), slices, "20240614", lung=True)
    prior = _study(1, "20230302", "CT chest, follow-up")
    yield from _ct(_series(prior, 1, "Chest 1.0 soft tissue", "CHEST"), slices, "20230302")
    head = _study(2, "20240201", "MR head")
    for number, weighting in enumerate(("T1", "T2"), 1):
        yield from _mr(_series(head, number, f"{weighting} axial", "HEAD"), slices // 2, weighting)
    heart = _study(3, "20231120", "Echocardiogram")
    yield from _us(_series(heart, 1, "Apical four chamber", "HEART"))
    film = _study(4, "20190408", "Chest radiograph")
    yield from stream_series(_series(film, 1, "PA", "CHEST"), "DX", painter=_film)


def _study(number: int, date: str, description: str) -> Study:
    return replace(
        make_study(0, number, PATIENT),
        study_uid=make_uid("demonstration", number),
        study_date=date,
        accession_number=f"DEMO{number + 1:04d}",
        study_description=description,
    )


def _series(study: Study, number: int, description: str, body_part: str) -> Series:
    return replace(make_series(study, number), series_description=description, body_part_examined=body_part)


def _ct(series: Series, slices: int, date: str, *, lung: bool = False) -> Iterator[Instance]:
    seed = int(date) + lung

    def paint(number: int, _frame: int, plan: PixelPlan) -> Pixels:
        return phantoms.thorax((number - 1) / max(1, slices - 1), plan, seed)

    def amend(ds: Dataset) -> None:
        if lung:
            ds.WindowCenter, ds.WindowWidth, ds.ConvolutionKernel = -600, 1600, "B60f"

    yield from stream_series(series, "CT", instances=slices, painter=paint, amend=amend)


def _mr(series: Series, slices: int, weighting: str) -> Iterator[Instance]:
    def paint(number: int, _frame: int, plan: PixelPlan) -> Pixels:
        return phantoms.brain((number - 1) / max(1, slices - 1), plan, weighting)

    # One of the two compressed, so that a viewer meets both.
    syntax = RLELossless if weighting == "T1" else EXPLICIT_LE
    yield from stream_series(series, "MR", instances=slices, transfer_syntax=syntax, painter=paint)


def _us(series: Series) -> Iterator[Instance]:
    frames = 36

    def paint(number: int, frame: int, plan: PixelPlan) -> Pixels:
        return phantoms.beating_heart((frame - 1) / frames, plan, number)

    painter: Painter = paint
    yield from stream_series(
        series,
        "US_CINE",
        instances=3,
        frames=frames,
        size=(480, 640),
        transfer_syntax=JPEGBaseline8Bit,
        painter=painter,
    )


def _film(_number: int, _frame: int, plan: PixelPlan) -> Pixels:
    return phantoms.chest_film(plan)
