"""Commitments: verified where the bytes rest, recorded once, found again."""

from __future__ import annotations

import hashlib

import pytest
from gantry.commitment.v1.commitment_pb2 import CommitmentRequest, InstanceReference
from gantry_commitment.documents import references_of, report_document
from gantry_commitment.ledger import Ledger
from gantry_commitment.progress import carry_on
from gantry_commitment.reasons import FailureReason
from gantry_commitment.verification import Verifier
from gantry_dicom.errors import BadRequest, Conflict, NotFound, TooLarge
from gantry_index.records import StoredInstance
from gantry_objectstore.errors import BadSeal
from gantry_objectstore.keys import commitment_folder, new_batch_id, object_key
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.store import open_store

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
META, DATA = b"M" * 300, b"D" * 5000


class Index:
    """Index rows in memory, as they were when the instances were received."""

    def __init__(self):
        self.rows = []

    async def instances_by_sop_uid(self, partition, sop_uids):
        return [row for row in self.rows if row.sop_uid in sop_uids]


@pytest.fixture
async def store(file_url):
    store = open_store(file_url)
    yield store
    await store.close()


@pytest.fixture
def index():
    return Index()


@pytest.fixture
def ledger(store):
    return Ledger(store, Sealer.from_text("test:" + "a5" * 32))


@pytest.fixture
def stored(store, index):
    async def make(sop_uid, *, sop_class=CT, study="1.1", series="1.1.1"):
        key = object_key("main", new_batch_id(), 1)
        await store.put(key, [META, DATA])
        row = StoredInstance(
            study_uid=study,
            series_uid=series,
            sop_uid=sop_uid,
            sop_class_uid=sop_class,
            instance_number=1,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            store_id="primary",
            object_key=key,
            size=len(META) + len(DATA),
            meta_length=len(META),
            frame_table=b"",
            rows=None,
            columns=None,
            number_of_frames=None,
            received_key=key,
            received_size=len(META) + len(DATA),
            data_set_digest=hashlib.sha256(DATA).digest(),
        )
        index.rows.append(row)
        return row

    return make


def request_for(*sop_uids, transaction="2.25.7", sop_class=CT, **place):
    references = [
        InstanceReference(sop_class_uid=sop_class, sop_instance_uid=uid, **place) for uid in sop_uids
    ]
    return CommitmentRequest(transaction_uid=transaction, partition="main", references=references)


async def outcome(store, index, request):
    report = await Verifier(store, index).verify(request, patience_seconds=0)
    failed = {each.reference.sop_instance_uid: FailureReason(each.failure_reason) for each in report.failed}
    return [reference.sop_instance_uid for reference in report.committed], failed


async def test_what_is_whole_is_committed(store, index, stored):
    await stored("9.1")
    assert await outcome(store, index, request_for("9.1")) == (["9.1"], {})


async def damage_missing(store, row):
    await store.delete(row.object_key)


async def damage_one_byte(store, row):
    await store.put(row.object_key, [META, DATA[:-1] + b"x"])


async def damage_cut_short(store, row):
    await store.put(row.object_key, [META, DATA[:-1]])


@pytest.mark.parametrize("damage", [damage_missing, damage_one_byte, damage_cut_short])
async def test_what_is_damaged_behind_the_index_is_not(store, index, stored, damage):
    await stored("9.1")
    row = await stored("9.2")
    await damage(store, row)
    committed, failed = await outcome(store, index, request_for("9.1", "9.2"))
    assert (committed, failed) == (["9.1"], {"9.2": FailureReason.PROCESSING_FAILURE})


async def test_of_a_uid_in_two_studies_both_must_be_whole_unless_one_is_named(store, index, stored):
    await stored("9.1", study="1.1")
    other = await stored("9.1", study="1.2")
    await store.delete(other.object_key)
    assert await outcome(store, index, request_for("9.1")) == ([], {"9.1": FailureReason.PROCESSING_FAILURE})
    assert await outcome(store, index, request_for("9.1", study_instance_uid="1.1")) == (["9.1"], {})


async def test_unknown_and_misnamed_instances_fail_with_their_reason(store, index, stored):
    await stored("9.1")
    assert await outcome(store, index, request_for("9.9")) == (
        [],
        {"9.9": FailureReason.NO_SUCH_OBJECT_INSTANCE},
    )
    assert await outcome(store, index, request_for("9.1", sop_class=MR)) == (
        [],
        {"9.1": FailureReason.CLASS_INSTANCE_CONFLICT},
    )


async def test_an_instance_on_its_way_into_the_index_is_waited_for(store, index, stored):
    row = await stored("9.1")
    index.rows.clear()
    looks = 0
    look_up = index.instances_by_sop_uid

    async def later(partition, sop_uids):
        nonlocal looks
        looks += 1
        if looks == 2:
            index.rows.append(row)
        return await look_up(partition, sop_uids)

    index.instances_by_sop_uid = later
    report = await Verifier(store, index).verify(request_for("9.1"), patience_seconds=10)
    assert len(report.committed) == 1


async def test_a_transaction_uid_serves_once_and_its_report_is_found_again(store, index, ledger, stored):
    await stored("9.1")
    request = request_for("9.1")
    await ledger.open(request)
    with pytest.raises(Conflict):
        await ledger.open(request_for("9.2"))
    report = await carry_on(ledger, Verifier(store, index), request)
    assert await carry_on(ledger, Verifier(store, index), request) == report
    commitment = await ledger.read("main", "2.25.7")
    assert (commitment.request, commitment.report) == (request, report)
    assert commitment.end.delivered
    with pytest.raises(NotFound):
        await ledger.read("other", "2.25.7")
    [note] = [note async for note in ledger.open_ones()]
    assert await ledger.read_open(note.key) == commitment


async def test_a_report_that_is_to_be_delivered_leaves_the_commitment_open(store, index, ledger, stored):
    request = request_for("9.1")
    request.receiver.ae_title = "CT1"
    await ledger.open(request)
    await carry_on(ledger, Verifier(store, index), request, patience_seconds=0)
    assert (await ledger.read("main", "2.25.7")).end is None


async def test_a_record_at_anothers_place_is_not_believed(store, ledger):
    await ledger.open(request_for("9.1"))
    folder, other = (commitment_folder("main", uid) for uid in ("2.25.7", "2.25.8"))
    await store.put(f"{other}request", await store.get(f"{folder}request"))
    with pytest.raises(BadSeal):
        await ledger.read("main", "2.25.8")


def flat(*pairs):
    items = [
        {"00081150": {"vr": "UI", "Value": [c]}, "00081155": {"vr": "UI", "Value": [s]}} for c, s in pairs
    ]
    return {"00081199": {"vr": "SQ", "Value": items}}


def tree(study, series, sop_class, *sop_uids):
    instances = [{"00081155": {"vr": "UI", "Value": [uid]}} for uid in sop_uids]
    group = {"00081150": {"vr": "UI", "Value": [sop_class]}, "0008114A": {"vr": "SQ", "Value": instances}}
    of_series = {"0020000E": {"vr": "UI", "Value": [series]}, "00081112": {"vr": "SQ", "Value": [group]}}
    of_study = {"0020000D": {"vr": "UI", "Value": [study]}, "00081115": {"vr": "SQ", "Value": [of_series]}}
    return {"00081110": {"vr": "SQ", "Value": [of_study]}}


def test_both_forms_of_a_request_are_read():
    assert references_of([flat((CT, "9.1"))]) == [InstanceReference(sop_class_uid=CT, sop_instance_uid="9.1")]
    [read] = references_of(tree("1.1", "1.1.1", CT, "9.1"))
    assert (read.study_instance_uid, read.series_instance_uid, read.sop_instance_uid) == (
        "1.1",
        "1.1.1",
        "9.1",
    )


async def test_a_report_has_the_form_of_its_request(store, index, stored):
    await stored("9.1")
    module = tree("1.1", "1.1.1", CT, "9.1", "9.2")
    request = CommitmentRequest(transaction_uid="2.25.7", partition="main", references=references_of(module))
    report = report_document(await Verifier(store, index).verify(request, patience_seconds=0))
    assert report["00081110"] == tree("1.1", "1.1.1", CT, "9.1")["00081110"]
    [failed] = report["0008119B"]["Value"][0]["00081115"]["Value"][0]["00081112"]["Value"][0]["0008114A"][
        "Value"
    ]
    assert failed["00081197"]["Value"] == [0x0112]
    assert "00081199" not in report


@pytest.mark.parametrize(
    "document",
    [None, [], {}, [1], {"00081199": []}, {"00081199": {"Value": [1]}}, flat((CT, "x")), flat(("", "9.1"))],
)
def test_what_is_no_request_is_refused(document):
    with pytest.raises(BadRequest):
        references_of(document)


def test_a_request_beyond_the_bound_is_refused(monkeypatch):
    monkeypatch.setattr("gantry_commitment.documents.MAX_REFERENCES", 2)
    with pytest.raises(TooLarge):
        references_of(flat(*((CT, f"9.{n}") for n in range(3))))
