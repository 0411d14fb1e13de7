"""Commitments that were left: verified by the storage service, and forgotten when they have ended."""

from __future__ import annotations

import pytest
from gantry.commitment.v1.commitment_pb2 import CommitmentReport, CommitmentRequest, InstanceReference
from gantry_commitment.ledger import Ledger
from gantry_objectstore.keys import OPEN_COMMITMENT_PREFIX, commitment_folder, open_commitment_key
from gantry_storage.commitments import Commitments


class Verifier:
    """Finds everything whole."""

    def __init__(self):
        self.verified = []

    async def verify(self, request, *, patience_seconds):
        self.verified.append(request.transaction_uid)
        return CommitmentReport(
            transaction_uid=request.transaction_uid, partition=request.partition, committed=request.references
        )


@pytest.fixture
def ledger(store, sealer):
    return Ledger(store, sealer)


@pytest.fixture
def verifier():
    return Verifier()


@pytest.fixture
def commitments(store, ledger, verifier):
    return Commitments(store, ledger, verifier)


def request(uid="2.25.1"):
    return CommitmentRequest(
        transaction_uid=uid, partition="main", references=[InstanceReference(sop_instance_uid="9.1")]
    )


async def notes(store):
    return [info.key async for info in store.list(OPEN_COMMITMENT_PREFIX)]


async def test_one_that_was_left_is_verified_when_its_receiver_must_be_dead(
    store, ledger, verifier, commitments
):
    await ledger.open(request())
    assert await commitments.sweep() == 1
    assert verifier.verified == []
    store.wait(121)
    assert await commitments.sweep() == 0
    assert verifier.verified == ["2.25.1"]
    assert (await ledger.read("main", "2.25.1")).end is not None
    assert await notes(store) == []


async def test_one_whose_report_is_to_be_delivered_stays_open_until_it_is(store, ledger, commitments):
    wanted = request()
    wanted.receiver.ae_title = "CT1"
    await ledger.open(wanted)
    store.wait(121)
    assert await commitments.sweep() == 1
    assert (await ledger.read("main", "2.25.1")).report is not None
    assert await commitments.sweep() == 1
    await ledger.end("main", "2.25.1", delivered=True)
    assert await commitments.sweep() == 0


async def test_a_note_without_a_request_goes_in_time(store, commitments):
    await store.put(open_commitment_key("main", "2.25.9"), b"open\n")
    assert await commitments.sweep() == 1
    store.wait(121)
    assert await commitments.sweep() == 0


async def test_a_forged_request_is_left_to_a_person_and_stops_no_other(store, ledger, verifier, commitments):
    await ledger.open(request("2.25.2"))
    await store.put(open_commitment_key("main", "2.25.3"), b"open\n")
    await store.put(f"{commitment_folder('main', '2.25.3')}request", b"forged")
    store.wait(121)
    assert await commitments.sweep() == 1
    assert verifier.verified == ["2.25.2"]
