"""Studies to open in a viewer, one a way of showing: each of a patient of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit

from gantry_testing.synthetic import phantoms
from gantry_testing.synthetic.modules import dataset, reference
from gantry_testing.synthetic.plans import PixelPlan, Pixels
from gantry_testing.synthetic.studies import make_series, make_study, stream_series
from gantry_testing.synthetic.values import EXPLICIT_LE, Instance, Patient, Series, make_uid

SLICES, FRAMES = 8, 24
SIZE = (256, 256)


@dataclass(frozen=True, slots=True)
class StudyToView:
    """A study: what a list of studies says of it, and its instances."""

    study_uid: str
    patient_name: str
    description: str
    instances: tuple[Instance, ...]


def studies_to_view() -> dict[str, StudyToView]:
    """Return the studies by what is special about them; the same bytes on every call."""
    makers: Mapping[str, Callable[[Series], list[Instance]]] = {
        "CT": _ct,
        "MR": _mr,
        "US cine": _us_cine,
        "JPEG 2000": lambda series: _ct(series, JPEG2000Lossless),
        "SEG": _segmented,
        "PDF": lambda series: list(stream_series(series, "PDF")),
    }
    return {name: _study(number, name, make) for number, (name, make) in enumerate(makers.items(), 1)}


def _study(number: int, name: str, make: Callable[[Series], list[Instance]]) -> StudyToView:
    family_name = "".join(name.split()).capitalize()
    patient = Patient(patient_id=f"VIEW-{number}", patient_name=f"{family_name}^Vera")
    study = replace(
        make_study(0, number, patient),
        study_uid=make_uid("study to view", name),
        study_description=f"{name} to view",
    )
    instances = make(replace(make_series(study), series_description=f"{name} series"))
    return StudyToView(study.study_uid, patient.patient_name, study.study_description, tuple(instances))


def _ct(series: Series, transfer_syntax: str = EXPLICIT_LE) -> list[Instance]:
    def paint(number: int, _frame: int, plan: PixelPlan) -> Pixels:
        return phantoms.thorax((number - 1) / SLICES, plan, number)

    return list(
        stream_series(
            series, "CT", instances=SLICES, size=SIZE, transfer_syntax=transfer_syntax, painter=paint
        )
    )


def _mr(series: Series) -> list[Instance]:
    def paint(number: int, _frame: int, plan: PixelPlan) -> Pixels:
        return phantoms.brain((number - 1) / SLICES, plan)

    return list(stream_series(series, "MR", instances=SLICES, size=SIZE, painter=paint))


def _us_cine(series: Series) -> list[Instance]:
    def paint(number: int, frame: int, plan: PixelPlan) -> Pixels:
        return phantoms.beating_heart((frame - 1) / FRAMES, plan, number)

    return list(
        stream_series(
            series, "US_CINE", frames=FRAMES, size=(240, 320), transfer_syntax=JPEGBaseline8Bit, painter=paint
        )
    )


def _segmented(series: Series) -> list[Instance]:
    """Return a CT, and a segmentation of its slices: a disc that grows from the first to the last."""
    images = _ct(series)

    def paint(_number: int, frame: int, plan: PixelPlan) -> Pixels:
        y, x = np.ogrid[: plan.rows, : plan.columns]
        radius = plan.rows * (0.1 + 0.015 * frame)
        inside = (y - plan.rows / 2) ** 2 + (x - plan.columns / 2) ** 2 < radius**2
        return inside.astype(np.uint8)

    def refer(ds: Dataset) -> None:
        references = [reference(image.sop_class_uid, image.sop_uid) for image in images]
        ds.ReferencedSeriesSequence = [
            dataset(SeriesInstanceUID=series.series_uid, ReferencedInstanceSequence=references)
        ]
        for frame, image in zip(ds.PerFrameFunctionalGroupsSequence, images, strict=True):
            source = reference(image.sop_class_uid, image.sop_uid)
            frame.DerivationImageSequence = [dataset(SourceImageSequence=[source])]

    own = replace(make_series(series.study, 2), series_description="Disc")
    return [*images, *stream_series(own, "SEG", frames=SLICES, size=SIZE, painter=paint, amend=refer)]
