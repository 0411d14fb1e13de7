"""The index is thrown away and made anew from the bucket: answers are the same, byte by byte."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import psycopg
import pytest
from gantry_testing.dimse import Outgoing, store_all
from gantry_testing.stack import INDEX_DATABASE, Stack
from gantry_testing.synthetic import generate_study
from gantry_testing.waiting import wait_for
from pydicom import Dataset
from pynetdicom import AE

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
KINDS = ("CT", "SC")

# An archive of its own, filled and rebuilt four times.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Forty studies by both roads: duplicates, conflicts, deletions; in an archive of its own."""
    with Stack(tmp_path_factory.mktemp("rebuilt")) as stack:
        yield stack


@pytest.fixture(scope="module")
def studies(archive):
    made = [generate_study(9000 + n, KINDS[n % 2], instances=2) for n in range(40)]
    with archive.web() as web:
        for n, study in enumerate(made):
            if n % 4 == 3:
                items = [
                    Outgoing(each.sop_class_uid, each.sop_uid, each.transfer_syntax_uid, each.data_set)
                    for each in study
                ]
                assert store_all(archive.peer, items) == [0] * len(items)
            else:
                web.store([each.data for each in study])
        again = made[0][0]
        web.store([again.data])
        # Another version of the same instance: its last pixel differs.
        web.store([again.data[:-1] + bytes([again.data[-1] ^ 1])])
        archive.wait_indexed(sum(len(study) for study in made))
        gone = made[5][0]
        assert web.http.delete(f"{web.base_url}/studies/{gone.study_uid}").status_code == 204
    wait_for(lambda: not archive.list_keys("w/"), "the deletion's note to go", 60)
    return made


def answers(stack, studies):
    """Return some 200 answers: status, type and body of each, the order of what is in them included."""
    found = {}
    paths = [
        "/studies",
        "/series",
        "/instances?limit=30",
        "/studies?limit=7&offset=3",
        "/studies?includefield=all",
    ]
    paths += [
        "/instances?limit=1000",
        "/series?Modality=CT",
        "/studies?ModalitiesInStudy=OT&fuzzymatching=true",
    ]
    for study in studies:
        first = study[0]
        paths += [
            f"/studies?StudyInstanceUID={first.study_uid}&includefield=all",
            f"/studies/{first.study_uid}/instances?includefield=all",
            f"/studies/{first.study_uid}/metadata",
            f"/studies/{first.study_uid}/series",
            f"/studies/{first.study_uid}/instances?limit=1&offset=1",
        ]
    with stack.web() as web:
        for path in paths:
            answer = web.get(path, "application/dicom+json")
            found[path] = answer.status_code, answer.headers.get("content-type"), answer.content
    found["C-FIND"] = find(stack)
    return found


def find(stack):
    key = Dataset()
    key.QueryRetrieveLevel = "STUDY"
    for keyword in ("StudyInstanceUID", "PatientName", "PatientID", "StudyDate", "ModalitiesInStudy"):
        setattr(key, keyword, "")
    key.NumberOfStudyRelatedInstances = None
    entity = AE("TESTER")
    entity.add_requested_context(FIND)
    association = entity.associate(stack.peer.host, stack.peer.port, ae_title=stack.peer.called_ae_title)
    assert association.is_established
    try:
        return [
            json.dumps(match.to_json_dict())
            for status, match in association.send_c_find(key, FIND)
            if status.Status in (0xFF00, 0xFF01)
        ]
    finally:
        association.release()


def rebuild(stack, *arguments):
    return stack.run("rebuild", "gantry_cli", "rebuild", *arguments, seconds=300)


def test_two_hundred_answers_are_the_same_after_the_index_was_dropped(archive, studies):
    before = answers(archive, studies)
    assert len(before) > 200
    assert len(before["C-FIND"]) == 39, "one of forty is deleted"
    archive.disconnect_index()
    archive.postgres.drop_database(INDEX_DATABASE)
    archive.postgres.ensure_database(INDEX_DATABASE)
    archive.run("migrate", "gantry_index", "migrate")
    with archive.web() as web:
        wait_for(lambda: web.get("/studies").status_code in (200, 204), "an archive with an empty index", 30)
        assert web.search("/studies") == []
    output = rebuild(archive, "--switch")
    assert "instances/s" in output
    after = answers(archive, studies)
    different = [path for path in before if before[path] != after[path]]
    assert different == [], (before[different[0]], after[different[0]])


def test_what_arrives_while_it_is_rebuilt_is_in_the_new_index(archive, studies):
    before = answers(archive, studies)
    with archive.web() as web:
        rebuild(archive)
        assert answers(archive, studies) == before, "the archive served on, from the old index"
        late = generate_study(9900, "SC")
        web.store([late[0].data])
        # Its batch has a manifest by now, or is still in the journal, which the sweeper sees to.
        rebuild(archive, "--switch")
        wait_for(lambda: web.get(f"/studies/{late[0].study_uid}").status_code == 200, "the late one", 30)
    assert set(before["C-FIND"]) <= set(find(archive))
    with psycopg.connect(archive.index_dsn) as connection:
        relayed = connection.execute("SELECT count(*) FROM outbox").fetchone()
    assert relayed == (0,), "nothing of the past is announced again"


def test_an_index_of_an_earlier_moment_stands_beside_the_one_in_use(archive, studies):
    moment = datetime.now(UTC)
    later = generate_study(9901, "SC")
    with archive.web() as web:
        web.store([later[0].data])
        assert web.http.delete(f"{web.base_url}/studies/{studies[0][0].study_uid}").status_code == 204
        rebuild(archive, "--until", moment.isoformat(), "--database", "as_of")
        with psycopg.connect(archive.postgres.dsn_for("as_of")) as connection:
            then = {row[0] for row in connection.execute("SELECT study_uid FROM study")}
        assert later[0].study_uid not in then
        assert studies[0][0].study_uid in then
        assert studies[5][0].study_uid not in then, "what had been deleted by then"
        assert web.get(f"/studies/{later[0].study_uid}").status_code == 200


def test_a_scrub_finds_what_was_changed_and_deleted_behind_the_archives_back(archive, studies):
    assert "0 findings" in archive.run("scrub", "gantry_storage", "scrub")
    damaged, missing = (_key_of(archive, studies[n][0]) for n in (8, 12))
    flipped = archive.folder / "objects" / damaged
    data = bytearray(flipped.read_bytes())
    data[-1] ^= 1
    flipped.write_bytes(data)
    (archive.folder / "objects" / missing).unlink()
    with pytest.raises(ValueError, match="ended with 1") as ended:
        archive.run("scrub", "gantry_storage", "scrub")
    found = str(ended.value)
    assert "2 findings" in found
    for kind, key in (("damaged", damaged), ("missing", missing)):
        assert f'{{"kind": "{kind}", "key": "{key}"' in found


def _key_of(archive, instance):
    with psycopg.connect(archive.index_dsn) as connection:
        row = connection.execute("SELECT object_key FROM instance WHERE sop_uid = %s", [instance.sop_uid])
        return row.fetchone()[0]
