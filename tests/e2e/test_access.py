"""A whole archive under rules: what was given is on record, and an outage changes no right."""

import asyncio
import signal
from dataclasses import replace

import httpx
import pytest
import redis
from gantry.access.v1.access_pb2 import (
    ACCESS_KIND_REFUSAL,
    ACCESS_KIND_RETRIEVE,
    ACCESS_KIND_SEARCH,
    ACCESS_KIND_STORE,
    ApplicationEntity,
)
from gantry_access.audit_chain import read_records, verify
from gantry_access.snapshots import POLICY_CHANNEL
from gantry_dicom.gate import admit
from gantry_testing.access import TestIssuer
from gantry_testing.dimse import NotAssociated, Outgoing, echo, store_all
from gantry_testing.stack import Stack
from gantry_testing.synthetic import generate_study
from gantry_testing.waiting import wait_for
from gantry_testing.web import ANY_TRANSFER_SYNTAX, OCTETS, encode_multipart

CT1 = ApplicationEntity(ae_title="CT1", partition="main", may_store=True, source_addresses=["127.0.0.1"])


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stack")
    rules = {"GANTRY_POLICY": "rules", "GANTRY_ACCESS_LOG_FOLDER": str(folder / "access")}
    with Stack(folder, environment=rules) as running:
        yield running


def in_store(stack, work):
    async def run():
        store = stack.open_store()
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def publish(stack, issuer, **fields):
    version = in_store(stack, lambda store: issuer.publish(store, stack.sealer, entities=[CT1], **fields))
    with redis.Redis.from_url(stack.valkey.url) as client:
        client.publish(POLICY_CHANNEL, version)


def client_of(stack, token):
    return httpx.Client(base_url=stack.base_url(), headers={"Authorization": f"Bearer {token}"}, timeout=60)


def test_a_study_is_stored_searched_and_read_by_those_who_may_and_the_record_says_so(stack):
    issuer = TestIssuer()
    publish(stack, issuer)
    modality = replace(stack.peer, calling_ae_title="CT1")
    sent = generate_study(21, "CT", instances=3)
    posted = generate_study(22, "CT", instances=2)
    with (
        client_of(stack, issuer.token(["technologist@main"], subject="tom")) as technologist,
        client_of(stack, issuer.token(["clinician@main"], subject="ann")) as clinician,
        client_of(stack, issuer.token(["admin@second"], subject="eve")) as stranger,
    ):
        wait_for(lambda: clinician.get("/studies").status_code == 200, "the rules to arrive", 10)
        assert store_all(modality, [_outgoing(instance) for instance in sent]) == [0] * 3
        content_type, body = encode_multipart([instance.data for instance in posted])
        answer = technologist.post("/studies", content=body, headers={"Content-Type": content_type})
        assert answer.status_code == 200
        stack.wait_indexed(5)

        first = admit(sent[0].data)
        study = f"/studies/{first.study_instance_uid}"
        instance = f"{study}/series/{first.series_instance_uid}/instances/{first.sop_instance_uid}"
        gets = [
            (study, ANY_TRANSFER_SYNTAX),
            (f"{study}/metadata", "application/dicom+json"),
            (f"{instance}/frames/1", OCTETS),
            (f"{instance}/rendered", "image/jpeg"),
            ("/studies", "application/dicom+json"),
        ]
        for path, accept in gets:
            assert clinician.get(path, headers={"Accept": accept}).status_code == 200
            assert stranger.get(path, headers={"Accept": accept}).status_code == 404
        assert clinician.post("/studies", content=body).status_code == 403

        # Auth was never there; now PostgreSQL goes too, and what decides is started again.
        stack.postgres.kill()
        for name in ("ingest", "gateway"):
            stack.kill(name, signal.SIGKILL)
            stack.start_service(name)
        assert store_all(modality, [_outgoing(sent[0])]) == [0]
        with pytest.raises(NotAssociated):
            echo(replace(stack.peer, calling_ae_title="CT2"))
        assert clinician.get("/studies").status_code == 503
        assert clinician.post("/studies", content=body).status_code == 403
        assert stranger.get("/studies").status_code == 404
        assert httpx.get(f"{stack.base_url()}/studies").status_code == 401

    for name in ("ingest", "gateway"):
        assert stack.stop_service(name) == 0

    async def read(store):
        records = [record async for _, record in read_records(store, stack.sealer)]
        return records, await verify(store, stack.sealer)

    records, result = in_store(stack, read)
    assert (result.problems, result.unclosed) == ([], [])
    read_by_ann = [r for r in records if r.kind == ACCESS_KIND_RETRIEVE and r.principal == "ann"]
    uids = {admit(instance.data).sop_instance_uid for instance in sent}
    by_operation = {r.operation.rpartition("/")[2]: set(r.sop_instance_uids) for r in read_by_ann}
    assert by_operation == {
        "{study}": uids,
        "metadata": set(),
        "{frames}": {first.sop_instance_uid},
        "rendered": {first.sop_instance_uid},
    }
    assert {r.study_instance_uid for r in read_by_ann} == {first.study_instance_uid}
    assert any(r.kind == ACCESS_KIND_SEARCH and r.principal == "ann" for r in records)
    assert {r.kind for r in records if r.principal == "eve"} == {ACCESS_KIND_REFUSAL}
    stored = {
        (r.principal, uid) for r in records if r.kind == ACCESS_KIND_STORE for uid in r.sop_instance_uids
    }
    assert {uid for name, uid in stored if name == "tom"} == {admit(i.data).sop_instance_uid for i in posted}


def _outgoing(instance):
    admission = admit(instance.data)
    return Outgoing(
        admission.sop_class_uid,
        admission.sop_instance_uid,
        admission.transfer_syntax_uid,
        instance.data[admission.data_set_offset :],
    )
