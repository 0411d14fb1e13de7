"""C-FIND, C-MOVE and C-GET as pynetdicom asks them, on a running archive."""

import threading
from contextlib import contextmanager
from io import BytesIO

import pydicom
import pytest
from gantry_dicom.gate import admit
from gantry_testing.dimse import Outgoing, store_all
from gantry_testing.synthetic import generate_study
from gantry_testing.waiting import wait_for
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

FIND, MOVE, GET = (f"1.2.840.10008.5.1.4.1.2.2.{number}" for number in (1, 2, 3))
PATIENT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
RLE = "1.2.840.10008.1.2.5"
VERIFICATION = "1.2.840.10008.1.1"


@pytest.fixture(scope="module")
def study(stack):
    """Four CT slices, two of them compressed."""
    plain = generate_study(4711, "CT", instances=4)
    compressed = generate_study(4711, "CT", instances=4, transfer_syntax=RLE)
    instances = [*plain[:2], *compressed[2:]]
    items = [
        Outgoing(each.sop_class_uid, each.sop_uid, each.transfer_syntax_uid, each.data_set)
        for each in instances
    ]
    slices = [pydicom.dcmread(BytesIO(each.data)) for each in instances]
    assert store_all(stack.peer, items) == [0] * 4
    uid = slices[0].StudyInstanceUID
    key = identifier("STUDY", StudyInstanceUID=uid)
    wait_for(lambda: len(search(stack, key)) == 1, "the study in the index")
    with associate(stack, FIND) as association:
        below = identifier("IMAGE", StudyInstanceUID=uid, SeriesInstanceUID=slices[0].SeriesInstanceUID)
        below.SOPInstanceUID = ""
        wait_for(lambda: len(matches(association.send_c_find(below, FIND))) == 4, "all of it")
    return slices


def outgoing(file):
    admission = admit(file)
    return Outgoing(
        admission.sop_class_uid,
        admission.sop_instance_uid,
        admission.transfer_syntax_uid,
        file[admission.data_set_offset :],
    )


def identifier(level, **keys):
    made = Dataset()
    made.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(made, keyword, value)
    return made


@contextmanager
def associate(stack, *sop_classes, contexts=(), roles=(), extended=(), handlers=()):
    entity = AE("TESTER")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 60
    for sop_class in (*sop_classes, VERIFICATION):
        entity.add_requested_context(sop_class)
    for context in contexts:
        entity.add_requested_context(*context)
    negotiation = [build_role(uid, scp_role=True) for uid in roles]
    for uid, information in extended:
        item = SOPClassExtendedNegotiation()
        item.sop_class_uid, item.service_class_application_information = uid, information
        negotiation.append(item)
    association = entity.associate(
        stack.peer.host,
        stack.peer.port,
        ae_title=stack.peer.called_ae_title,
        ext_neg=negotiation,
        evt_handlers=list(handlers),
    )
    assert association.is_established
    try:
        yield association
    finally:
        association.release()


def matches(answers):
    return [data for status, data in answers if status.Status in (0xFF00, 0xFF01)]


def search(stack, key, sop_class=FIND, extended=()):
    with associate(stack, sop_class, extended=extended) as association:
        return matches(association.send_c_find(key, sop_class))


def last(answers):
    *_, (status, data) = answers
    return status, data


# C-FIND


def test_a_search_answers_what_was_requested_at_each_level(stack, study):
    first = study[0]
    key = identifier("PATIENT", PatientID=first.PatientID, PatientName="", NumberOfPatientRelatedStudies="")
    (found,) = search(stack, key, PATIENT_FIND)
    assert (found.PatientName, found.NumberOfPatientRelatedStudies) == (first.PatientName, 1)
    key = identifier("STUDY", StudyInstanceUID=first.StudyInstanceUID, ModalitiesInStudy="", StudyDate="")
    (found,) = search(stack, key)
    assert {each.keyword for each in found} == {
        "QueryRetrieveLevel", "RetrieveAETitle", "StudyInstanceUID", "ModalitiesInStudy", "StudyDate",
    }  # fmt: skip
    assert (found.ModalitiesInStudy, found.RetrieveAETitle) == ("CT", "GANTRY")
    key = identifier(
        "SERIES", StudyInstanceUID=first.StudyInstanceUID, Modality="", NumberOfStudyRelatedInstances=""
    )
    (found,) = search(stack, key)
    assert (found.Modality, found.NumberOfStudyRelatedInstances) == ("CT", 4)
    key = identifier(
        "IMAGE",
        StudyInstanceUID=first.StudyInstanceUID,
        SeriesInstanceUID=first.SeriesInstanceUID,
        SOPInstanceUID=[each.SOPInstanceUID for each in study[1:3]],
        Rows="",
        SliceThickness="",
    )
    found = search(stack, key)
    assert {each.SOPInstanceUID for each in found} == {each.SOPInstanceUID for each in study[1:3]}
    assert {(each.Rows, each.SliceThickness) for each in found} == {(first.Rows, first.SliceThickness)}


@pytest.mark.parametrize(
    ("key", "status"),
    [
        (identifier("NONE"), 0xA900),
        (identifier("PATIENT", PatientID="1"), 0xA900),
        (identifier("SERIES", SeriesInstanceUID=""), 0xA900),
        (identifier("STUDY", StudyDate=""), 0x0000),
        (identifier("STUDY", StudyInstanceUID="1.2.3.4.5.6"), 0x0000),
    ],
)
def test_an_identifier_that_the_model_does_not_have_is_refused(stack, key, status):
    with associate(stack, FIND) as association:
        assert last(association.send_c_find(key, FIND))[0].Status == status
        assert association.send_c_echo().Status == 0


def test_a_search_below_the_study_needs_no_parents_where_it_is_relational(stack, study):
    key = identifier("IMAGE", SOPInstanceUID=study[0].SOPInstanceUID, PatientName="")
    with associate(stack, FIND) as association:
        assert last(association.send_c_find(key, FIND))[0].Status == 0xA900
    (found,) = search(stack, key, extended=[(FIND, b"\1\0\0")])
    assert found.PatientName == study[0].PatientName


def test_names_are_matched_roughly_where_that_was_agreed_on(stack, study):
    family = str(study[0].PatientName).partition("^")[0]
    # Two letters changed places.
    key = identifier(
        "STUDY",
        StudyInstanceUID=study[0].StudyInstanceUID,
        PatientName=family[:2] + family[3] + family[2] + family[4:] + "*",
    )
    assert search(stack, key) == []
    key.PatientName = str(key.PatientName).removesuffix("*")
    assert len(search(stack, key, extended=[(FIND, b"\1\1\1")])) == 1


def test_a_search_of_several_pages_gives_each_match_once_and_can_be_cancelled(stack):
    items = []
    for seed in range(6):
        for each in generate_study(77_000 + seed, "SR", instances=1):
            template = pydicom.dcmread(BytesIO(each.data))
            for n in range(100):
                template.SOPInstanceUID = f"{each.sop_uid[:50]}.{n}"
                template.file_meta.MediaStorageSOPInstanceUID = template.SOPInstanceUID
                out = BytesIO()
                template.save_as(out)
                items.append(outgoing(out.getvalue()))
    before = stack.count("instance")
    assert set(store_all(stack.peer, items)) == {0}
    stack.wait_indexed(before + len(items))
    key = identifier("IMAGE", Modality="SR", SOPInstanceUID="")
    with associate(stack, FIND, extended=[(FIND, b"\1")]) as association:
        found = [each.SOPInstanceUID for each in matches(association.send_c_find(key, FIND))]
        assert len(found) == len(set(found)) >= 600
        answers = association.send_c_find(key, FIND, msg_id=9)
        next(answers)
        association.send_c_cancel(9, query_model=FIND)
        statuses = [status.Status for status, _ in answers]
        assert statuses[-1] == 0xFE00
        assert len(statuses) < 600
        assert association.send_c_echo().Status == 0


def test_keys_that_are_not_supported_are_told_with_every_match(stack, study):
    key = identifier("STUDY", StudyInstanceUID=study[0].StudyInstanceUID, KVP="120")
    with associate(stack, FIND) as association:
        statuses = [status.Status for status, _ in association.send_c_find(key, FIND)]
    assert statuses == [0xFF01, 0x0000]


# QIDO-RS and C-FIND, one search

_NAMES = st.sampled_from(["*", "B*", "*a*", "?e*", "b*^*", "%*", "_*", "'", "*o"])
_DATES = st.sampled_from(["20200101-", "-20250101", "20240101-20241231", "19000101-20990101", "20240505"])
_TIMES = st.sampled_from(["", "00-12", "-1200", "08-", "000000-235959"])
_KEYS = st.fixed_dictionaries(
    {},
    optional={
        "PatientName": _NAMES,
        "PatientID": st.sampled_from(["*", "*1*", "?*", "nobody"]),
        "StudyDate": _DATES,
        "StudyTime": _TIMES,
        "ModalitiesInStudy": st.sampled_from(["CT", "MR", "US", "CT\\MR", "C*"]),
        "AccessionNumber": st.sampled_from(["", "*", "A*", "*0*"]),
        "StudyDescription": st.sampled_from(["*", "*a*", "*A*", "?????*"]),
        "PatientSex": st.sampled_from(["M", "F", "O", ""]),
        "NumberOfStudyRelatedInstances": st.sampled_from(["4", "1", "3"]),
    },
)


@pytest.fixture(scope="module")
def population(stack, study):
    items = []
    for seed, modality in enumerate(["CT", "MR", "US", "DX", "CT", "MR"], 900):
        items += [outgoing(each.data) for each in generate_study(seed, modality, instances=1)]
    before = stack.count("instance")
    assert set(store_all(stack.peer, items)) == {0}
    stack.wait_indexed(before + len(items))
    with associate(stack, FIND, extended=[(FIND, b"\1\1\0")]) as association:
        yield association


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=_KEYS)
def test_both_ways_to_search_find_the_same_studies(population, web, keys):
    answer = web.http.get(f"{web.base_url}/studies", params={**keys, "limit": "1000"})
    by_web = {each["0020000D"]["Value"][0] for each in (answer.json() if answer.content else [])}
    key = identifier("STUDY", StudyInstanceUID="")
    for keyword, value in keys.items():
        setattr(key, keyword, value)
    found = matches(population.send_c_find(key, FIND))
    assert {each.StudyInstanceUID for each in found} == by_web
    assert len(found) == len(by_web)


# C-GET


def get(stack, key, *contexts, roles=(CT,)):
    received = {}

    def take(event):
        received[event.request.AffectedSOPInstanceUID] = (event.context.transfer_syntax, event.dataset)
        return 0

    with associate(
        stack, GET, contexts=contexts, roles=roles, handlers=[(evt.EVT_C_STORE, take)]
    ) as association:
        status, data = last(association.send_c_get(key, GET))
        assert association.send_c_echo().Status == 0
    return status, data, received


def test_what_the_peer_does_not_take_as_stored_is_decompressed_for_it(stack, study):
    key = identifier("STUDY", StudyInstanceUID=study[0].StudyInstanceUID)
    status, _, received = get(stack, key, (CT, IMPLICIT))
    assert (status.Status, status.NumberOfCompletedSuboperations) == (0, 4)
    assert set(received) == {each.SOPInstanceUID for each in study}
    for each in study:
        syntax, data = received[each.SOPInstanceUID]
        assert syntax == IMPLICIT
        assert data.PatientName == each.PatientName
        expected = each.pixel_array
        data.file_meta = pydicom.dataset.FileMetaDataset()
        data.file_meta.TransferSyntaxUID = syntax
        assert (data.pixel_array == expected).all()


def test_what_the_peer_takes_as_stored_is_not_touched(stack, study):
    key = identifier("STUDY", StudyInstanceUID=study[0].StudyInstanceUID)
    _, _, received = get(stack, key, (CT, RLE), (CT, EXPLICIT))
    assert {received[each.SOPInstanceUID][0] for each in study[:2]} == {EXPLICIT}
    assert {received[each.SOPInstanceUID][0] for each in study[2:]} == {RLE}


def test_without_the_role_nothing_is_sent_and_all_is_told(stack, study):
    key = identifier("STUDY", StudyInstanceUID=study[0].StudyInstanceUID)
    status, data, received = get(stack, key, (CT, EXPLICIT), roles=())
    assert (status.Status, status.NumberOfFailedSuboperations, received) == (0xA702, 4, {})
    assert set(data.FailedSOPInstanceUIDList) == {each.SOPInstanceUID for each in study}


def test_a_full_house_of_contexts_is_handled(stack, study):
    key = identifier("STUDY", StudyInstanceUID=study[0].StudyInstanceUID)
    others = [(f"{CT}.999.{n}", EXPLICIT) for n in range(125)]
    status, _, received = get(stack, key, *others, (CT, EXPLICIT))
    assert (status.Status, len(received)) == (0, 4)


# C-MOVE


class Receiver:
    """A destination; ``then`` says what becomes of each instance, by its number from 1."""

    def __init__(self, port, *contexts, then=lambda number, event: 0):
        self.requests = []
        entity = AE("DEST")
        for context in contexts or ((CT, [EXPLICIT, RLE]),):
            entity.add_supported_context(*context)

        def take(event):
            self.requests.append(event.request)
            return then(len(self.requests), event)

        self.server = entity.start_server(
            ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, take)]
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()


def move(stack, study, destination="DEST"):
    key = identifier("STUDY", StudyInstanceUID=study[0].StudyInstanceUID)
    with associate(stack, MOVE) as association:
        answers = list(association.send_c_move(key, destination, MOVE, priority=1))
        assert association.send_c_echo().Status == 0
    return answers


def test_instances_go_to_a_third_party_and_say_who_asked(stack, study, move_port):
    with Receiver(move_port) as receiver:
        answers = move(stack, study)
    assert answers[0][0].NumberOfRemainingSuboperations == 4
    assert last(answers)[0].Status == 0
    assert {each.AffectedSOPInstanceUID for each in receiver.requests} == {
        each.SOPInstanceUID for each in study
    }
    for each in receiver.requests:
        assert each.MoveOriginatorApplicationEntityTitle == "TESTER"
        assert (each.MoveOriginatorMessageID, each.Priority) == (1, 1)


def test_a_destination_of_one_transfer_syntax_gets_all(stack, study, move_port):
    with Receiver(move_port, (CT, IMPLICIT)) as receiver:
        assert last(move(stack, study))[0].Status == 0
    assert len(receiver.requests) == 4


def test_an_unknown_destination_is_said_to_be_unknown(stack, study):
    assert [status.Status for status, _ in move(stack, study, "NOSUCHAE")] == [0xA801]


def test_a_destination_that_is_not_there_fails_all_within_bounds(stack, study):
    status, data = last(move(stack, study))
    assert (status.Status, status.NumberOfFailedSuboperations) == (0xA702, 4)
    assert len(data.FailedSOPInstanceUIDList) == 4


def test_a_failure_of_one_is_no_failure_of_all(stack, study, move_port):
    with Receiver(move_port, then=lambda number, event: 0xA700 if number == 2 else 0):
        status, data = last(move(stack, study))
    assert (status.Status, status.NumberOfCompletedSuboperations) == (0xB000, 3)
    assert data.FailedSOPInstanceUIDList in [each.SOPInstanceUID for each in study]


def test_a_destination_that_dies_once_is_called_again(stack, study, move_port):
    def die_once(number, event):
        if number == 2:
            event.assoc.abort()
        return 0

    with Receiver(move_port, then=die_once) as receiver:
        assert last(move(stack, study))[0].Status == 0
    assert {each.AffectedSOPInstanceUID for each in receiver.requests} == {
        each.SOPInstanceUID for each in study
    }


def test_a_destination_that_stays_dead_leaves_the_rest_failed(stack, study, move_port):
    dying = []

    def die(number, event):
        if number == 3:
            dying[0].server.socket.close()
            event.assoc.abort()
        return 0

    with Receiver(move_port, then=die) as receiver:
        dying.append(receiver)
        status, data = last(move(stack, study))
    assert (status.Status, status.NumberOfCompletedSuboperations) == (0xB000, 2)
    assert len(data.FailedSOPInstanceUIDList) == 2


def test_a_move_that_is_cancelled_ends_with_what_remains(stack, study, move_port):
    cancelled = threading.Event()

    def slow(number, event):
        if number == 2:
            assert cancelled.wait(30)
        return 0

    key = identifier("STUDY", StudyInstanceUID=study[0].StudyInstanceUID)
    with Receiver(move_port, then=slow), associate(stack, MOVE) as association:
        answers = association.send_c_move(key, "DEST", MOVE, msg_id=7)
        statuses = [next(answers)[0]]
        association.send_c_cancel(7, query_model=MOVE)
        # What waits behind the cancel on the same association is answered after it.
        threading.Timer(0.5, cancelled.set).start()
        statuses += [status for status, _ in answers]
        final = statuses[-1]
        assert final.Status == 0xFE00
        assert final.NumberOfRemainingSuboperations + final.NumberOfCompletedSuboperations == 4
        assert final.NumberOfRemainingSuboperations >= 1
        assert association.send_c_echo().Status == 0
