"""A whole archive under rules: what nobody learns, what is taken away in time, and what is on record."""

import asyncio
import itertools
import signal
import socket
import time
from contextlib import ExitStack
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
    Revocation,
)
from gantry_access.audit_chain import read_records, verify
from gantry_access.snapshots import POLICY_CHANNEL
from gantry_dicom.gate import admit
from gantry_testing.access import TestIssuer
from gantry_testing.dimse import NotAssociated, Outgoing, Sender, echo, store_all
from gantry_testing.stack import Stack
from gantry_testing.synthetic import generate_study
from gantry_testing.waiting import wait_for
from gantry_testing.web import ANY_TRANSFER_SYNTAX, OCTETS, encode_multipart

CT1 = ApplicationEntity(ae_title="CT1", partition="main", may_store=True, source_addresses=["127.0.0.1"])


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stack")
    rules = {
        "GANTRY_POLICY": "rules",
        "GANTRY_ACCESS_LOG_FOLDER": str(folder / "access"),
        "GANTRY_HTTP_WORKERS": "2",
        # What is stored while Redis is thought to be down waits for the sweeper.
        "GANTRY_LEASE_SECONDS": "8",
        "GANTRY_SWEEP_MARGIN_SECONDS": "1",
        "GANTRY_SWEEP_SECONDS": "1",
    }
    with Stack(folder, environment=rules) as running:
        yield running


@pytest.fixture(scope="module")
def issuer():
    return TestIssuer()


def in_store(stack, work):
    async def run():
        store = stack.open_store()
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def publish(stack, issuer, *, entities=(CT1,), hint=True, **fields):
    version = in_store(stack, lambda store: issuer.publish(store, stack.sealer, entities=entities, **fields))
    if hint:
        with redis.Redis.from_url(stack.valkey.url) as client:
            client.publish(POLICY_CHANNEL, version)


def client_of(stack, token, partition="main"):
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=stack.base_url(partition), headers=headers, timeout=60)


def post(client, instances, path="/studies"):
    content_type, body = encode_multipart([instance.data for instance in instances])
    return client.post(path, content=body, headers={"Content-Type": content_type})


def wait_until_let_in(*clients):
    # Each connection has one worker, and each worker hears of new rules by itself.
    for client in clients:
        wait_for(lambda client=client: client.get("/studies").status_code == 200, "the rules to arrive", 10)


@pytest.fixture
def main(stack, issuer):
    """A client that may do in partition main what there is to do."""
    publish(stack, issuer)
    with client_of(stack, issuer.token(["technologist@main", "modality@main"])) as client:
        wait_until_let_in(client)
        yield client


@pytest.fixture
def second(stack, issuer, main):
    """A client of another partition."""
    with client_of(stack, issuer.token(["admin@second"]), "second") as client:
        wait_until_let_in(client)
        yield client


def unknown(uid):
    """Return a UID of the same length that nobody ever used."""
    return uid[:-6] + f"{(int(uid[-6:]) + 500_001) % 1_000_000:06d}"


def wait_until_associated(peer):
    def all_do():
        try:
            # Whichever worker takes it.
            return [echo(peer) for _ in range(6)]
        except NotAssociated:
            return []

    wait_for(all_do, "the registration to arrive", 10)


def uids_of(instance):
    admission = admit(instance.data)
    return admission.study_instance_uid, admission.series_instance_uid, admission.sop_instance_uid


def told(answer, *uids):
    """Return what an answer says, but for the hour and the UIDs that were asked for."""
    body = answer.content
    for uid in uids:
        body = body.replace(uid.encode(), b"<uid>")
    return answer.status_code, body, {n: v for n, v in answer.headers.items() if n != "date"}


def reading_paths(stack):
    """Return the paths of the default partition that can be read, as the gateway describes them."""
    document = httpx.get(f"{stack.health_url('gateway')}/openapi.json").json()
    paths = [path for path, methods in document["paths"].items() if "get" in methods]
    return [path.removeprefix("/dicom-web") for path in paths if path.startswith("/dicom-web/")]


def test_a_uid_of_another_partition_is_answered_as_one_that_was_never_used(stack, main, second):
    (own,) = generate_study(31, "CT", instances=1)
    (foreign,) = generate_study(32, "CT", instances=1)
    assert post(main, [own]).status_code == post(second, [foreign]).status_code == 200
    theirs, never = uids_of(foreign), tuple(map(unknown, uids_of(foreign)))
    base = stack.base_url("second")
    etag = second.get(f"{base}/studies/{theirs[0]}/metadata").headers["etag"]
    levels = ("study", "series", "instance")
    walked = 0
    for path in reading_paths(stack):
        named = [level for level in levels if "{" + level + "}" in path]
        # Theirs at some positions, ours at the others.
        for positions in itertools.product((False, True), repeat=len(named)):
            if not any(positions):
                continue
            addresses = []
            for other in (theirs, never):
                address = path.replace("{frames}", "1").replace("{path}", "7FE00010")
                for level, ours, their_uid, here in zip(levels, uids_of(own), other, positions, strict=False):
                    address = address.replace("{" + level + "}", their_uid if here else ours)
                addresses.append(address)
            for headers in ({}, {"If-None-Match": "*"}, {"If-None-Match": etag}):
                answers = [main.get(address, headers=headers) for address in addresses]
                assert answers[0].status_code in (404, 200), addresses[0]
                if answers[0].status_code == 200:
                    assert answers[0].json() == [], addresses[0]
                assert told(answers[0], *theirs) == told(answers[1], *never), addresses[0]
                walked += 1
            if all(positions):
                # The addresses are alive: who may see them does.
                assert second.get(addresses[0]).status_code == 200, addresses[0]
    assert walked > 150


def test_searches_neither_find_nor_count_what_is_in_another_partition(stack, main, second):
    own = [generate_study(seed, "CT", instances=1)[0] for seed in (41, 42)]
    foreign = [generate_study(seed, "CT", instances=2) for seed in (43, 44, 45)]
    assert post(main, own).status_code == 200
    for study in foreign:
        assert post(second, study).status_code == 200
    theirs, never = uids_of(foreign[0][0]), tuple(map(unknown, uids_of(foreign[0][0])))
    keys = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    patient_id = second.get("/studies", params={"StudyInstanceUID": theirs[0]}).json()[0]["00100020"][
        "Value"
    ][0]
    for levels, resource in enumerate(("/studies", "/series", "/instances"), start=1):
        everything = main.get(resource, params={"limit": 1000}).json()
        for key, other, no_one in list(zip(keys, theirs, never, strict=True))[:levels]:
            answers = [main.get(resource, params={key: uid}) for uid in (other, no_one)]
            assert told(answers[0], other) == told(answers[1], no_one)
            assert answers[0].json() == []
            listed = [
                main.get(resource, params={key: f"{uids_of(own[0])[0]},{uid}"}) for uid in (other, no_one)
            ]
            assert told(listed[0], other) == told(listed[1], no_one)
        assert main.get(resource, params={"PatientID": patient_id}).json() == []
        # What is left to ask for is counted here alone, at any offset.
        first = main.get(resource, params={"limit": 1})
        left = len(everything) - 1
        assert left >= 1
        assert f"There are {left} additional" in first.headers["warning"]
        last = main.get(resource, params={"limit": 10, "offset": left})
        assert len(last.json()) == 1
        assert "warning" not in last.headers
        assert main.get(resource, params={"offset": left + 1}).json() == []
        text = main.get(resource, params={"limit": 1000, "includefield": "all"}).text
        assert not any(uid in text for study in foreign for instance in study for uid in uids_of(instance))


def test_storing_tells_nothing_of_another_partition(stack, main, second):
    (foreign,) = generate_study(51, "CT", instances=1)
    (new,) = generate_study(52, "CT", instances=1)
    (own,) = generate_study(53, "CT", instances=1)
    assert post(second, [foreign]).status_code == 200
    # Into a study that the object is not of: the study's being known elsewhere changes nothing.
    theirs = uids_of(foreign)
    refused = [post(main, [own], f"/studies/{uid}") for uid in (theirs[0], unknown(theirs[0]))]
    assert refused[0].status_code == 409
    assert told(refused[0], theirs[0]) == told(refused[1], unknown(theirs[0]))
    # The very same object, which is new here.
    answers = [post(main, [instance]) for instance in (foreign, new)]
    assert answers[0].status_code == 200
    said = [
        told(answer, *uids_of(instance)) for answer, instance in zip(answers, (foreign, new), strict=True)
    ]
    assert said[0][:2] == said[1][:2]
    assert "/partitions/" not in answers[0].text
    assert len(main.get("/instances", params={"SOPInstanceUID": theirs[2]}).json()) == 1


def test_deleting_and_asking_for_safe_keeping_tell_nothing_of_another_partition(stack, issuer, main, second):
    (foreign,) = generate_study(56, "CT", instances=1)
    assert post(second, [foreign]).status_code == 200
    theirs, never = uids_of(foreign), tuple(map(unknown, uids_of(foreign)))
    with client_of(stack, issuer.token(["admin@main"])) as administrator:
        wait_until_let_in(administrator)
        for path in ("/studies/{0}", "/studies/{0}/series/{1}", "/studies/{0}/series/{1}/instances/{2}"):
            answers = [administrator.delete(path.format(*uids)) for uids in (theirs, never)]
            assert answers[0].status_code == 404
            assert told(answers[0], *theirs) == told(answers[1], *never)
    assert len(second.get("/instances", params={"SOPInstanceUID": theirs[2]}).json()) == 1

    def commitment(client, transaction, sop_uid):
        item = {
            "00081150": {"vr": "UI", "Value": [foreign.sop_class_uid]},
            "00081155": {"vr": "UI", "Value": [sop_uid]},
        }
        document = [{"00081199": {"vr": "SQ", "Value": [item]}}]
        headers = {"Content-Type": "application/dicom+json"}
        return client.post(f"/commitment-requests/{transaction}", json=document, headers=headers)

    asked = [("2.25.771", theirs[2]), ("2.25.772", never[2])]
    answers = [commitment(main, *question) for question in asked]
    assert answers[0].status_code == 200
    assert told(answers[0], *asked[0])[:2] == told(answers[1], *asked[1])[:2]
    assert commitment(second, "2.25.773", theirs[2]).content != answers[0].content
    looked_up = [main.get(f"/commitment-requests/2.25.{number}") for number in (773, 774)]
    assert looked_up[0].status_code == 404
    assert told(looked_up[0]) == told(looked_up[1])


def test_no_token_reaches_a_log_wherever_it_was_shown(stack, main, issuer):
    good, stranger = issuer.token(["clinician@main"]), TestIssuer().token(["admin@*"])
    expired = issuer.token(["admin@*"], seconds=-60)
    base = stack.base_url()
    for token in (good, stranger, expired):
        for headers in ({"Authorization": f"Bearer {token}"}, {"Cookie": f"gantry_session={token}"}):
            httpx.get(f"{base}/studies", headers=headers)
            httpx.post(f"{base}/studies", headers=headers, content=b"x")
            httpx.get(f"{base}/studies/{token}/metadata", headers=headers)
            assert httpx.get(f"{base}/studies?access_token={token}", headers=headers).status_code == 400
        assert httpx.get(f"{base}/studies?access_token={token}").status_code == 400
        httpx.get(f"{stack.health_url('gateway')}/nowhere?access_token={token}")
        _raw(stack, f"GET /dicom-web/studies?access_token={token} HTTP/9.9\r\nHost: x\r\n\r\n")
        _raw(stack, f"GET /dicom-web/studies HTTP/1.1\r\nAuthorization Bearer {token}\r\n\r\n")
    text = stack.log_text()
    assert text.count("http_request") > 20
    for token in (good, stranger, expired):
        assert not any(part in text for part in token.split(".")[1:])


def _raw(stack, text):
    port = int(stack.health_url("gateway").rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(text.encode())
        connection.recv(4096)


@pytest.mark.parametrize("way", ["hints", "without Redis"])
def test_what_is_taken_away_ends_in_every_worker_within_five_seconds(stack, main, issuer, way):
    kept = issuer.token(["clinician@main"], subject="ann")
    ended = [
        issuer.token(["clinician@main"], subject="ann", jti=f"token of {way}"),
        issuer.token(["clinician@main"], subject=f"user {way}"),
    ]
    modality = replace(stack.peer, calling_ae_title="CT1")
    (item,) = map(_outgoing, generate_study(61, "CT", instances=1))
    wait_until_associated(modality)
    with ExitStack() as held:
        # A connection stays with its worker: among so many there is one of each.
        staying = [held.enter_context(client_of(stack, kept)) for _ in range(8)]
        going = [held.enter_context(client_of(stack, token)) for token in ended for _ in range(8)]
        senders = [held.enter_context(Sender(modality, [item.context])) for _ in range(8)]
        wait_until_let_in(*staying, *going)
        assert {sender.store(item) for sender in senders} == {0}
        if way == "without Redis":
            stack.valkey.kill()
        revocations = [
            Revocation(token_id=f"token of {way}"),
            Revocation(subject=f"user {way}", revoked_at_us=time.time_ns() // 1000),
        ]
        publish(stack, issuer, entities=[], revocations=revocations, hint=way == "hints")
        published = time.monotonic()

        def is_over():
            return {c.get("/studies").status_code for c in going} == {401} and {
                sender.store(item) for sender in senders
            } == {0x0124}

        wait_for(is_over, "the end of what was revoked", 5 - (time.monotonic() - published))
        assert {client.get("/studies").status_code for client in staying} == {200}
        with pytest.raises(NotAssociated):
            echo(modality)
    if way == "without Redis":
        stack.valkey.start()


def test_a_study_is_stored_searched_and_read_by_those_who_may_and_the_record_says_so(stack, issuer):
    publish(stack, issuer)
    stored_before = stack.count("instance")
    modality = replace(stack.peer, calling_ae_title="CT1")
    sent = generate_study(21, "CT", instances=3)
    posted = generate_study(22, "CT", instances=2)
    with (
        client_of(stack, issuer.token(["technologist@main"], subject="tom")) as technologist,
        client_of(stack, issuer.token(["clinician@main"], subject="ann")) as clinician,
        client_of(stack, issuer.token(["admin@second"], subject="eve")) as stranger,
    ):
        wait_until_let_in(clinician, technologist)
        wait_until_associated(modality)
        assert store_all(modality, [_outgoing(instance) for instance in sent]) == [0] * 3
        content_type, body = encode_multipart([instance.data for instance in posted])
        answer = technologist.post("/studies", content=body, headers={"Content-Type": content_type})
        assert answer.status_code == 200
        stack.wait_indexed(stored_before + 5)

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
        # The record of a store is in no hurry (the journal has it); that of a search takes it along.
        assert technologist.get("/series").status_code == 200

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

        # Rules that nobody renews are followed until they are too old, and then nobody is let in.
        publish(stack, issuer, good_for=4)
        wait_for(
            lambda: "rules of access" in clinician.post("/studies", content=body).text, "the rules' end", 15
        )
        for client in (technologist, clinician, stranger):
            assert client.get("/studies").status_code == 503
        with pytest.raises(NotAssociated):
            echo(modality)
        publish(stack, issuer)
        wait_for(lambda: clinician.post("/studies", content=body).status_code == 403, "new rules", 5)

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
