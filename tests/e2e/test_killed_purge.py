"""The storage service is killed while it destroys a study: the next one finishes, and certifies all of it."""

from __future__ import annotations

import threading

import httpx
import pytest
from gantry_testing.stack import Stack
from gantry_testing.synthetic import generate_study
from gantry_testing.waiting import wait_for

# An archive of its own.
pytestmark = pytest.mark.slow
COUNT = 400


@pytest.fixture
def archive(tmp_path):
    with Stack(tmp_path, environment={"GANTRY_RETENTION_RESUME_SECONDS": "1"}) as stack:
        yield stack


def test_a_purge_whose_process_is_killed_is_finished_and_answered_by_the_next(archive):
    study = generate_study(9401, "CT", instances=COUNT, size=(16, 16))
    uid = study[0].study_uid
    root = archive.base_url().removesuffix("/dicom-web")
    answers = []

    def purge():
        answers.append(
            httpx.post(
                f"{root}/admin/studies/{uid}/purge", params={"reason": "asked for", "now": "true"}, timeout=60
            )
        )

    with archive.web() as web:
        for first in range(0, COUNT, 100):
            web.store([each.data for each in study[first : first + 100]])
        archive.wait_indexed(COUNT)
        assert web.http.delete(f"{web.base_url}/studies/{uid}").status_code == 204
        wait_for(lambda: archive.list_keys("j/") == [], "every batch to be closed", 60)
        asking = threading.Thread(target=purge)
        asking.start()
        wait_for(lambda: len(archive.list_keys("o/")) < COUNT, "the first object to go", 30)
        archive.kill("storage")
        left = len(archive.list_keys("o/"))
        assert archive.list_keys("d/") == []
        assert web.http.post(f"{root}/admin/studies/{uid}/restore", params={"reason": "x"}).status_code == 404
        archive.start_service("storage")
        asking.join(60)
        wait_for(lambda: archive.list_keys("x/") == [], "the purge to be over", 60)
    assert 0 < left < COUNT, "it was killed too late to say anything"
    assert archive.list_keys("o/") == []
    [certificate] = httpx.get(f"{root}/admin/certificates", params={"study": uid}).json()
    shown = httpx.get(f"{root}/admin/certificates/{certificate['certificate']}").json()
    assert len(shown["destroyed"]) == COUNT
    assert sum(one["copies"] == 0 for one in shown["destroyed"]) >= COUNT - left
    # Whoever asked waited through it, unless what goes on by itself was there first.
    [answer] = answers
    if answer.status_code == 200:
        assert answer.json()["certificates"] == [certificate["certificate"]]
    else:
        assert answer.status_code == 409
