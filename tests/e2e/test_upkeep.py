"""What is wrong is told to administrators, and mended or decided by them, by HTTP and on the command line."""

from __future__ import annotations

import json

import psycopg
import pytest
from gantry_testing.builders import with_other_bytes
from gantry_testing.synthetic import generate_study


@pytest.fixture
def cli(stack, web):
    """``cli(...)``: what a command prints."""
    root = web.base_url.removesuffix("/dicom-web")
    return lambda *words: stack.run("upkeep", "gantry_cli", *words, "--url", root)


@pytest.fixture
def database(stack):
    with psycopg.connect(stack.index_dsn, autocommit=True) as connection:
        yield connection


def key_of(database, sop_uid):
    row = database.execute("SELECT object_key FROM instance WHERE sop_uid = %s", [sop_uid]).fetchone()
    return row[0]


def test_a_study_with_a_wrong_number_is_found_and_mended(web, cli, database):
    study = generate_study(8901, "SC", instances=2)
    web.store([each.data for each in study])
    uid = study[0].study_uid
    assert "They agree." in cli("study", "reconcile", uid, "--digests")
    database.execute("UPDATE study SET instance_count = 9 WHERE study_uid = %s", [uid])
    mended = json.loads(cli("study", "reconcile", uid, "--repair", "--json"))
    assert mended["before"]["aggregates"]["differing"] == ["instance_count"]
    assert mended["agrees"] is True
    assert "aggregates-differ" in cli("findings", "list", "--show", "closed", "--study", uid)


def test_a_conflict_is_shown_side_by_side(web, cli):
    [first] = generate_study(8902, "SC", instances=1)
    web.store([first.data])
    web.store([with_other_bytes(first).data])
    assert first.sop_uid in cli("conflicts", "list")
    shown = cli("conflicts", "show", first.sop_uid)
    assert "version 1" in shown
    assert "7FE51001" in shown
    number = json.loads(cli("findings", "list", "--study", first.study_uid, "--json"))[0]["finding"]
    cli("findings", "close", str(number), "--reason", "the first is right")
    assert first.sop_uid not in cli("conflicts", "list")


def test_a_quarantined_object_is_looked_at_tried_again_and_rejected(web, cli, database):
    study = generate_study(8903, "SC", instances=2)
    web.store([each.data for each in study])
    keys = [key_of(database, each.sop_uid) for each in study]
    database.execute("DELETE FROM instance WHERE object_key = ANY (%s)", [keys])
    database.execute(
        "UPDATE reception SET state = 5, reason = 'it was odd', attempts = 3 WHERE object_key = ANY (%s)",
        [keys],
    )
    listed = cli("quarantine", "list", "--study", study[0].study_uid)
    assert all(key in listed for key in keys)
    assert "it was odd" in listed
    shown = json.loads(cli("quarantine", "show", keys[0]))
    assert shown["attempts"] == 3
    header = {one["keyword"]: one["values"][0] for one in shown["header"]}
    assert header["SOPInstanceUID"] == [study[0].sop_uid]
    assert "indexed" in cli("quarantine", "retry", keys[0])
    cli("quarantine", "reject", keys[1], "--reason", "a test picture")
    assert keys[1] not in cli("quarantine", "list")
    assert len(web.search(f"/studies/{study[0].study_uid}/instances")) == 1
    assert "a test picture" in cli("study", "history", study[0].study_uid)
