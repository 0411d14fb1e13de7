"""Two releases side by side on one database, stream and bucket, under load (docs/upgrading.md)."""

from __future__ import annotations

import itertools
import threading
from collections import Counter

import httpx
import pytest
from gantry_testing.auditor import Answer
from gantry_testing.recording import Recorder
from gantry_testing.synthetic import generate_study
from gantry_testing.waiting import wait_for
from gantry_testing.web import BadAnswer, WebClient, uids

pytestmark = pytest.mark.slow

STUDY_INSTANCE_UID = "0020000D"


class Load:
    """Senders and readers that go on until the end of ``with``; what failed is kept in ``failures``."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.recorder = Recorder()
        self.failures = []
        self.done = Counter()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._stow, self._c_store, self._read)]
        self._base_url = f"{fleet.url}/dicom-web"
        self.known = generate_study(7, "CT", number=1, instances=3, size=(64, 64))

    def __enter__(self):
        with WebClient(self._base_url) as web:
            answers = self.recorder.stow(web, self.known)
            assert answers == [Answer.ACKNOWLEDGED] * len(self.known)
            study_uid = self.known[0].study_uid
            wait_for(lambda: web.search("/studies", StudyInstanceUID=study_uid), "the first study")
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        for thread in self._threads:
            thread.join(120)

    def go_on(self, times=4, seconds=120.0):
        """Wait until everybody has done as much again."""
        before = dict(self.done)
        for what in ("stow", "c-store", "read"):
            enough = before.get(what, 0) + times
            wait_for(lambda what=what, enough=enough: self.done[what] >= enough, f"more {what}", seconds)

    def _studies(self, seed):
        for number in itertools.count():
            if self._stop.is_set():
                return
            yield generate_study(seed, "MR", number=number, instances=3, size=(64, 64))

    def _stow(self):
        for instances in self._studies(1):
            with WebClient(self._base_url, timeout=30) as web:
                answers = self.recorder.stow(web, instances)
            self.done["stow"] += 1
            self.failures += [f"stow: {answer}" for answer in answers if answer is not Answer.ACKNOWLEDGED]

    def _c_store(self):
        for instances in self._studies(2):
            # A listener that ends breaks associations off between two instances; modalities send again.
            answers = self.recorder.c_store(self.fleet.peer, instances)
            self.done["c-store"] += answers == [Answer.ACKNOWLEDGED] * len(instances)
            self.failures += [f"c-store: {answer}" for answer in answers if answer is Answer.REFUSED]

    def _read(self):
        while not self._stop.is_set():
            # A connection an answer: the balancer decides anew.
            with WebClient(self._base_url, timeout=30) as web:
                try:
                    self._read_once(web)
                except (httpx.HTTPError, BadAnswer) as error:
                    self.failures.append(f"read: {error!r}")
            self.done["read"] += 1

    def _read_once(self, web):
        instance = self.known[0]
        found = web.search("/studies", StudyInstanceUID=instance.study_uid)
        if uids(found, STUDY_INSTANCE_UID) != [instance.study_uid]:
            self.failures.append(f"search: {len(found)} answers for a study that is there")
        web.search("/studies", limit=5, PatientName="*")
        if len(web.metadata(f"/studies/{instance.study_uid}")) != len(self.known):
            self.failures.append("metadata: not of all instances")
        uid_path = f"/studies/{instance.study_uid}/series/{instance.series_uid}/instances/{instance.sop_uid}"
        web.frames(uid_path, 1)


def test_services_are_replaced_one_by_one_and_nothing_is_lost_and_no_search_fails(fleet, old, new, audit):
    with Load(fleet) as load:
        load.go_on()
        fleet.migrate(new)
        load.go_on()  # the old code on the new schema
        fleet.replace("gateway", new, one=True)
        fleet.replace("ingest", new, one=True)
        load.go_on(8)  # what the new release sends, the old one indexes
        fleet.replace("indexer", new)
        fleet.replace("indexer-worker", new)
        fleet.replace("storage", new)
        load.go_on(8)  # and the other way round
        fleet.replace("gateway", new)
        fleet.replace("ingest", new)
        load.go_on()
    assert {replica.release for replica in fleet.replicas} == {new}
    assert load.failures == []
    report = audit(fleet, load.recorder.sent)
    assert report.ok, str(report)


def test_the_code_is_rolled_back_on_the_new_schema_and_nothing_is_lost(fleet, old, new, audit):
    fleet.migrate(new)
    services = ("gateway", "ingest", "indexer", "indexer-worker", "storage")
    for service in services:
        fleet.replace(service, new)
    with Load(fleet) as load:
        load.go_on()
        fleet.replace("storage", old)
        fleet.replace("indexer", old)
        # What the new release leaves unfinished, the old one sweeps up.
        killed = next(replica for replica in fleet.replicas if replica.service == "ingest")
        fleet.dimse.remove(killed.dimse_port)
        killed.process.kill()
        fleet.replicas.remove(killed)
        fleet.start("ingest", old)
        for service in services:
            fleet.replace(service, old)
        load.go_on()
    assert {replica.release for replica in fleet.replicas} == {old}
    assert load.failures == []
    report = audit(fleet, load.recorder.sent)
    assert report.ok, str(report)
