"""What goes on, and what is refused how, while one of the parts is down (docs/reliability.md).

The policy is ``rules`` and its snapshot was published by nobody that still runs: the auth
service is down in every one of these tests.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from contextlib import contextmanager

import httpx
import pytest
import redis
from gantry.access.v1.access_pb2 import ApplicationEntity
from gantry_access.snapshots import POLICY_CHANNEL
from gantry_testing.access import TestIssuer
from gantry_testing.dimse import NotAssociated, echo, store_all
from gantry_testing.faults.scene import signal_family
from gantry_testing.recording import outgoing
from gantry_testing.stack import Stack, start_again
from gantry_testing.synthetic import generate_study
from gantry_testing.waiting import wait_for
from gantry_testing.web import DICOM_JSON, encode_multipart
from pydicom import Dataset
from pynetdicom import AE

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
SUCCESS, PENDING, OUT_OF_RESOURCES = 0x0000, 0xFF00, 0xA700
# How soon an answer must come: when a server refuses connections, and when it takes them and then
# says nothing, which only a time-out tells from a slow one.
PROMPT_SECONDS = {"killed": 10.0, "frozen": 30.0}
EITHER_WAY = pytest.mark.parametrize("how", ["killed", pytest.param("frozen", marks=pytest.mark.slow)])
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def issuer():
    return TestIssuer()


@pytest.fixture(scope="module")
def stack(tmp_path_factory, quick, issuer):
    folder = tmp_path_factory.mktemp("degraded")
    rules = {"GANTRY_POLICY": "rules", "GANTRY_ACCESS_LOG_FOLDER": str(folder / "access")}
    # As in a deployment, half of it is longer than a store that says nothing is waited for.
    rules |= {"GANTRY_LEASE_SECONDS": "60"}
    with Stack(folder, store="s3", environment=quick | rules) as running:
        publish(running, issuer)
        wait_for(lambda: associates(running), "the rules to arrive")
        yield running


@pytest.fixture
def client(stack, issuer):
    token = issuer.token(["technologist@main", "modality@main"])
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=stack.base_url(), headers=headers, timeout=60) as running:
        yield running


@pytest.fixture
def study(stack, client):
    """A study that is stored and can be found."""
    instances = generate_study(7_000, "CT", number=next(_numbers), instances=2, size=(64, 64))
    assert post(client, instances).status_code == 200
    wait_for(lambda: found(client, instances), "the study to be found")
    return instances


def publish(stack, issuer, **fields):
    async def run():
        store = stack.open_store()
        try:
            modality = ApplicationEntity(
                ae_title="MODALITY",
                partition="main",
                may_store=True,
                may_find=True,
                source_addresses=["127.0.0.1"],
            )
            return await issuer.publish(store, stack.sealer, entities=[modality], **fields)
        finally:
            await store.close()

    version = asyncio.run(run())
    with redis.Redis.from_url(stack.valkey.url) as valkey:
        valkey.publish(POLICY_CHANNEL, version)


def associates(stack):
    try:
        return echo(stack.peer) == SUCCESS
    except NotAssociated:
        return False


def post(client, instances):
    content_type, body = encode_multipart([instance.data for instance in instances])
    headers = {"Content-Type": content_type, "Accept": DICOM_JSON}
    return client.post("/studies", content=body, headers=headers)


def search(client, instances):
    return client.get(
        "/instances", params={"StudyInstanceUID": instances[0].study_uid}, headers={"Accept": DICOM_JSON}
    )


def found(client, instances):
    answer = search(client, instances)
    return answer.status_code == 200 and len(answer.json()) == len(instances)


def find(stack, study_uid):
    key = Dataset()
    key.QueryRetrieveLevel, key.StudyInstanceUID = "STUDY", study_uid
    entity = AE("MODALITY")
    entity.dimse_timeout = entity.network_timeout = 60
    entity.add_requested_context(FIND)
    association = entity.associate(stack.peer.host, stack.peer.port, ae_title=stack.peer.called_ae_title)
    assert association.is_established
    *answers, (status, _) = association.send_c_find(key, FIND)
    association.release()
    return [found.Status for found, _ in answers], status.Status


def new_study():
    return generate_study(7_100, "MR", number=next(_numbers), instances=2, size=(64, 64))


def c_store(stack, instances):
    return store_all(stack.peer, [outgoing(instance) for instance in instances])


@contextmanager
def promptly(how):
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < PROMPT_SECONDS[how]


@contextmanager
def down(stack, name, how):
    """Take a server away: ``killed`` refuses connections, ``frozen`` takes them and says nothing."""
    server = getattr(stack, name)
    if how == "killed":
        server.kill()
        try:
            yield
        finally:
            start_again(server)
    else:
        signal_family(server.child, signal.SIGSTOP)
        try:
            yield
        finally:
            signal_family(server.child, signal.SIGCONT)


def is_unavailable(answer):
    return answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0


@EITHER_WAY
def test_without_postgresql_stores_go_on_and_searches_ask_to_come_back(stack, client, study, how):
    by_stow, by_dimse = new_study(), new_study()
    with down(stack, "postgres", how):
        with promptly(how):
            assert post(client, by_stow).status_code == 200
        with promptly(how):
            assert c_store(stack, by_dimse) == [SUCCESS] * 2
        with promptly(how):
            assert is_unavailable(search(client, study))
        with promptly(how):
            assert find(stack, study[0].study_uid) == ([], OUT_OF_RESOURCES)
        assert stack.says_ready("gateway")
        assert stack.says_ready("ingest")
    for instances in (by_stow, by_dimse, study):
        wait_for(lambda instances=instances: found(client, instances), "everything to be found", 60)


@EITHER_WAY
def test_without_redis_everything_goes_on(stack, client, study, how):
    by_stow, by_dimse = new_study(), new_study()
    with down(stack, "valkey", how):
        with promptly(how):
            assert post(client, by_stow).status_code in {200, 202}
        with promptly(how):
            assert c_store(stack, by_dimse) == [SUCCESS] * 2
        with promptly(how):
            assert found(client, study)
        with promptly(how):
            assert find(stack, study[0].study_uid) == ([PENDING], SUCCESS)
        with promptly(how):
            assert client.get(f"/studies/{study[0].study_uid}/metadata").status_code == 200
        with promptly(how):
            assert client.get(instance_path(study[0])).status_code == 200
    for instances in (by_stow, by_dimse):
        wait_for(lambda instances=instances: found(client, instances), "everything to be found", 60)


@EITHER_WAY
def test_without_the_object_store_stores_are_refused_and_searches_go_on(stack, client, study, how):
    picture = f"{instance_path(study[0])}/rendered"
    seen = client.get(picture)
    assert seen.status_code == 200
    refused = new_study()
    with down(stack, "s3", how):
        with promptly(how):
            answer = post(client, refused)
            assert is_unavailable(answer), answer.text
        with promptly(how):
            assert c_store(stack, refused[:1]) == [OUT_OF_RESOURCES]
        with promptly(how):
            assert found(client, study)
        with promptly(how):
            assert find(stack, study[0].study_uid) == ([PENDING], SUCCESS)
        with promptly(how):
            assert client.get(f"/studies/{study[0].study_uid}/metadata").status_code == 200
        with promptly(how):
            again = client.get(picture)
            assert (again.status_code, again.content) == (200, seen.content)
        with promptly(how):
            assert is_unavailable(client.get(instance_path(study[1])))
        assert stack.says_ready("gateway")
        assert stack.says_ready("ingest")
    wait_for(lambda: c_store(stack, refused) == [SUCCESS] * 2, "the store to be taken again", 60)
    wait_for(lambda: found(client, refused), "what was refused and sent again to be found", 60)


def test_front_services_start_without_anything_but_the_object_store(stack, client, study):
    stack.kill("gateway")
    stack.kill("ingest")
    by_stow, by_dimse = new_study(), new_study()
    with down(stack, "postgres", "killed"), down(stack, "valkey", "killed"):
        for name in ("gateway", "ingest"):
            stack.start_service(name)
        assert post(client, by_stow).status_code in {200, 202}
        assert c_store(stack, by_dimse) == [SUCCESS] * 2
        assert is_unavailable(search(client, study))
    for instances in (by_stow, by_dimse):
        wait_for(lambda instances=instances: found(client, instances), "everything to be found", 60)


def test_without_auth_rules_hold_as_long_as_they_were_published_for(stack, client, study, issuer):
    # Everything above was done without an auth service; now its last word grows old.
    publish(stack, issuer, good_for=4.0)
    wait_for(lambda: search(client, study).status_code in {401, 403, 503}, "the rules to grow too old", 30)
    wait_for(lambda: not associates(stack), "the AE rules to grow too old", 30)
    publish(stack, issuer)
    wait_for(lambda: found(client, study), "new rules to be taken")
    wait_for(lambda: associates(stack), "new AE rules to be taken")


def instance_path(instance):
    return f"/studies/{instance.study_uid}/series/{instance.series_uid}/instances/{instance.sop_uid}"
