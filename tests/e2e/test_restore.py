"""What was deleted comes back when an administrator says so."""

from __future__ import annotations

from gantry_testing.synthetic import generate_study
from gantry_testing.waiting import wait_for


def admin(web, study_uid, what):
    return f"{web.base_url.removesuffix('/dicom-web')}/admin/studies/{study_uid}/{what}"


def cli(stack, web, *arguments):
    root = web.base_url.removesuffix("/dicom-web")
    return stack.run("study", "gantry_cli", "study", *arguments, "--url", root)


def test_a_deleted_study_is_shown_again_with_the_same_bytes_and_a_history(stack, web):
    study = generate_study(8801, "SC", instances=2)
    uid = study[0].study_uid
    path = f"/studies/{uid}"
    web.store([each.data for each in study])
    before = web.get(f"{path}/metadata", "application/dicom+json").content
    assert web.http.delete(web.base_url + path).status_code == 204
    assert web.get(path).status_code == 410
    output = cli(stack, web, "restore", uid, "--reason", "the wrong one")
    assert "2 instances are shown again" in output
    wait_for(lambda: web.get(f"{path}/metadata", "application/dicom+json").content == before, "both of them")
    listed = web.http.get(admin(web, uid, "amendments")).json()
    assert [(each["kind"], each["undoneBy"], each["undoes"]) for each in listed] == [
        ("hide", 2, None),
        ("restore", None, 1),
    ]
    assert listed[1]["reason"] == "the wrong one"
    assert "the wrong one" in cli(stack, web, "history", uid)


def test_only_a_deletion_that_stands_is_undone_and_only_with_a_reason(stack, web):
    study = generate_study(8802, "SC", instances=2)
    uid = study[0].study_uid
    web.store([each.data for each in study])
    url = admin(web, uid, "restore")
    assert web.http.post(url, params={"reason": "x"}).status_code == 404
    series = web.search(f"/studies/{uid}/series")[0]["0020000E"]["Value"][0]
    for each in study:
        instance = f"{web.base_url}/studies/{uid}/series/{series}/instances/{each.sop_uid}"
        assert web.http.delete(instance).status_code == 204
    assert web.http.post(url).status_code == 400
    assert web.http.post(url, params={"reason": "x", "revision": "two"}).status_code == 400
    assert web.http.post(url, params={"reason": "x", "partition": "other"}).status_code == 404
    assert web.http.post(url, params={"reason": "x", "revision": "2"}).json()["restored"] == [2]
    wait_for(lambda: len(web.search(f"/studies/{uid}/instances")) == 1, "the second of them")
    assert web.http.post(url, params={"reason": "x", "revision": "2"}).status_code == 404
    assert web.http.post(url, params={"reason": "x"}).json()["restored"] == [1]
    wait_for(lambda: len(web.search(f"/studies/{uid}/instances")) == 2, "the first too")
