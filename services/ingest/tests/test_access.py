"""Who may associate and do what, with auth, PostgreSQL and Redis down."""

import asyncio
import itertools
from dataclasses import replace

import pytest
from gantry.access.v1.access_pb2 import ACCESS_KIND_REFUSAL, ACCESS_KIND_STORE, ApplicationEntity
from gantry_access.audit_chain import read_records, verify
from gantry_access.policy import Action
from gantry_dicom.gate import admit
from gantry_ingest.access import C_ECHO, C_FIND, C_GET, C_MOVE, C_STORE, N_ACTION, SERVICE_ACTIONS
from gantry_ingest.archive import SERVICES
from gantry_ingest.committing import INVALID_ARGUMENT_VALUE
from gantry_ingest.contexts import VERIFICATION
from gantry_ingest.query_statuses import DESTINATION_UNKNOWN, MISMATCHED_IDENTIFIER
from gantry_ingest.reporting import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.settings import StoreSettings
from gantry_objectstore.store import open_store
from gantry_testing.access import TestIssuer
from gantry_testing.dimse import NotAssociated, Outgoing, Sender, echo, store_all
from gantry_testing.synthetic import generate_study
from gantry_testing.waiting import wait_for
from pydicom import Dataset
from pydicom.uid import ImplicitVRLittleEndian

SEALER = Sealer.from_text("test:000102030405060708090a0b0c0d0e0f")
HERE = ["127.0.0.1"]
ENTITIES = [
    ApplicationEntity(ae_title="BARE", partition="main", source_addresses=HERE),
    ApplicationEntity(ae_title="STORER", partition="main", may_store=True, source_addresses=HERE),
    ApplicationEntity(ae_title="FINDER", partition="main", may_find=True),
    ApplicationEntity(ae_title="MOVER", partition="main", may_move=True),
    ApplicationEntity(
        ae_title="ELSEWHERE", partition="main", may_store=True, source_addresses=["10.1.0.0/16"]
    ),
    ApplicationEntity(ae_title="SECONDS", partition="second", may_store=True),
    ApplicationEntity(ae_title="BOTH", partition="main", may_store=True, source_addresses=HERE),
    ApplicationEntity(ae_title="BOTH", partition="second", may_find=True, source_addresses=["127.0.0.2"]),
    ApplicationEntity(ae_title="EVERYTHING", partition="main", may_store=True, may_find=True, may_move=True),
    ApplicationEntity(ae_title="UNREADABLE", partition="main", may_store=True, source_addresses=["here"]),
]
CALLED = {"GANTRY": "main", "SECOND": "second"}
SOURCES = ("127.0.0.1", "127.0.0.2")


def rights(title, partition, source):
    """Return what a title may do, said here once more from the registrations themselves."""
    allowed = set()
    for entity in ENTITIES:
        if entity.ae_title != title or entity.partition != partition:
            continue
        if entity.source_addresses and source not in entity.source_addresses:
            continue
        flags = {
            Action.VERIFY: True,
            Action.STORE: entity.may_store,
            Action.SEARCH: entity.may_find,
            Action.RETRIEVE: entity.may_move,
        }
        allowed |= {action for action, given in flags.items() if given}
    return allowed


NOT_AUTHORISED = 0x0124


def in_store(tmp_path, work):
    async def run():
        store = open_store((tmp_path / "store").as_uri(), options=StoreSettings())
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def publish(tmp_path, **fields):
    (tmp_path / "store").mkdir(exist_ok=True)
    return in_store(tmp_path, lambda store: TestIssuer().publish(store, SEALER, **fields))


@pytest.fixture(scope="module")
def item():
    (instance,) = generate_study(11, "CT", instances=1)
    admission = admit(instance.data)
    return Outgoing(
        admission.sop_class_uid,
        admission.sop_instance_uid,
        admission.transfer_syntax_uid,
        instance.data[admission.data_set_offset :],
    )


@pytest.fixture
def start(start_listener, tmp_path):
    def with_rules(**settings):
        return start_listener(policy="rules", access_log_folder=tmp_path / "access", **settings)

    return with_rules


def as_entity(listener, title, called="GANTRY"):
    return replace(listener.peer, calling_ae_title=title, called_ae_title=called)


def store_one(peer, item):
    with Sender(peer, [item.context]) as sender:
        return sender.store(item)


def ask_for_commitment(sender):
    """Return 0 where the request was looked at: it names no instance, which is found afterwards."""
    request = Dataset()
    request.TransactionUID = "1.2.3"
    status, _ = sender.association.send_n_action(request, 1, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE)
    return 0 if status.Status == INVALID_ARGUMENT_VALUE else status.Status


FIND, MOVE, GET = (f"1.2.840.10008.5.1.4.1.2.2.{number}" for number in (1, 2, 3))


def looked_at(answers):
    """Return 0 where the request was looked at: its identifier, or its destination, was then refused."""
    *_, (status, _) = answers
    return 0 if status.Status in (MISMATCHED_IDENTIFIER, DESTINATION_UNKNOWN) else status.Status


def nonsense():
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "NONE"
    return identifier


def bound_services():
    """Return the DIMSE services that the listener has a handler for, from the listener itself."""
    return {field.name.replace("_", "-") for field in SERVICES}


def test_every_service_that_has_a_handler_says_what_it_needs():
    assert bound_services() == set(SERVICE_ACTIONS)


def test_every_service_is_answered_to_exactly_those_whose_registration_allows_it(start, tmp_path, item):
    publish(tmp_path, entities=ENTITIES)
    listener = start(ae_partitions="SECOND=second")
    asked = {
        C_ECHO: lambda sender: sender.echo(),
        C_STORE: lambda sender: sender.store(item),
        C_FIND: lambda sender: looked_at(sender.association.send_c_find(nonsense(), FIND)),
        C_MOVE: lambda sender: looked_at(sender.association.send_c_move(nonsense(), "X", MOVE)),
        C_GET: lambda sender: looked_at(sender.association.send_c_get(nonsense(), GET)),
        N_ACTION: ask_for_commitment,
    }
    assert set(asked) == bound_services()
    stored = []
    titles = [*sorted({entity.ae_title for entity in ENTITIES}), "NOBODY", "storer"]
    for title, called, source in itertools.product(titles, [*CALLED, "OTHER"], SOURCES):
        allowed = rights(title, CALLED.get(called), source)
        sender = Sender(
            replace(as_entity(listener, title, called), source_address=source),
            [
                (VERIFICATION, ImplicitVRLittleEndian),
                *((uid, ImplicitVRLittleEndian) for uid in (STORAGE_COMMITMENT, FIND, MOVE, GET)),
                item.context,
            ],
        )
        if not allowed:
            with pytest.raises(NotAssociated), sender:
                pytest.fail(f"{title} at {source} was let into {called}")
            continue
        with sender:
            for service, ask in asked.items():
                expected = 0 if SERVICE_ACTIONS[service] in allowed else NOT_AUTHORISED
                assert ask(sender) == expected, (title, called, source, service)
        if Action.STORE in allowed:
            stored.append(CALLED[called])
    assert set(stored) == {"main", "second"}
    assert sorted(path.relative_to(listener.store).parts[1] for path in listener.objects()) == sorted(stored)


def test_open_registration_lets_strangers_in_but_no_spoofed_title(start, tmp_path, item):
    publish(tmp_path, entities=ENTITIES, open_registration=True)
    listener = start()
    assert store_all(as_entity(listener, "NOBODY"), [item]) == [0]
    with pytest.raises(NotAssociated):
        echo(as_entity(listener, "ELSEWHERE"))


def test_a_right_that_is_taken_away_ends_within_an_association(start, tmp_path, item):
    publish(tmp_path, entities=ENTITIES)
    listener = start()
    with Sender(as_entity(listener, "STORER"), [item.context]) as sender:
        assert sender.store(item) == 0
        publish(tmp_path, entities=[e for e in ENTITIES if e.ae_title != "STORER"])
        wait_for(lambda: sender.store(item) == NOT_AUTHORISED, "the right to end", 10)


def test_rules_that_are_too_old_let_nobody_in_until_new_ones_come(start, tmp_path):
    publish(tmp_path, entities=ENTITIES, good_for=60, age=61)
    listener = start()
    with pytest.raises(NotAssociated):
        echo(as_entity(listener, "STORER"))
    publish(tmp_path, entities=ENTITIES)

    def answered():
        try:
            return echo(as_entity(listener, "STORER")) == 0
        except NotAssociated:
            return False

    wait_for(answered, "the new rules", 15)


def test_stores_and_refusals_are_recorded_when_the_listener_ends(start, tmp_path, item):
    publish(tmp_path, entities=ENTITIES)
    listener = start()
    assert store_all(as_entity(listener, "STORER"), [item]) == [0]
    assert store_all(as_entity(listener, "FINDER"), [item]) == [NOT_AUTHORISED]
    for title, called in (("ELSEWHERE", "GANTRY"), ("STORER", "OTHER")):
        with pytest.raises(NotAssociated):
            echo(as_entity(listener, title, called))
    listener.process.terminate()
    assert listener.process.wait(30) == 0

    async def read(store):
        return [record async for _, record in read_records(store, SEALER)], await verify(store, SEALER)

    records, result = in_store(tmp_path, read)
    found = {(r.kind, r.principal, r.operation, r.outcome, tuple(r.sop_instance_uids)) for r in records}
    assert found >= {
        (ACCESS_KIND_STORE, "STORER", "C-STORE", "entity:store@main", (item.sop_uid,)),
        (ACCESS_KIND_REFUSAL, "FINDER", "C-STORE", "not-allowed", ()),
        (ACCESS_KIND_REFUSAL, "ELSEWHERE", "A-ASSOCIATE", "not-allowed", ()),
        (ACCESS_KIND_REFUSAL, "STORER", "A-ASSOCIATE", "not-found", ()),
    }
    assert (result.problems, result.unclosed) == ([], [])
