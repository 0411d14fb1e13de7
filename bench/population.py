"""What searches are measured on: one series and one tiny instance a study, two studies a patient."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, timedelta

from bench.generator import Kind, Parts, series_uid, sop_uid, study_uid, template

NAMESPACE = 1
EPOCH = date(2015, 1, 1)
DAYS = 3653
_CONSONANTS, _VOWELS = "BCDFGKLMNPRSTV", "AEIOU"
_GIVEN = (
    "ANNA",
    "BEN",
    "CARL",
    "DORA",
    "EMIL",
    "FAY",
    "GUS",
    "HANA",
    "IVAN",
    "JUNE",
    "KARL",
    "LENA",
    "MAX",
    "NINA",
)
_MODALITIES = ("CT", "CT", "CT", "CT", "MR", "MR", "CR", "CR", "US", "SR")


def _family(number: int) -> str:
    choose = random.Random(number * 31 + 7).choice
    return "".join(choose(_CONSONANTS) + choose(_VOWELS) for _ in range(3)) + "SON"


_FAMILIES = tuple(_family(number) for number in range(1000))


@dataclass(frozen=True, slots=True)
class Study:
    """What a search can find of a study."""

    patient_id: str
    patient_name: str
    study_date: str
    accession_number: str
    modality: str
    study_description: str


def study(number: int) -> Study:
    """Return study ``number`` of the population."""
    patient = number // 2
    return Study(
        patient_id=f"Q{patient:09d}",
        patient_name=f"{_FAMILIES[(patient * 7919) % 1000]}^{_GIVEN[patient % len(_GIVEN)]}",
        study_date=(EPOCH + timedelta(days=(number * 7919) % DAYS)).strftime("%Y%m%d"),
        accession_number=f"Q{number:011d}",
        modality=_MODALITIES[(number * 13 + number // 10) % len(_MODALITIES)],
        study_description=f"STUDY TYPE {number % 20:02d}",
    )


def instance(number: int) -> Parts:
    """Return the one instance of study ``number``, in two pieces."""
    of = study(number)
    return template(Kind("small")).fill(
        {
            "StudyInstanceUID": study_uid(NAMESPACE, number),
            "SeriesInstanceUID": series_uid(NAMESPACE, number, 0),
            "SOPInstanceUID": sop_uid(NAMESPACE, number, 0, 0),
            "InstanceNumber": "1",
            "SeriesNumber": "1",
            "PatientID": of.patient_id,
            "PatientName": of.patient_name,
            "StudyDate": of.study_date,
            "AccessionNumber": of.accession_number,
            "Modality": of.modality,
            "StudyDescription": of.study_description,
        }
    )
