"""Storage commitment by N-ACTION: the report finds the modality, also after it has hung up."""

import asyncio
import threading
from contextlib import contextmanager

import httpx
import pytest
from gantry.access.v1.access_pb2 import ApplicationEntity
from gantry_dicom.gate import admit
from gantry_embedded.ports import free_ports
from gantry_testing.access import TestIssuer
from gantry_testing.dimse import Outgoing, Peer, store_all
from gantry_testing.stack import Stack
from gantry_testing.synthetic import generate_study
from gantry_testing.waiting import wait_for
from pydicom import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, build_role, evt
from pynetdicom.pdu_primitives import UserIdentityNegotiation

COMMITMENT = "1.2.840.10008.1.20.1"
INSTANCE = "1.2.840.10008.1.20.1.1"
LATE_PORT, STEADY_PORT = free_ports(2)
ENTITIES = [
    ApplicationEntity(
        ae_title="LATE", partition="main", may_store=True, may_find=True, host="127.0.0.1", port=LATE_PORT
    ),
    ApplicationEntity(
        ae_title="STEADY", partition="main", may_store=True, host="127.0.0.1", port=STEADY_PORT
    ),
    ApplicationEntity(ae_title="HOMELESS", partition="main", may_store=True),
]


@pytest.fixture(scope="module")
def issuer():
    return TestIssuer()


@pytest.fixture(scope="module")
def stack(tmp_path_factory, issuer):
    folder = tmp_path_factory.mktemp("stack")
    settings = {
        "GANTRY_POLICY": "rules",
        "GANTRY_ACCESS_LOG_FOLDER": str(folder / "access"),
        "GANTRY_COMMITMENT_RETRY_SECONDS": "1",
        "GANTRY_COMMITMENT_PATIENCE_SECONDS": "2",
    }
    with Stack(folder, environment=settings) as running:

        async def publish():
            store = running.open_store()
            try:
                await issuer.publish(store, running.sealer, entities=ENTITIES)
            finally:
                await store.close()

        asyncio.run(publish())
        # Every worker reads the rules for itself.
        wait_for(
            lambda: all(store_all(peer_of(running, "STEADY"), [item(99)]) == [0] for _ in range(8)),
            "the rules",
            30,
        )
        yield running


def peer_of(stack, title):
    return Peer(stack.peer.host, stack.peer.port, calling_ae_title=title)


def item(seed):
    instance = generate_study(seed)[0]
    found = admit(instance.data)
    return Outgoing(
        found.sop_class_uid,
        found.sop_instance_uid,
        found.transfer_syntax_uid,
        instance.data[found.data_set_offset :],
    )


class Reports:
    """What a device is told."""

    def __init__(self):
        self.seen = []
        self.arrived = threading.Event()

    def handle(self, event):
        self.seen.append((event.event_type, event.event_information, event.assoc))
        self.arrived.set()
        return 0x0000, None

    @property
    def handlers(self):
        return [(evt.EVT_N_EVENT_REPORT, self.handle)]

    @contextmanager
    def listening(self, title, port):
        entity = AE(title)
        entity.add_supported_context(COMMITMENT, scu_role=False, scp_role=True)
        server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=self.handlers)
        try:
            yield
        finally:
            server.shutdown()


def request(references, transaction_uid=None):
    document = Dataset()
    document.TransactionUID = transaction_uid or generate_uid()
    document.ReferencedSOPSequence = []
    for sop_class_uid, sop_uid in references:
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = sop_class_uid, sop_uid
        document.ReferencedSOPSequence.append(reference)
    return document


def associate(stack, title, reports=None, **more):
    entity = AE(title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 30
    entity.add_requested_context(COMMITMENT)
    negotiation = [build_role(COMMITMENT, scu_role=True, scp_role=False), *more.pop("ext_neg", ())]

    def attempt():
        association = entity.associate(
            stack.peer.host,
            stack.peer.port,
            ae_title="GANTRY",
            ext_neg=negotiation,
            evt_handlers=reports.handlers if reports else [],
        )
        return association if association.is_established else None

    # A worker that has not read the rules yet says so, and the device comes again.
    return wait_for(attempt, "an association", 30)


def ask(association, document, action=1, instance=INSTANCE):
    status, _ = association.send_n_action(document, action, COMMITMENT, instance)
    return status.Status


def ended(stack):
    """Whether the bucket holds the end of every commitment."""
    keys = stack.list_keys("c/")
    requests = {key.rsplit("/", 1)[0] for key in keys if key.endswith("/request")}
    return requests == {key.rsplit("/", 1)[0] for key in keys if key.endswith("/end")}


def test_a_device_that_stays_is_told_on_its_own_association(stack):
    kept = item(1)
    assert store_all(peer_of(stack, "STEADY"), [kept]) == [0]
    reports = Reports()
    association = associate(stack, "STEADY", reports)
    document = request([(kept.sop_class_uid, kept.sop_uid)])
    assert ask(association, document) == 0
    assert reports.arrived.wait(20)
    ((event_type, information, _),) = reports.seen
    assert association.is_established
    association.release()
    assert (event_type, information.TransactionUID) == (1, document.TransactionUID)
    assert [r.ReferencedSOPInstanceUID for r in information.ReferencedSOPSequence] == [kept.sop_uid]
    assert "FailedSOPSequence" not in information


def test_a_device_that_has_hung_up_is_told_when_it_listens_again(stack):
    kept, other = item(2), item(3)
    assert store_all(peer_of(stack, "LATE"), [kept, other]) == [0, 0]
    association = associate(stack, "LATE")
    never = generate_uid()
    document = request(
        [
            (kept.sop_class_uid, kept.sop_uid),
            (kept.sop_class_uid, never),
            ("1.2.840.10008.5.1.4.1.1.4", other.sop_uid),
        ]
    )
    assert ask(association, document) == 0
    association.release()
    wait_for(lambda: any(key.endswith("/report") for key in stack.list_keys("c/")), "a report", 20)
    reports = Reports()
    with reports.listening("LATE", LATE_PORT):
        assert reports.arrived.wait(60)
    event_type, information, incoming = reports.seen[0]
    assert event_type == 2
    assert incoming.requestor.ae_title == "GANTRY"
    assert information.TransactionUID == document.TransactionUID
    assert [r.ReferencedSOPInstanceUID for r in information.ReferencedSOPSequence] == [kept.sop_uid]
    failed = {f.ReferencedSOPInstanceUID: f.FailureReason for f in information.FailedSOPSequence}
    assert failed == {never: 0x0112, other.sop_uid: 0x0119}
    wait_for(lambda: ended(stack), "the commitments to end", 20)


def test_a_device_without_an_address_is_promised_only_what_can_be_kept(stack):
    kept = item(4)
    assert store_all(peer_of(stack, "HOMELESS"), [kept]) == [0]
    reports = Reports()
    association = associate(stack, "HOMELESS", reports)
    assert ask(association, request([(kept.sop_class_uid, kept.sop_uid)])) == 0
    assert reports.arrived.wait(20)
    association.release()


def test_mistaken_requests_are_answered_with_what_is_wrong(stack):
    known = item(5)
    reference = [(known.sop_class_uid, known.sop_uid)]
    association = associate(stack, "STEADY", Reports())
    assert ask(association, request(reference), action=2) == 0x0123
    assert ask(association, request(reference), instance="1.2.3") == 0x0112
    assert ask(association, request([])) == 0x0115
    without = request(reference)
    del without.TransactionUID
    assert ask(association, without) == 0x0115
    used = request(reference)
    assert ask(association, used) == 0
    # The same again is the same request; something else under its UID is not.
    assert ask(association, used) == 0
    assert ask(association, request([(known.sop_class_uid, "1.2.3")], used.TransactionUID)) == 0x0115
    association.release()


def identity(kind, primary, secondary=b""):
    item = UserIdentityNegotiation()
    item.user_identity_type, item.positive_response_requested = kind, True
    item.primary_field = primary
    if secondary:
        item.secondary_field = secondary
    return item


@pytest.mark.parametrize(
    ("grants", "status"), [(["technologist@main"], 0x0115), (["clinician@main"], 0x0124)]
)
def test_what_is_done_for_a_user_the_user_may_do_too(stack, issuer, grants, status):
    token = issuer.token(grants).encode()
    association = associate(stack, "STEADY", ext_neg=[identity(5, token)])
    assert association.acceptor.user_identity is None or association.acceptor.user_identity
    assert ask(association, request([])) == status
    association.release()


def test_an_identity_that_is_not_good_is_rejected_and_the_administrator_sees_why(stack, issuer):
    for wrong in (identity(5, b"not.a.token"), identity(2, b"somebody", b"secret")):
        entity = AE("STEADY")
        entity.add_requested_context(COMMITMENT)
        association = entity.associate(stack.peer.host, stack.peer.port, ae_title="GANTRY", ext_neg=[wrong])
        assert not association.is_established
    root = stack.base_url().removesuffix("/dicom-web")

    def listed(grants, **query):
        headers = {"Authorization": f"Bearer {issuer.token(grants)}"}
        return httpx.get(f"{root}/admin/dimse-failures", headers=headers, params=query, timeout=30)

    def records():
        answer = listed(["admin@*"], ae="STEADY", diagnosis="identity-refused")
        return answer.json() if answer.status_code == 200 else []

    # Of one worker or of two, written in one go or in two.
    wait_for(lambda: sum(record["count"] for record in records()) == 2, "both records", 20)
    assert {record["called_ae_title"] for record in records()} == {"GANTRY"}
    assert all("identity" in record["advice"] for record in records())
    # What devices of all partitions met is not for those of one.
    assert listed(["admin@main"]).status_code in (403, 404)
    assert listed(["clinician@*"]).status_code == 403
    assert listed(["admin@*"], limit="0").status_code == 400
    assert httpx.get(f"{root}/admin/dimse-failures").status_code == 401
