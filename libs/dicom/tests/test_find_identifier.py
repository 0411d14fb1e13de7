"""C-FIND and retrieval identifiers: from bytes to searches and keys."""

import pytest
from gantry_dicom.element_headers import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from gantry_dicom.errors import BadRequest, GantryError
from gantry_dicom.find_identifier import FindOptions, find_request
from gantry_dicom.identifiers import read_identifier
from gantry_dicom.information_models import QUERY_RETRIEVE
from gantry_dicom.query import AnyOf, DateTimeRange, Exact, Level, PersonName, Range, UidList, Wildcard
from gantry_dicom.retrieve_identifier import retrieve_keys
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

PATIENT_ROOT = QUERY_RETRIEVE["1.2.840.10008.5.1.4.1.2.1.1"][1]
STUDY_ROOT = QUERY_RETRIEVE["1.2.840.10008.5.1.4.1.2.2.1"][1]
PATIENT_STUDY_ONLY = QUERY_RETRIEVE["1.2.840.10008.5.1.4.1.2.3.2"][1]
PLAIN = FindOptions()


def data_set(level, **keys):
    made = Dataset()
    if level:
        made.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(made, keyword, value)
    return made


def written(made, encoding=IMPLICIT_LITTLE):
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = encoding.little_endian, not encoding.explicit
    write_dataset(out, made)
    return out.getvalue()


def identifier(level, model=STUDY_ROOT, encoding=IMPLICIT_LITTLE, **keys):
    return read_identifier(written(data_set(level, **keys), encoding), encoding, model)


def search(level, model=STUDY_ROOT, options=PLAIN, **keys):
    return find_request(identifier(level, model, **keys), model, options, partition="main", limit=50)


@pytest.mark.parametrize("encoding", [IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG])
def test_keys_are_read_in_every_encoding_and_in_the_character_set_declared(encoding):
    item = data_set("", ScheduledProcedureStepID="S1")
    found = identifier(
        "SERIES",
        encoding=encoding,
        SpecificCharacterSet="ISO_IR 100",
        PatientName="Müller^*",
        NumberOfFrames="",
        Rows=512,
        RequestAttributesSequence=[item],
    )
    assert found.level is Level.SERIES
    assert found.specific_character_set == b"ISO_IR 100"
    assert {key.path: key.text for key in found.keys} == {
        (0x00100010,): "Müller^*",
        (0x00280008,): "",
        (0x00280010,): "512",
        (0x00400275, 0x00400009): "S1",
    }


def test_the_kinds_of_matching_are_those_of_qido():
    request = search(
        "STUDY",
        PatientName="Doe^J*",
        PatientID="P1",
        StudyDate="20240101-",
        ModalitiesInStudy=["CT", "MR"],
        StudyDescription="*thorax",
        StudyInstanceUID=["1.2", "1.3"],
        AccessionNumber="",
    )
    assert set(request.query.conditions) == {
        PersonName((0x00100010,), "Doe^J*"),
        Exact((0x00100020,), "P1"),
        Range((0x00080020,), "20240101", None),
        AnyOf((0x00080061,), ("CT", "MR")),
        Wildcard((0x00081030,), "*thorax"),
        UidList((0x0020000D,), ("1.2", "1.3")),
    }
    assert request.unsupported == ()
    assert (0x00080050,) in request.requested


def test_dates_and_times_are_combined_only_when_that_was_agreed_on():
    keys = {"StudyDate": "20240101-20240102", "StudyTime": "10-11"}
    assert len(search("STUDY", **keys).query.conditions) == 2
    (combined,) = search("STUDY", options=FindOptions(combined_date_times=True), **keys).query.conditions
    assert isinstance(combined, DateTimeRange)


def test_a_search_below_the_top_names_one_parent_of_each_level():
    request = search("IMAGE", StudyInstanceUID="1.2", SeriesInstanceUID="1.3", SOPInstanceUID="")
    assert (request.query.study_uid, request.query.series_uid) == ("1.2", "1.3")
    request = search("IMAGE", StudyInstanceUID="1.2", SeriesInstanceUID="", SOPInstanceUID="")
    assert (request.query.study_uid, request.query.series_uid) == ("1.2", None)
    request = search("IMAGE", StudyInstanceUID="", SeriesInstanceUID="1.3", SOPInstanceUID="")
    assert (request.query.study_uid, request.query.series_uid) == (None, None)
    assert [condition.uids for condition in request.query.conditions] == [("1.3",)]
    for keys in (
        {"StudyInstanceUID": "", "SeriesInstanceUID": ""},
        {"StudyInstanceUID": ["1.2", "1.4"], "SeriesInstanceUID": "1.3"},
        {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.*"},
    ):
        with pytest.raises(BadRequest):
            search("IMAGE", **keys)
        assert search("IMAGE", options=FindOptions(relational=True), **keys | {"SeriesInstanceUID": ""})


def test_patient_root_wants_the_patient_too():
    with pytest.raises(BadRequest, match="PatientID"):
        search("STUDY", PATIENT_ROOT, StudyInstanceUID="")
    request = search("SERIES", PATIENT_ROOT, PatientID="P1", StudyInstanceUID="1.2")
    assert request.query.study_uid == "1.2"
    assert request.query.conditions == (Exact((0x00100020,), "P1"),)


@pytest.mark.parametrize(
    ("level", "model"),
    [
        ("", STUDY_ROOT),
        ("STUDIES", STUDY_ROOT),
        ("PATIENT", STUDY_ROOT),
        ("SERIES", PATIENT_STUDY_ONLY),
        ("study", STUDY_ROOT),
    ],
)
def test_a_level_that_the_model_does_not_have_is_refused(level, model):
    with pytest.raises(BadRequest, match="Level"):
        search(level, model)


def test_keys_that_cannot_be_matched_or_answered_are_told():
    request = search(
        "STUDY", SeriesNumber="3", KVP="120", InstitutionName="", PatientComments="x", StudyID=""
    )
    assert set(request.unsupported) == {(0x00200011,), (0x00180060,), (0x00080080,), (0x00104000,)}
    # Comments are known at the study level, though not matched.
    assert request.requested == {(0x00104000,), (0x00200010,)}


def test_modality_at_the_study_level_asks_for_studies_that_have_it():
    request = search("STUDY", Modality="CT")
    assert request.query.conditions == (Exact((0x00080061,), "CT"),)
    assert request.unsupported == ((0x00080060,),)


def test_what_is_computed_of_a_parent_comes_with_its_attributes():
    request = search("SERIES", StudyInstanceUID="1.2", NumberOfStudyRelatedInstances="")
    assert request.query.include_parents
    assert request.query.study_uid is None
    assert request.query.conditions == (UidList((0x0020000D,), ("1.2",)),)


@given(st.binary(max_size=200), st.sampled_from([IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG]))
def test_bytes_that_are_no_identifier_are_an_error_and_nothing_else(data, encoding):
    try:
        find_request(
            read_identifier(data, encoding, STUDY_ROOT), STUDY_ROOT, FindOptions(), partition="main", limit=1
        )
    except GantryError:
        return


@given(st.data())
def test_a_damaged_identifier_is_an_error_and_nothing_else(data):
    item = data_set("", ScheduledProcedureStepID="S1")
    whole = bytearray(written(data_set("STUDY", PatientName="A", RequestAttributesSequence=[item], Rows=1)))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        read_identifier(bytes(whole[: data.draw(st.integers(0, len(whole)))]), IMPLICIT_LITTLE, STUDY_ROOT)
    except GantryError:
        return


def test_a_retrieval_names_what_it_wants_by_unique_keys():
    keys = retrieve_keys(
        identifier("IMAGE", StudyInstanceUID="1.2", SeriesInstanceUID="1.3", SOPInstanceUID=["1.4", "1.5"]),
        STUDY_ROOT,
    )
    assert (keys.study_uids, keys.series_uids, keys.sop_uids) == (("1.2",), ("1.3",), ("1.4", "1.5"))
    keys = retrieve_keys(identifier("PATIENT", PATIENT_ROOT, PatientID="P1"), PATIENT_ROOT)
    assert keys.patient_id == "P1"


@pytest.mark.parametrize(
    ("level", "model", "keys"),
    [
        ("STUDY", STUDY_ROOT, {}),
        ("STUDY", STUDY_ROOT, {"StudyInstanceUID": "*"}),
        ("STUDY", STUDY_ROOT, {"StudyInstanceUID": "1.2*"}),
        ("STUDY", PATIENT_ROOT, {"StudyInstanceUID": "1.2"}),
        ("PATIENT", PATIENT_ROOT, {"PatientID": "P*"}),
        ("SERIES", STUDY_ROOT, {"SeriesInstanceUID": "1.2"}),
        ("SERIES", STUDY_ROOT, {"StudyInstanceUID": ["1.2", "1.3"], "SeriesInstanceUID": "1.2"}),
        ("IMAGE", STUDY_ROOT, {"StudyInstanceUID": "1.2", "SOPInstanceUID": "1.2"}),
    ],
)
def test_a_retrieval_without_the_keys_it_needs_is_refused(level, model, keys):
    with pytest.raises(BadRequest):
        retrieve_keys(identifier(level, model, **keys), model)


def test_a_relational_retrieval_needs_no_parents():
    keys = retrieve_keys(identifier("IMAGE", SOPInstanceUID="1.2"), STUDY_ROOT, relational=True)
    assert (keys.study_uids, keys.sop_uids) == ((), ("1.2",))
