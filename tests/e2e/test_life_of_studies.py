"""What a retention file does by itself, on an S3 server with a cold store; and a rebuild of it.

Everything is old here: the file lets go of studies a day after their date, and of nothing later.
"""

from __future__ import annotations

import json

import pytest
from gantry_testing.stack import INDEX_DATABASE, Stack
from gantry_testing.synthetic import generate_study
from gantry_testing.waiting import wait_for
from pydicom import Dataset
from pynetdicom import AE

# An archive of its own, rebuilt once.
pytestmark = pytest.mark.slow

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
SERVICES = ("gateway", "ingest", "indexer", "indexer-worker", "storage")
RETENTION = {
    "grace_days": 0,
    "settle_days": 0,
    "move_grace_days": 0,
    "backups_kept_days": 10,
    "policies": [
        {
            "name": "captures",
            "delete_after_days": 1,
            "counted_from": "study-date",
            "when": {"modalities": ["OT", "SC"]},
        }
    ],
    "moves": [{"name": "old-ct", "to": "cold", "after_days": 1, "when": {"modalities": ["CT"]}}],
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("life")
    file = folder / "retention.json"
    file.write_text(json.dumps(RETENTION))
    environment = {
        "GANTRY_TIERS": f"cold:NEARLINE:{(folder / 'cold').as_uri()}",
        "GANTRY_RETENTION_FILE": str(file),
        "GANTRY_RETENTION_RUN_SECONDS": "2",
        "GANTRY_CAPACITY_FOLD_SECONDS": "1",
        "GANTRY_CAPACITY_QUOTAS": "primary=1000000000,cold=2000000000",
    }
    with Stack(folder, store="s3", environment=environment) as stack:
        yield stack


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("o/**/*") if path.is_file())


def bodies(web, study_uid):
    return sorted(part.body for part in web.retrieve(f"/studies/{study_uid}"))


def availability(web, path):
    return {one["00080056"]["Value"][0] for one in web.search(path)}


def test_cold_studies_move_old_ones_go_and_a_rebuild_knows_both(archive):
    ct = generate_study(9301, "CT", instances=3)
    sc = generate_study(9302, "SC", instances=2)
    kept, gone = ct[0].study_uid, sc[0].study_uid
    cold = archive.folder / "cold"
    root = archive.base_url().removesuffix("/dicom-web")
    with archive.web() as web:
        web.store([each.data for each in (*ct, *sc)])
        # Not asked for before it has moved: that would be a look, and it not cold.
        before = sorted(each.data for each in ct)
        wait_for(lambda: len(files_in(cold)) == 3, "the CT study to be in the cold store", 90)
        wait_for(lambda: archive.list_keys("o/") == [], "both studies to leave the first store", 90)
        assert availability(web, f"/studies?StudyInstanceUID={kept}") == {"NEARLINE"}
        assert availability(web, f"/studies/{kept}/series") == {"NEARLINE"}
        assert availability(web, f"/studies/{kept}/instances") == {"NEARLINE"}
        assert found_over_dimse(archive.peer, kept) == ["NEARLINE"]
        assert bodies(web, kept) == before
        assert web.get(f"/studies/{gone}").status_code == 410

        [certificate] = web.http.get(f"{root}/admin/certificates").json()
        assert (certificate["study"], certificate["policy"]) == (gone, "captures")
        assert (certificate["deleted"]["by"], certificate["objects"]) == ("retention", 2)
        assert certificate["stores"][1] == cold.as_uri()
        assert certificate["remaining"]["inBackupsUntil"]

        def tiers():
            return {one["tier"]: one["instances"] for one in capacity(web, root)["usage"]}

        wait_for(lambda: tiers() == {"cold": 3}, "the numbers to follow", 30)
        rooms = {one["tier"]: one["roomBytes"] for one in capacity(web, root)["tiers"]}
        assert rooms["primary"] == 1_000_000_000
        size = sum(len(each.data) for each in ct)
        assert rooms["cold"] == pytest.approx(2_000_000_000 - size, abs=10_000)
        metrics = web.http.get(f"{archive.health_url('storage')}/metrics").text
        assert 'gantry_capacity_instances{partition="main",tier="cold"} 3.0' in metrics

        # Everything again from the bucket, into an index that never saw any of it.
        for name in SERVICES:
            archive.stop_service(name)
        archive.disconnect_index()
        archive.postgres.drop_database(INDEX_DATABASE)
        archive.postgres.ensure_database(INDEX_DATABASE)
        archive.run("migrate", "gantry_index", "migrate")
        for name in SERVICES:
            archive.start_service(name)
        archive.run("rebuild", "gantry_storage", "rebuild")
        assert availability(web, f"/studies?StudyInstanceUID={kept}") == {"NEARLINE"}
        assert bodies(web, kept) == before
        assert web.get(f"/studies/{gone}").status_code == 410
        assert tiers() == {"cold": 3}

        output = archive.run(
            "recall", "gantry_cli", "study", "recall", kept, "--reason", "needed", "--url", root
        )
        assert "3 objects" in output
        assert availability(web, f"/studies?StudyInstanceUID={kept}") == {"ONLINE"}
        wait_for(lambda: files_in(cold) == [], "the study to leave the cold store", 90)
        assert bodies(web, kept) == before
        # Somebody has just looked at it: it is not cold now.
        assert len(archive.list_keys("o/")) == 3
        shown = archive.run("capacity", "gantry_cli", "capacity", "--by", "modality,tier", "--url", root)
        assert "primary" in shown
        assert "3 objects" in shown


def found_over_dimse(peer, study_uid):
    key = Dataset()
    key.QueryRetrieveLevel, key.StudyInstanceUID, key.InstanceAvailability = "STUDY", study_uid, ""
    entity = AE("TESTER")
    entity.add_requested_context(STUDY_ROOT_FIND)
    association = entity.associate(peer.host, peer.port, ae_title=peer.called_ae_title)
    try:
        answers = association.send_c_find(key, STUDY_ROOT_FIND)
        return [match.InstanceAvailability for _, match in answers if match is not None]
    finally:
        association.release()


def capacity(web, root):
    return web.http.get(f"{root}/admin/capacity").json()
