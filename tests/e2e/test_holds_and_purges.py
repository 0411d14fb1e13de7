"""Holds forbid, deletions can be undone, purges cannot, and a certificate says what is gone."""

from __future__ import annotations

import json
import zlib

import psycopg
import pytest
from gantry_testing.synthetic import generate_study
from gantry_testing.waiting import wait_for


@pytest.fixture
def root(web):
    return web.base_url.removesuffix("/dicom-web")


@pytest.fixture
def gantry(stack, root):
    """Run a command as somebody at a terminal would; returns its output."""

    def run(*arguments):
        return stack.run("gantry", "gantry_cli", *arguments, "--url", root)

    return run


def refusal(gantry, *arguments):
    with pytest.raises(ValueError) as refused:
        gantry(*arguments)
    return str(refused.value)


def stored(web, number, instances=2):
    study = generate_study(number, "SC", instances=instances)
    web.store([each.data for each in study])
    return study[0].study_uid


def objects_of(stack, study_uid):
    with psycopg.connect(stack.index_dsn) as connection:
        found = connection.execute("SELECT object_key FROM reception WHERE study_uid = %s", [study_uid])
        return [key for (key,) in found]


def test_a_hold_by_study_patient_or_partition_blocks_deleting_until_it_is_lifted(stack, web, root, gantry):
    uid = stored(web, 9101)
    patient_id = web.search(f"/studies?StudyInstanceUID={uid}")[0]["00100020"]["Value"][0]
    url = f"{web.base_url}/studies/{uid}"
    for what in (("--study", uid), ("--patient", patient_id), ("--whole-partition",)):
        placed = json.loads(gantry("hold", "place", *what, "--reason", "a court", "--json"))
        answer = web.http.delete(url)
        assert (answer.status_code, placed["hold"] in answer.json()["detail"]) == (409, True)
        assert "a court" in gantry("hold", "list")
        gantry("hold", "lift", placed["hold"], "--reason", "it is over")
        assert placed["hold"] not in gantry("hold", "list")
        assert "lifted before" in refusal(gantry, "hold", "lift", placed["hold"], "--reason", "again")
    assert "it is over" in json.dumps(web.http.get(f"{root}/admin/holds", params={"all": "true"}).json())
    assert web.http.delete(url).status_code == 204


def test_what_is_purged_is_gone_for_ever_and_certified(stack, web, root, gantry):
    uid = stored(web, 9102)
    keys = objects_of(stack, uid)
    assert web.http.delete(f"{web.base_url}/studies/{uid}").status_code == 204
    assert "out of its grace" in refusal(gantry, "study", "purge", uid, "--reason", "asked for")
    hold = json.loads(gantry("hold", "place", "--study", uid, "--reason", "a court", "--json"))["hold"]
    wait_for(lambda: batches_are_closed(stack, keys), "the batch to close", 30)
    assert hold in refusal(gantry, "study", "purge", uid, "--reason", "asked for", "--now")
    assert set(keys) <= set(stack.list_keys("o/"))
    gantry("hold", "lift", hold, "--reason", "over")
    done = json.loads(gantry("study", "purge", uid, "--reason", "asked for", "--now", "--json"))
    assert done["objects"] == 2
    assert not set(keys) & set(stack.list_keys("o/"))

    listed = json.loads(gantry("certificate", "list", "--study", uid, "--json"))
    assert [one["certificate"] for one in listed] == done["certificates"]
    shown = json.loads(gantry("certificate", "show", done["certificates"][0], "--json"))
    assert sorted(one["key"] for one in shown["destroyed"]) == sorted(keys)
    assert shown["purged"]["reason"] == "asked for"
    assert shown["stores"] == [stack.store_url]
    assert "asked for" in gantry("certificate", "show", done["certificates"][0])

    assert web.get(f"/studies/{uid}").status_code == 410
    restored = web.http.post(f"{root}/admin/studies/{uid}/restore", params={"reason": "a mistake"})
    assert restored.status_code == 404
    stack.run("replay", "gantry_storage", "replay", "--since", "2020-01-01", "--partition", "main")
    assert web.get(f"/studies/{uid}").status_code == 410
    assert web.search(f"/studies?StudyInstanceUID={uid}") == []
    # Who has it still may send it again: that is a new reception.
    assert stored(web, 9102) == uid
    assert len(web.search(f"/studies/{uid}/instances")) == 2


def test_nothing_of_an_instance_that_is_purged_stays_in_the_index(stack, web, root, gantry):
    study = generate_study(9103, "CT", instances=3)
    web.store([each.data for each in study])
    uid, gone = study[0].study_uid, study[1].sop_uid
    series = web.search(f"/studies/{uid}/series")[0]["0020000E"]["Value"][0]
    assert gone in metadata_in_index(stack, uid)
    assert (
        web.http.delete(f"{web.base_url}/studies/{uid}/series/{series}/instances/{gone}").status_code == 204
    )
    wait_for(lambda: batches_are_closed(stack, objects_of(stack, uid)), "the batch to close", 30)
    gantry("study", "purge", uid, "--reason", "asked for", "--now")
    wait_for(lambda: gone not in metadata_in_index(stack, uid), "the rest to be derived again", 30)
    assert len(web.metadata(f"/studies/{uid}")) == 2
    assert study[0].sop_uid in metadata_in_index(stack, uid)


def test_a_plan_without_a_retention_file_is_that_nothing_goes(gantry):
    plan = json.loads(gantry("retention", "plan", "--json"))
    assert (plan["studies"], plan["by_policy"]) == (0, {})
    assert "0 studies" in gantry("retention", "plan")


def metadata_in_index(stack, study_uid):
    with psycopg.connect(stack.index_dsn) as connection:
        found = connection.execute(
            "SELECT g.metadata, g.documents FROM segment g JOIN series e ON e.id = g.series_pk"
            " JOIN study s ON s.id = e.study_pk WHERE s.study_uid = %s",
            [study_uid],
        )
        return "".join(zlib.decompress(part).decode() for row in found for part in row)


def test_requests_that_make_no_sense_are_refused(web, root):
    holds, post = f"{root}/admin/holds", web.http.post
    for body in (
        {"scope": "study", "study": "1.2.3"},
        {"scope": "study", "study": "x", "reason": "r"},
        {"scope": "patient", "patientId": "", "reason": "r"},
        {"scope": "patient", "patientId": "1", "study": "1.2", "reason": "r"},
        {"scope": "world", "reason": "r"},
        {"scope": "partition", "reason": "r" * 501},
        [],
    ):
        assert post(holds, json=body).status_code == 400, body
    assert post(holds, content=b"{" * 70_000).status_code == 413
    assert post(f"{holds}/nothing/lift", params={"reason": "r"}).status_code == 404
    assert post(f"{root}/admin/studies/1.2.3/purge", params={"reason": "r"}).status_code == 409
    assert post(f"{root}/admin/studies/1.2.3/purge").status_code == 400
    assert web.http.get(f"{root}/admin/certificates/none").status_code == 404
    assert web.http.get(f"{root}/admin/retention/requests/0").status_code == 400
    assert web.http.get(f"{root}/admin/retention/requests/999999").status_code == 404


def batches_are_closed(stack, keys):
    batches = {key.split("/")[3] for key in keys}
    return batches <= {key.rsplit("/", 1)[-1] for key in stack.list_keys("m/")}
