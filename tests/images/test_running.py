"""The services out of their images alone, contained as in a cluster, over servers of this machine."""

from __future__ import annotations

import httpx
import pytest
from gantry_embedded.ports import LOOPBACK
from gantry_testing.auditor import Answer
from gantry_testing.dimse import Peer
from gantry_testing.recording import Recorder
from gantry_testing.synthetic import generate_study
from gantry_testing.waiting import wait_for
from gantry_testing.web import WebClient, uids

pytestmark = [pytest.mark.slow, pytest.mark.images]

STUDY_INSTANCE_UID = "0020000D"


@pytest.fixture(scope="module")
def archive(containers, environment):
    """Every service in a container, after the migrations out of the images."""
    containers.run("indexer", "python", "-P", "-m", "gantry_index", "migrate", environment=environment)
    containers.run("auth", "python", "-P", "-m", "gantry_auth", "migrate", environment=environment)
    containers.start("indexer", "indexer", environment)
    containers.start("indexer-worker", "indexer", environment, "worker")
    containers.start("storage", "storage", environment)
    containers.start("auth", "auth", environment)
    containers.start("ingest", "ingest", environment)
    containers.start("gateway", "gateway", environment)
    return containers


@pytest.fixture
def web(archive):
    with WebClient(f"http://{LOOPBACK}:{archive.ports['gateway']}/dicom-web") as client:
        yield client


def finds(web, study_uid):
    return uids(web.search("/studies", StudyInstanceUID=study_uid), STUDY_INSTANCE_UID) == [study_uid]


def test_what_is_stored_by_stow_is_found_read_and_rendered(web):
    study = generate_study(11, "CT", instances=3, size=(64, 64))
    first = study[0]
    assert set(Recorder().stow(web, study)) == {Answer.ACKNOWLEDGED}
    wait_for(lambda: finds(web, first.study_uid), "the study")
    assert web.retrieve_instance(first.study_uid, first.series_uid, first.sop_uid) == first.data
    path = f"/studies/{first.study_uid}/series/{first.series_uid}/instances/{first.sop_uid}/rendered"
    picture = web.get(path, "image/jpeg")
    assert (picture.status_code, picture.content[:2]) == (200, b"\xff\xd8")


def test_what_is_stored_by_c_store_is_found(web, environment):
    study = generate_study(12, "MR", instances=2, size=(64, 64))
    peer = Peer(LOOPBACK, int(environment["GANTRY_DIMSE_PORT"]), environment["GANTRY_AE_TITLE"])
    assert set(Recorder().c_store(peer, study)) == {Answer.ACKNOWLEDGED}
    wait_for(lambda: finds(web, study[0].study_uid), "the study")


def test_keys_for_tokens_are_published(archive):
    url = f"http://{LOOPBACK}:{archive.ports['auth']}/auth"
    document = httpx.get(f"{url}/.well-known/openid-configuration").raise_for_status().json()
    keys = httpx.get(f"{url}{document['jwks_uri'].partition('/auth')[2]}").raise_for_status().json()
    assert keys["keys"]


def test_every_service_ends_in_order_when_it_is_asked_to(archive):
    # Ended by itself: what gives no heed to the signal is killed after the grace, with 137.
    codes = {name: archive.stop(name) for name in ("gateway", "ingest", "auth", "storage")}
    codes |= {name: archive.stop(name) for name in ("indexer-worker", "indexer")}
    assert set(codes.values()) == {0}, codes
