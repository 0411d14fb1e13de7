"""Diagnoses are a sound table, and records are kept, found and forgotten."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from gantry.failures.v1.failures_pb2 import AssociationFailure
from gantry_dimse.commands import CommandField
from gantry_dimse.facts import AssociationFacts, End, EndKind
from gantry_dimse.negotiation import (
    AssociateAccept,
    AssociateRequest,
    ContextAnswer,
    ProposedContext,
    UserInformation,
)
from gantry_failures.diagnoses import DIAGNOSES, diagnose
from gantry_failures.evidence import Evidence
from gantry_failures.ledger import FailureLedger, Wanted
from gantry_failures.records import failure_of
from gantry_objectstore.keys import failure_key
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.settings import StoreSettings
from gantry_objectstore.store import open_store

NOW = datetime.now(UTC)
CT = "1.2.840.10008.5.1.4.1.1.2"
SEALER = Sealer.from_text("test:000102030405060708090a0b0c0d0e0f")
RELEASED = End(EndKind.RELEASED, by_peer=True)


def evidence(results=(0,), statuses=None, end=RELEASED, abstract_syntax=CT):
    """Return what was seen of an association with one context an answer."""
    contexts = tuple(ProposedContext(2 * n + 1, abstract_syntax, ("1.2",)) for n in range(len(results)))
    answers = tuple(ContextAnswer(2 * n + 1, result) for n, result in enumerate(results))
    facts = AssociationFacts(
        requestor=False,
        peer_address="192.0.2.1",
        peer_port=1,
        local_port=2,
        connected_at=NOW,
        request=AssociateRequest("GANTRY", "CT1", contexts, UserInformation()),
        accept=AssociateAccept("GANTRY", "CT1", answers, UserInformation()),
        statuses=statuses or {},
        ended_at=NOW,
        end=end,
    )
    return Evidence(facts)


def test_names_mean_one_thing_and_every_advice_is_a_sentence():
    advice = {}
    for diagnosis in DIAGNOSES:
        assert advice.setdefault(diagnosis.name, diagnosis.advice) == diagnosis.advice
        assert diagnosis.advice.endswith(".")
    assert DIAGNOSES[-1].name == "other"


@pytest.mark.parametrize(
    ("seen", "is_failure"),
    [
        (evidence(), False),
        (evidence(statuses={(CommandField.C_STORE, 0): 3}), False),
        (evidence(statuses={(CommandField.C_STORE, 0xB000): 3}), False),
        (evidence(statuses={(CommandField.C_FIND, 0xFE00): 1}), False),
        (evidence(statuses={(CommandField.C_STORE, 0xA700): 1}), True),
        (evidence(results=(3,)), True),
        (evidence(results=(0, 3)), True),
        # It was served, whatever else it had offered.
        (evidence(results=(0, 3), statuses={(CommandField.C_STORE, 0): 1}), False),
        (evidence(end=End(EndKind.CONNECTION_LOST, by_peer=True)), True),
    ],
)
def test_what_went_well_is_no_failure(seen, is_failure):
    assert seen.is_failure is is_failure


@pytest.mark.parametrize(
    ("seen", "name"),
    [
        (evidence(results=(3,)), "no-common-abstract-syntax"),
        (evidence(results=(3,), abstract_syntax="1.3.12.2.1107.5.9.1"), "private-sop-class"),
        (evidence(results=(4,)), "no-common-transfer-syntax"),
        (evidence(statuses={(CommandField.C_MOVE, 0xA801): 1}), "unknown-move-destination"),
        (evidence(statuses={(CommandField.C_MOVE, 0xA702): 1}), "move-failed"),
        (evidence(statuses={(CommandField.C_STORE, 0xA700): 1}), "out-of-resources"),
        (evidence(statuses={(CommandField.C_STORE, 0xA900): 1}), "data-set-mismatch"),
        (evidence(statuses={(CommandField.C_STORE, 0xC000): 1}), "data-set-not-understood"),
        (evidence(statuses={(CommandField.C_FIND, 0xC001): 1}), "failure-status"),
        (evidence(end=End(EndKind.TIMED_OUT, by_peer=False)), "idle"),
        (
            evidence(end=End(EndKind.ABORTED, by_peer=False, detail="the program stops", source=0)),
            "stopped-by-us",
        ),
        (evidence(end=End(EndKind.ABORTED, by_peer=False, source=2, reason=2)), "protocol-error"),
    ],
)
def test_what_was_seen_has_its_diagnosis(seen, name):
    assert diagnose(seen).name == name


def ledger(tmp_path, work):
    async def run():
        store = open_store(tmp_path.as_uri(), options=StoreSettings())
        try:
            return await work(FailureLedger(store, SEALER), store)
        finally:
            await store.close()

    return asyncio.run(run())


def failure(title, at=NOW, diagnosis="idle"):
    moment = int(at.timestamp() * 1_000_000)
    return AssociationFailure(
        calling_ae_title=title, diagnosis=diagnosis, occurred_at_us=moment, last_at_us=moment, count=1
    )


def test_records_are_found_newest_first_by_title_and_time(tmp_path):
    async def work(failures, _store):
        await failures.write([failure("CT1", NOW - timedelta(minutes=2)), failure("MR1", NOW)])
        await failures.write([failure("CT1", NOW - timedelta(minutes=1), "port-probe")])
        since = NOW - timedelta(hours=1)
        found = await failures.read(Wanted(since), 10)
        assert [one.last_at_us for one in found] == sorted((one.last_at_us for one in found), reverse=True)
        assert len(found) == 3
        assert len(await failures.read(Wanted(since), 2)) == 2
        assert len(await failures.read(Wanted(since, "CT1"), 10)) == 2
        assert len(await failures.read(Wanted(since, "CT1", "idle"), 10)) == 1
        assert not await failures.read(Wanted(NOW + timedelta(minutes=1)), 10)

    ledger(tmp_path, work)


def test_a_forged_batch_is_passed_over_and_old_days_are_forgotten(tmp_path):
    async def work(failures, store):
        await failures.write([failure("CT1")])
        await store.put(failure_key("01KB000000AAAAAAAAAAAAAAAA"), b"forged")
        assert len(await failures.read(Wanted(NOW - timedelta(days=3650)), 10)) == 1
        await store.put(failure_key("01D78XYFJ1PRM1WPBCBT3VHMNV"), b"of 2019")
        assert await failures.forget(timedelta(days=400)) == 1
        assert await failures.forget(timedelta(days=400)) == 0
        assert len(await failures.read(Wanted(NOW - timedelta(days=1)), 10)) == 1

    ledger(tmp_path, work)


def test_a_record_holds_what_was_offered_and_answered():
    record = failure_of(evidence(results=(0, 4), statuses={(CommandField.C_STORE, 0xA700): 2}), "main")
    assert [(c.result, c.accepted_transfer_syntax != "") for c in record.contexts] == [(0, True), (4, False)]
    assert [(s.command_field, s.status, s.count) for s in record.statuses] == [(1, 0xA700, 2)]
    assert not record.HasField("reject_result")
