"""What was deleted stays deleted: through outages, replays, and in an index built anew."""

from __future__ import annotations

from datetime import UTC, datetime

from gantry_testing.synthetic import generate_study
from gantry_testing.waiting import wait_for

SERVICES = ("indexer", "indexer-worker", "storage", "ingest", "gateway")


def delete(web, path):
    return web.http.delete(web.base_url + path).status_code


def test_a_deletion_without_redis_is_kept_and_done_later(stack):
    [kept, gone] = [generate_study(seed, "SC") for seed in (1_001, 1_002)]
    with stack.web() as web:
        web.store([kept[0].data, gone[0].data])
        stack.valkey.kill()
        assert delete(web, f"/studies/{gone[0].study_uid}") == 202
        stack.kill("gateway")
        stack.valkey.start()
        stack.start_service("gateway")
        path = f"/studies/{gone[0].study_uid}"
        wait_for(lambda: web.get(path).status_code == 410, "the deletion to be applied", 30)
        assert web.get(f"/studies/{kept[0].study_uid}").status_code == 200
        wait_for(lambda: not stack.list_keys("w/"), "the note to go", 30)


def test_an_older_index_learns_of_deletions_before_it_is_told_of_receptions(stack, found_of):
    old, new = generate_study(1_003, "SC"), generate_study(1_004, "SC")
    with stack.web() as web:
        web.store([old[0].data])
        stack.wait_found([old[0].sop_uid])
        for name in SERVICES:
            stack.stop_service(name)
        stack.copy_index("before_deletions")
        taken = datetime.now(UTC)
        for name in SERVICES:
            stack.start_service(name)
        web.store([new[0].data])
        for instance in (old[0], new[0]):
            assert delete(web, f"/studies/{instance.study_uid}") == 204
        wait_for(lambda: not stack.list_keys("w/"), "the notes to go", 30)
        for name in SERVICES:
            stack.stop_service(name)
        stack.restore_index("before_deletions")
        for name in SERVICES:
            stack.start_service(name)
        assert web.get(f"/studies/{old[0].study_uid}").status_code == 200, "the older copy is not in place"
        stack.run("replay", "gantry_storage", "replay", "--since", taken.isoformat())
        for instance in (old[0], new[0]):
            assert web.get(f"/studies/{instance.study_uid}").status_code == 410
        assert found_of(web, [*old, *new]) == set()
