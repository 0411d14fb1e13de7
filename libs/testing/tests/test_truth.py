import io
import time

import pydicom
import pytest
from gantry_dicom.query import Exact, Level, PersonName, Query, Range, Wildcard
from gantry_testing.synthetic import generate_study
from gantry_testing.synthetic.population import population
from gantry_testing.truth import TruthTable

PATIENT_NAME, PATIENT_ID, STUDY_DATE = (0x00100010,), (0x00100020,), (0x00080020,)
MODALITY, MODALITIES, NUMBER = (0x00080060,), (0x00080061,), (0x00200013,)
STEP = (0x00400275, 0x00400009)


@pytest.fixture(scope="module")
def instances():
    return list(population(300, seed=1))


@pytest.fixture(scope="module")
def table(instances):
    return TruthTable(i.data for i in instances)


def ask(table, level, *conditions, **parents):
    return table.expected(Query(level, "main", conditions=conditions, **parents))


def test_a_population_is_written_as_its_attributes_say(instances):
    for instance in instances:
        ds = pydicom.dcmread(io.BytesIO(instance.data))
        study = instance.series.study
        assert str(ds.PatientName) == instance.patient.patient_name
        assert ds.StudyDescription == study.study_description
        assert str(ds.ReferringPhysicianName) == study.referring_physician_name
        assert ds.PatientID == instance.patient.patient_id
        assert ds.Modality == instance.modality


def test_a_search_without_conditions_finds_everything(table, instances):
    assert ask(table, Level.STUDY) == {i.study_uid for i in instances}
    assert ask(table, Level.SERIES) == {i.series_uid for i in instances}
    assert ask(table, Level.INSTANCE) == {i.sop_uid for i in instances}


def test_conditions_find_what_a_plain_loop_finds(table, instances):
    first, last = "20180101", "20201231"
    by_date = {i.study_uid for i in instances if first <= i.series.study.study_date <= last}
    assert ask(table, Level.STUDY, Range(STUDY_DATE, first, last)) == by_date
    by_modality = {i.series_uid for i in instances if i.modality == "SR"}
    assert ask(table, Level.SERIES, Exact(MODALITY, "SR")) == by_modality
    literal = {i.study_uid for i in instances if i.patient.patient_id.startswith("P_")}
    assert ask(table, Level.STUDY, Wildcard(PATIENT_ID, "P_*")) == literal
    assert 0 < len(by_date) < 300
    assert by_modality
    assert literal


def test_accents_and_scripts_are_found(table, instances):
    for wanted, written in (("muller*", "Müller"), ("山田*", "Yamada"), ("buc^jerome", "Buc")):
        expected = {i.study_uid for i in instances if i.patient.patient_name.startswith(written)}
        assert ask(table, Level.STUDY, PersonName(PATIENT_NAME, wanted)) == expected


def test_modalities_in_study_unite_the_series(table, instances):
    both = ask(table, Level.STUDY, Exact(MODALITIES, "PR")) & ask(table, Level.STUDY, Exact(MODALITIES, "SR"))
    assert both == {i.study_uid for i in instances if i.modality == "PR"}


def test_parents_narrow_the_search(table, instances):
    one = instances[0]
    series = ask(table, Level.SERIES, study_uid=one.study_uid)
    assert series == {i.series_uid for i in instances if i.study_uid == one.study_uid}
    assert ask(table, Level.INSTANCE, series_uid=one.series_uid) == {
        i.sop_uid for i in instances if i.series_uid == one.series_uid
    }


def test_items_of_sequences_are_searched():
    (instance,) = generate_study(8, "CT", size=(32, 32))
    table = TruthTable([instance.data])
    step = f"SPS-{instance.series.study.accession_number}-1"
    assert ask(table, Level.SERIES, Exact(STEP, step)) == {instance.series_uid}


def test_the_first_reception_of_a_study_decides_its_attributes():
    first, second = generate_study(8, "MR", instances=2, size=(32, 32))
    other_name = second.data.replace(b"GT-000008", b"GT-999999")
    table = TruthTable([first.data, other_name])
    assert ask(table, Level.STUDY, Exact(PATIENT_ID, "GT-000008")) == {first.study_uid}
    assert ask(table, Level.STUDY, Exact(PATIENT_ID, "GT-999999")) == frozenset()
    assert ask(table, Level.INSTANCE, Exact(NUMBER, "2")) == {second.sop_uid}


def test_a_population_is_made_quickly():
    started = time.thread_time()
    made = sum(1 for _ in population(200, seed=2))
    assert made / (time.thread_time() - started) > 1000
