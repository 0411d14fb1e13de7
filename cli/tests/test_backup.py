"""Repositories of backups, the archived log, dumps, and what a restore refuses."""

from __future__ import annotations

import fcntl
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from gantry_cli.__main__ import main
from gantry_cli.backup import keys as backup_keys
from gantry_cli.backup import wal
from gantry_cli.backup.create import CORE, STATE, state_document
from gantry_cli.backup.databases import check_tables, dump, snapshot_of
from gantry_cli.backup.forgetting import forget
from gantry_cli.backup.repository import (
    BaseFacts,
    Manifest,
    check_recipient,
    list_backups,
    make_repository,
    open_repository,
    read_document,
    read_manifest,
    reading_keys,
    remember,
    verify_parts,
    write_manifest,
    write_part,
)
from gantry_cli.backup.restore import (
    Source,
    Target,
    check_target,
    find_backup,
    merged_keys,
    restore_dump,
    verified,
)
from gantry_cli.backup.sealing import BadBackup
from gantry_dicom.errors import BadRequest, Conflict, NotAllowed, NotFound
from gantry_index.switching import sibling

WRITING, READING = backup_keys.new_keys()
PASSPHRASE = "correct horse battery"
MOMENT = datetime(2026, 11, 25, 10, tzinfo=UTC)
SEGMENT = "00000001000000000000000{}"


async def pieces(*data):
    for piece in data:
        yield piece


@pytest.fixture
async def repository(file_url):
    """An empty repository."""
    await make_repository(file_url, WRITING, READING, PASSPHRASE)
    opened = await open_repository(file_url)
    yield opened
    await opened.store.close()


def manifest_of(number=0, **facts):
    moment = (MOMENT + timedelta(hours=number)).isoformat()
    facts = {"schemas": {}, "tables": {}, "seal_keys": ["k1"], **facts}
    return Manifest(f"2026112{number}T100000Z", moment, moment, version="0.1.0", postgres="18", **facts)


async def put_backup(repository, number=0, signer=WRITING.signer, **facts):
    manifest = manifest_of(number, **facts)
    document = json.dumps({"files": {"seal-keys": ""}}).encode()
    part = await write_part(repository, manifest.id, STATE, pieces(document))
    manifest = replace(manifest, parts=[*manifest.parts, part])
    await write_manifest(repository, manifest, signer)
    return manifest


async def test_a_backup_is_found_verified_and_read(repository):
    made = await put_backup(repository)
    assert await list_backups(repository) == [made]
    found = await read_manifest(repository, made.id, READING)
    assert await verify_parts(repository, found) == made.parts[0].size
    assert await read_document(repository, found, STATE, READING) == {"files": {"seal-keys": ""}}
    assert (await verified(repository, found, READING))["files"] == {"seal-keys": ""}


async def test_a_bucket_is_a_repository_too_with_credentials_of_its_own(
    s3_url, s3_server, monkeypatch, tmp_path
):
    monkeypatch.setenv("GANTRY_BACKUP_S3_ACCESS_KEY", s3_server.access_key)
    monkeypatch.setenv("GANTRY_BACKUP_S3_SECRET_KEY", s3_server.secret_key)
    monkeypatch.delenv("GANTRY_S3_ACCESS_KEY")
    await make_repository(s3_url, WRITING, READING, PASSPHRASE)
    with pytest.raises(Conflict):
        await make_repository(s3_url, WRITING, READING, PASSPHRASE)
    opened = await open_repository(s3_url)
    made = await put_backup(opened)
    await verified(opened, await read_manifest(opened, made.id, READING), READING)
    for _ in range(2):
        await wal.archive(opened.store, WRITING, "42", SEGMENT.format(3), b"log")
    with pytest.raises(Conflict):
        await wal.archive(opened.store, WRITING, "42", SEGMENT.format(3), b"other")
    assert (await wal.fetch(opened, "42", SEGMENT.format(1), tmp_path, READING)).last == SEGMENT.format(3)
    await opened.store.close()


async def test_a_changed_or_missing_part_is_found_before_anything_is_restored(repository):
    made = await put_backup(repository)
    key = f"backups/{made.id}/{STATE}"
    data = bytearray(await repository.store.get(key))
    data[-1] ^= 1
    await repository.store.put(key, bytes(data))
    with pytest.raises(BadBackup, match="not what was written"):
        await verified(repository, made, READING)
    await repository.store.delete(key)
    with pytest.raises(BadBackup, match="missing"):
        await verified(repository, made, READING)


async def test_a_manifest_that_the_archive_has_not_signed_is_not_believed(repository):
    stranger, _ = backup_keys.new_keys()
    made = await put_backup(repository, signer=stranger.signer)
    with pytest.raises(BadBackup, match="not written by the archive"):
        await read_manifest(repository, made.id, READING)


async def test_a_manifest_in_another_backups_place_is_not_believed(repository):
    made = await put_backup(repository)
    for name in ("manifest.json", "manifest.sig"):
        data = await repository.store.get(f"backups/{made.id}/{name}")
        await repository.store.put(f"backups/20261231T000000Z/{name}", data)
    with pytest.raises(BadBackup, match="another backup's"):
        await read_manifest(repository, "20261231T000000Z", READING)


async def test_a_backup_without_manifest_was_not_finished_and_does_not_count(repository):
    made = await put_backup(repository)
    await repository.store.delete(f"backups/{made.id}/manifest.json")
    assert await list_backups(repository) == []
    with pytest.raises(NotFound):
        await find_backup(repository, "", READING)


async def test_a_schema_of_a_newer_release_is_refused(repository):
    made = await put_backup(repository, schemas={"index": "9999"})
    with pytest.raises(BadBackup, match="newer release"):
        await verified(repository, made, READING)


async def test_a_moment_is_reached_from_the_last_base_backup_before_it(repository):
    base = BaseFacts("1", SEGMENT.format(1), (MOMENT + timedelta(hours=1, minutes=5)).isoformat())
    first = await put_backup(repository, 1, base=base)
    later = replace(base, ended=(MOMENT + timedelta(hours=3)).isoformat())
    await put_backup(repository, 3, base=later)
    await put_backup(repository, 4)
    until = MOMENT + timedelta(hours=2)
    assert (await find_backup(repository, "", READING, until)).id == first.id
    assert (await find_backup(repository, "", READING, latest=True)).base == later
    assert (await find_backup(repository, "", READING)).base is None
    with pytest.raises(NotFound, match="can be reached"):
        await find_backup(repository, "", READING, MOMENT + timedelta(hours=1))
    with pytest.raises(BadRequest):
        await find_backup(repository, first.id, READING, MOMENT)


async def test_the_passphrase_or_the_key_file_opens_a_repository(repository, tmp_path):
    file = tmp_path / "passphrase"
    file.write_text(PASSPHRASE + "\n")
    assert backup_keys.as_text(reading_keys(repository, file, None)) == backup_keys.as_text(READING)
    file.write_text("something else entirely")
    with pytest.raises(NotAllowed):
        reading_keys(repository, file, None)
    file.write_text(backup_keys.as_text(backup_keys.new_keys()[1]))
    with pytest.raises(BadBackup, match="exchanged"):
        reading_keys(repository, None, file)
    with pytest.raises(Conflict):
        await make_repository(repository.where, WRITING, READING, PASSPHRASE)


async def test_nothing_is_sealed_to_a_key_that_was_put_into_the_repository(repository):
    check_recipient(repository, WRITING)
    stranger, _ = backup_keys.new_keys()
    with pytest.raises(BadBackup, match="exchanged"):
        check_recipient(replace(repository, recipient=stranger.recipient), WRITING)


async def test_a_segment_is_archived_once_and_again_only_with_the_same_bytes(repository, tmp_path):
    name = SEGMENT.format(3)
    for _ in range(2):
        await wal.archive(repository.store, WRITING, "42", name, b"log" * 1000)
    with pytest.raises(Conflict):
        await wal.archive(repository.store, WRITING, "42", name, b"other")
    await wal.archive(repository.store, WRITING, "42", SEGMENT.format(1), b"before")
    await wal.archive(repository.store, WRITING, "42", "00000002.history", b"history")
    found = await wal.fetch(repository, "42", SEGMENT.format(2), tmp_path, READING)
    assert (found.files, found.last) == (2, name)
    assert (tmp_path / name).read_bytes() == b"log" * 1000
    assert (tmp_path / "00000002.history").read_bytes() == b"history"
    assert (await wal.fetch(repository, "43", SEGMENT.format(2), tmp_path, READING)).files == 0


async def test_a_segment_that_somebody_else_put_there_is_not_believed(repository, tmp_path):
    stranger, _ = backup_keys.new_keys()
    forged = replace(WRITING, signer=stranger.signer)
    await wal.archive(repository.store, forged, "42", SEGMENT.format(1), b"forged")
    with pytest.raises(BadBackup):
        await wal.fetch(repository, "42", SEGMENT.format(1), tmp_path, READING)


async def test_old_backups_go_and_the_log_that_only_they_needed(repository):
    bases = [BaseFacts("42", SEGMENT.format(n), MOMENT.isoformat()) for n in (1, 3, 5)]
    made = [await put_backup(repository, n, base=base) for n, base in enumerate(bases)]
    for n in range(1, 7):
        await wal.archive(repository.store, WRITING, "42", SEGMENT.format(n), b"log")
    gone, files = await forget(repository, 2)
    assert (gone, files) == ([made[0].id], 2)
    left = {info.key async for info in repository.store.list(f"{wal.WAL_PREFIX}42/")}
    assert left == {f"wal/42/{SEGMENT.format(n)}" for n in range(3, 7)}
    assert [info.key async for info in repository.store.list(f"backups/{made[0].id}/")] == []


async def test_the_newest_base_backup_stays_however_old_it_is(repository):
    base = BaseFacts("42", SEGMENT.format(3), MOMENT.isoformat())
    made = [await put_backup(repository, n, base=base if n == 1 else None) for n in range(5)]
    await wal.archive(repository.store, WRITING, "42", SEGMENT.format(3), b"log")
    gone, files = await forget(repository, 2)
    assert (gone, files) == ([made[0].id, made[2].id], 0)


def test_a_stack_archives_its_log_when_it_was_told_to(tmp_path):
    assert wal.archive_settings(tmp_path) == {}
    remember(tmp_path, str(tmp_path / "repo"), WRITING, archive_wal=False)
    assert wal.archive_settings(tmp_path) == {}
    state = tmp_path / "100% state"
    remember(state, str(tmp_path / "repo"), WRITING, archive_wal=True)
    settings = wal.archive_settings(state)
    assert settings["archive_mode"] == "on"
    assert settings["archive_command"].endswith(" %p %f")
    assert "100%% state" in settings["archive_command"]


def test_keys_and_settings_are_kept_and_the_backups_own_secrets_are_not(tmp_path):
    (tmp_path / "clients").mkdir()
    (tmp_path / "clients" / "operator").write_text("secret")
    (tmp_path / "seal-keys").write_text("k1:00")
    kept = state_document(tmp_path, {"GANTRY_AE_TITLE": "X", "GANTRY_BACKUP_PASSPHRASE": "p", "HOME": "/"})
    assert set(kept["files"]) == {"seal-keys", "clients/operator"}
    assert kept["environment"] == {"GANTRY_AE_TITLE": "X"}


def test_a_folder_in_use_is_not_restored_into(tmp_path):
    check_target(Target(tmp_path / "new"))
    (tmp_path / "stack.json").write_text("{}")
    with pytest.raises(Conflict, match="--replace"):
        check_target(Target(tmp_path))
    check_target(Target(tmp_path, replace=True))
    with (tmp_path / "supervisor.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Conflict, match="runs in"):
            check_target(Target(tmp_path, replace=True))


def test_seal_keys_made_after_the_backup_are_kept_and_those_of_the_backup_still_open():
    assert merged_keys("", "k1:aa") == "k1:aa"
    assert merged_keys("k2:bb, k1:aa", "k1:aa") == "k2:bb,k1:aa"
    assert merged_keys("k2:bb", "k1:aa,k2:bb") == "k2:bb,k1:aa"
    with pytest.raises(BadBackup, match="another one"):
        merged_keys("k1:bb", "k1:aa")


@pytest.fixture
def database(postgres_server):
    """A database with rows of many kinds; it and what comes of it go afterwards."""
    dsn = postgres_server.create_database("backed")
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE SCHEMA auth")
        connection.execute("CREATE TABLE auth.users (id int, at timestamptz, what jsonb, raw bytea)")
        connection.execute(
            "INSERT INTO auth.users SELECT n, now(), '{\"a\": [1, \"ü\"]}', '\\x00ff'"
            " FROM generate_series(1, 500) n"
        )
    yield dsn
    with psycopg.connect(postgres_server.dsn) as connection:
        names = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'backed%'").fetchall()
    for (name,) in names:
        postgres_server.drop_database(name)


def count(dsn):
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT count(*), min(id) FROM auth.users").fetchone()


async def test_a_dump_holds_its_moment_and_is_put_in_place_when_it_is_equal(repository, database):
    manifest = manifest_of()
    with snapshot_of(database) as held:
        with psycopg.connect(database) as other:
            other.execute("DELETE FROM auth.users WHERE id > 10")
        part = await write_part(repository, manifest.id, CORE, dump(held))
    manifest = replace(manifest, parts=[part], tables={"core": held.tables})
    await write_manifest(repository, manifest, WRITING.signer)
    source = Source(repository, manifest, READING)
    kept = await restore_dump(source, CORE, database)
    assert count(database) == (500, 1)
    assert count(sibling(database, kept)) == (10, 1)
    check_tables(database, held.tables)
    with psycopg.connect(database) as other:
        other.execute("UPDATE auth.users SET raw = '\\x01ff' WHERE id = 7")
    with pytest.raises(BadBackup, match=r"auth\.users"):
        check_tables(database, held.tables)


async def test_a_dump_that_is_not_equal_takes_nobodys_place(repository, database):
    manifest = manifest_of()
    with snapshot_of(database) as held:
        part = await write_part(repository, manifest.id, CORE, dump(held))
    other = {**held.tables, "auth.users": ["499", "1"]}
    source = Source(repository, replace(manifest, parts=[part], tables={"core": other}), READING)
    with psycopg.connect(database) as connection:
        connection.execute("DELETE FROM auth.users WHERE id > 10")
    with pytest.raises(BadBackup):
        await restore_dump(source, CORE, database)
    assert count(database) == (10, 1)


def test_the_command_says_where_there_is_nothing_to_restore(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("GANTRY_BACKUP_PASSPHRASE", PASSPHRASE)
    state, place = str(tmp_path / "state"), str(tmp_path / "repo")
    assert main(["backup", "list", "--state", state]) == 1
    assert "gantry backup init" in capsys.readouterr().err
    assert main(["backup", "init", place, "--state", state]) == 0
    assert main(["restore", "--state", str(tmp_path / "new"), "--repository", place]) == 1
    assert "no complete backup" in capsys.readouterr().err
    assert main(["backup", "init", place, "--state", state]) == 1


def test_an_archive_elsewhere_is_backed_up_and_restored_by_what_the_environment_names(
    database, file_url, tmp_path, monkeypatch, capsys
):
    for name, value in {
        "GANTRY_CORE_DSN": database,
        "GANTRY_STORE_URL": file_url,
        "GANTRY_SEAL_KEYS": "k1:" + "5e" * 32,
        "GANTRY_AE_TITLE": "HOSPITAL",
        "GANTRY_BACKUP_PASSPHRASE": PASSPHRASE,
    }.items():
        monkeypatch.setenv(name, value)
    state = ("--state", str(tmp_path / "state"))
    assert main(["backup", "init", str(tmp_path / "repo"), *state]) == 0
    assert main(["backup", "create", "--base", *state]) == 1
    assert "local stack" in capsys.readouterr().err
    assert main(["backup", "create", *state]) == 0
    with psycopg.connect(database) as connection:
        connection.execute("DELETE FROM auth.users WHERE id > 10")
    assert main(["restore", *state]) == 1
    assert "--replace" in capsys.readouterr().err
    monkeypatch.setenv("GANTRY_SEAL_KEYS", "k2:" + "5e" * 32)
    assert main(["restore", "--replace", *state]) == 1
    assert "lacks k1" in capsys.readouterr().err
    assert main(["backup", "keys", "--to", str(tmp_path / "keys"), *state]) == 0
    kept = json.loads((tmp_path / "keys").read_text())["environment"]
    assert kept["GANTRY_SEAL_KEYS"] == "k1:" + "5e" * 32
    assert (tmp_path / "keys").stat().st_mode & 0o077 == 0
    monkeypatch.setenv("GANTRY_SEAL_KEYS", kept["GANTRY_SEAL_KEYS"])
    assert main(["restore", "--replace", *state]) == 0
    assert count(database) == (500, 1)
    assert "replay --since" in capsys.readouterr().out
