"""Nothing that identifies a patient reaches a log, whatever goes wrong."""

from __future__ import annotations

import io
import zlib

import pydicom
from gantry_testing.dimse import Outgoing, store_all
from gantry_testing.synthetic.mutations import mutations
from gantry_testing.synthetic.population import population
from gantry_testing.waiting import wait_for

# Identifying attributes (PS3.15 Table E.1-1, an excerpt).
KEYWORDS = (
    "PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "StudyDate", "StudyDescription",
    "ReferringPhysicianName", "SeriesDescription",
)  # fmt: skip
# Shorter values ("F", "S1") are found in any text.
SHORTEST = 6


def test_logs_hold_nothing_that_was_sent_about_patients(stack):
    instances = list(population(25, seed=77))
    broken = list(mutations(seed=77))
    with stack.web("logs") as web:
        web.store([i.data for i in instances])
        for mutation in broken:
            web.store([mutation.data])
        for instance in instances:
            name = instance.patient.patient_name
            web.search("/studies", PatientName=name, PatientID=instance.patient.patient_id)
        web.get("/studies?PatientID=Searched-For-1&StudyDate=nonsense-of-SOMEBODY")
        web.get("/studies/1.2.3/series?PatientName=Sought^Someone")
        web.get("/studies/Sought-By-Name/metadata")
    store_all(stack.peer, [_outgoing(i) for i in instances])
    store_all(stack.peer, [_malformed(i) for i in instances[:5]])
    wait_for(lambda: "store_refused" in stack.log_text(), "the refusals to be logged")

    sent = {"Searched-For-1", "nonsense-of-SOMEBODY", "Sought^Someone", "Sought-By-Name"}
    for file in [*(i.data for i in instances), *(m.data for m in broken)]:
        sent |= _identifying(file)
    assert len(sent) > 100
    text = stack.log_text()
    assert instances[0].study_uid in text or "http_request" in text, "the logs are not those of this run"
    leaked = {value for value in sent if value in text}
    assert not leaked


def _outgoing(instance):
    return Outgoing(instance.sop_class_uid, instance.sop_uid, instance.transfer_syntax_uid, instance.data_set)


def _malformed(instance):
    return Outgoing(
        instance.sop_class_uid, instance.sop_uid, instance.transfer_syntax_uid, instance.data_set[:-50]
    )


def _identifying(file):
    try:
        ds = pydicom.dcmread(io.BytesIO(file), force=True, stop_before_pixels=True)
        values = [str(ds.get(keyword, "") or "") for keyword in KEYWORDS]
    except (OSError, ValueError, NotImplementedError, RecursionError, zlib.error):
        return set()
    # Each component of a name on its own too.
    parts = {part for value in values for part in (value, *value.replace("=", "^").split("^"))}
    return {part.strip() for part in parts if len(part.strip()) >= SHORTEST and "�" not in part}
