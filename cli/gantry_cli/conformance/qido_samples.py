"""What the Q statements search: four small studies of this run, and how to ask for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from gantry_testing.synthetic.studies import make_series, stream_series
from gantry_testing.synthetic.values import Instance, Patient, Study, make_uid
from gantry_testing.web import DICOM_JSON, uids
from pydicom.dataset import Dataset

from gantry_cli.conformance.server import Pairs, Server
from gantry_cli.conformance.statements import expect

Json = dict[str, Any]

STUDY_UID, SERIES_UID, SOP_UID = "0020000D", "0020000E", "00080018"
CREATOR = "GANTRY CONFORMANCE"
_SIZE = (16, 16)


@dataclass(frozen=True, slots=True)
class Sample:
    """Stored studies by name.

    ``yamada`` has CT and PT series (two instances of CT), a name in ISO 2022 IR 87 and requests;
    ``test`` has MR, ``t_st`` CT, ``empty`` SC with nothing that may be left out. Patient IDs begin
    with ``prefix``.
    """

    prefix: str
    studies: dict[str, list[Instance]]

    @property
    def mine(self) -> tuple[str, str]:
        """The key that finds these studies and no others."""
        return "PatientID", f"{self.prefix}*"

    def uid(self, name: str) -> str:
        """Return the Study Instance UID of a study."""
        return self.studies[name][0].study_uid

    def names(self, study_uids: list[str]) -> list[str]:
        """Return the names of studies, sorted."""
        by_uid = {self.uid(name): name for name in self.studies}
        return sorted(by_uid.get(uid, uid) for uid in study_uids)


def sample(server: Server) -> Sample:
    """Return the studies, stored once a run."""
    found: dict[str, list[Instance]] = {}
    for instance in server.sample("searches", lambda study: list(_make(study))):
        name = instance.series.study.patient.patient_id.rpartition("-")[2]
        found.setdefault(name, []).append(instance)
    some = next(iter(found.values()))[0].series.study.patient.patient_id
    return Sample(some.rpartition("-")[0] + "-", found)


def _make(base: Study) -> Iterator[Instance]:
    yamada = _study(
        base,
        "yamada",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
        study_date="20240102",
        study_time="103000",
        accession_number=f"A{base.patient.patient_id[-12:]}",
        study_description="CR THORAX",
        referring_physician_name="Mueller^Joerg",
    )
    yamada = replace(yamada, patient=replace(yamada.patient, specific_character_set="\\ISO 2022 IR 87"))
    yield from stream_series(make_series(yamada), "CT", instances=2, size=_SIZE, amend=_requested)
    yield from stream_series(make_series(yamada, 2), "PT", size=_SIZE)
    test = _study(base, "test", "TEST^A", study_date="20240103", study_time="080000", study_id="TEST")
    test = replace(test, study_description="CR_THORAX", referring_physician_name="Müller^Jörg")
    yield from stream_series(make_series(test), "MR", size=_SIZE, amend=_commented)
    t_st = _study(base, "t_st", "T_ST^A", study_date="20240104", study_time="120000")
    yield from stream_series(make_series(t_st), "CT", size=_SIZE)
    empty = _study(base, "empty", "Nobody", study_date="20240105", study_time="130000")
    yield from stream_series(make_series(empty), "SC", size=_SIZE, amend=_emptied)


def _study(base: Study, name: str, patient_name: str, **values: str) -> Study:
    patient = Patient(f"{base.patient.patient_id}-{name}", patient_name)
    return replace(base, study_uid=make_uid(base.study_uid, name), patient=patient, **values)


def _requested(dataset: Dataset) -> None:
    request = Dataset()
    request.ScheduledProcedureStepID = "SPS1"
    request.RequestedProcedureID = "RP1"
    other = Dataset()
    other.ScheduledProcedureStepID = "SPS2"
    other.RequestedProcedureID = "RP2"
    dataset.RequestAttributesSequence = [request, other]
    dataset.PerformedProcedureStepStartDate = "20240102"
    dataset.PerformedProcedureStepStartTime = "103500"
    dataset.private_block(0x0021, CREATOR, create=True).add_new(0x01, "LO", "private value")


def _commented(dataset: Dataset) -> None:
    dataset.PatientComments = "Comments of the patient"
    dataset.ImageComments = "Comments of the image"
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "P1", "99GANTRY", "Procedure"
    dataset.ProcedureCodeSequence = [code]


def _emptied(dataset: Dataset) -> None:
    for keyword in ("AccessionNumber", "ReferringPhysicianName", "StudyID", "PatientSex"):
        setattr(dataset, keyword, "")
    for keyword in ("StudyDescription", "SeriesDescription"):
        if keyword in dataset:
            delattr(dataset, keyword)


def search(server: Server, path: str, *params: tuple[str, str]) -> list[Json]:
    """Return the matches of a search; raises ``Broken`` unless it is answered 200 in DICOM JSON."""
    found, _ = search_with_warnings(server, path, *params)
    return found


def search_with_warnings(server: Server, path: str, *params: tuple[str, str]) -> tuple[list[Json], list[str]]:
    """Return the matches of a search, and the lines of its Warning headers."""
    answer = server.get(path, DICOM_JSON, list(params))
    expect(answer.status_code == 200, f"{path} {_shown(params)} answered {answer.status_code}")
    found: list[Json] = answer.json()
    return found, answer.headers.get_list("warning")


def expect_studies(server: Server, names: list[str], *params: tuple[str, str]) -> None:
    """Expect exactly these studies of the sample, whatever is stored besides."""
    ours = sample(server)
    found = ours.names(uids(search(server, "/studies", ours.mine, *params), STUDY_UID))
    expect(found == sorted(names), f"{_shown(params)} finds {found}, not {sorted(names)}")


def expect_status(server: Server, path: str, params: Pairs, status: int) -> None:
    """Expect a search to be answered with ``status``."""
    answer = server.get(path, DICOM_JSON, params)
    expect(answer.status_code == status, f"{path} {_shown(params)} answered {answer.status_code}")


def _shown(params: Pairs | tuple[tuple[str, str], ...]) -> str:
    return "&".join(f"{name}={value}" for name, value in params)
