"""Disasters on a real stack with login: drills, a lost database, an operator who errs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from gantry_embedded.postgres import PostgresServer
from gantry_testing.synthetic import generate_study
from gantry_testing.waiting import wait_for

# Archives that are backed up, lost and restored: some minutes.
pytestmark = pytest.mark.slow

PASSPHRASE = "correct horse battery staple"
STUDIES = 12


@dataclass(frozen=True)
class Site:
    """An archive, its repository of backups and a copy of its bucket."""

    folder: Path

    @property
    def state(self):
        return self.folder / "state"

    @property
    def repository(self):
        return self.folder / "repository"

    @property
    def copy(self):
        return self.folder / "copy"

    def gantry(self, *arguments, state=None, code=0):
        """Run a command; returns what it said."""
        done = self._run(*arguments, state=state)
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def document(self, *arguments):
        """Run a command that answers with JSON, and with nothing else."""
        done = self._run(*arguments, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def _run(self, *arguments, state=None):
        command = [sys.executable, "-P", "-m", "gantry_cli", *map(str, arguments)]
        command += ["--state", str(state or self.state)]
        environment = {**os.environ, "GANTRY_BACKUP_PASSPHRASE": PASSPHRASE}
        return subprocess.run(
            command, capture_output=True, text=True, timeout=600, env=environment, check=False
        )

    @contextmanager
    def running(self, state=None):
        self.gantry("up", "--detach", state=state)
        try:
            yield
        finally:
            self.gantry("down", state=state)

    def archive_log(self):
        """Have what was changed up to now in the archived log."""
        server = PostgresServer(self.state / "postgres").recall()
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            name = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()[0]
        wait_for(lambda: list(self.repository.glob(f"wal/*/{name}")), "the log to be archived", 60)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    made = Site(tmp_path_factory.mktemp("site"))
    files = made.folder / "files"
    files.mkdir()
    for n in range(STUDIES):
        for instance in generate_study(9500 + n, ("CT", "SC")[n % 2], instances=2):
            (files / f"{instance.sop_uid}.dcm").write_bytes(instance.data)
    made.gantry("backup", "init", made.repository)
    made.gantry("up", "--detach", "--store", "file")
    try:
        made.gantry("import", files)
        made.gantry("user", "add", "vera", "--grant", "clinician@main")
        made.gantry("ae", "add", "CT1", "--may", "store")
        yield made
    finally:
        made.gantry("down")


@pytest.fixture(scope="module")
def backup(site):
    """The id of a backup with everything, and a copy of the bucket."""
    made = site.document("backup", "create", "--with-index", "--base")
    site.gantry("backup", "objects", site.copy)
    return made["id"]


def test_a_drill_restores_the_dumps_and_finds_everything_as_it_was(site, backup):
    report = site.document("backup", "drill", backup, "--objects", site.copy, "--scratch", site.folder)
    assert report["differences"] == []
    assert report["index"] == "restored from its dump, then replayed"
    assert report["answers"] >= 5 * STUDIES + 3
    assert report["audit_records"] > 0
    assert report["rto"] > 0
    assert not list(site.folder.glob("gantry-drill-*"))


def test_a_drill_without_a_dump_of_the_index_rebuilds_it_from_the_copy(site, backup):
    made = site.document("backup", "create")
    assert "index.dump" not in {part["name"] for part in made["parts"]}
    report = site.document("backup", "drill", made["id"], "--objects", site.copy, "--scratch", site.folder)
    assert (report["index"], report["differences"]) == ("rebuilt from the bucket", [])


def test_a_drill_says_what_is_not_as_it_was(site, backup):
    broken = site.folder / "broken"
    shutil.copytree(site.copy, broken)
    victim = next(path for path in (broken / "o").rglob("0001"))
    data = bytearray(victim.read_bytes())
    data[-1] ^= 1
    victim.write_bytes(data)
    said = site.gantry(
        "backup", "drill", backup, "--objects", broken, "--scratch", site.folder, "--latest", code=1
    )
    assert "DIFFERENT" in said
    assert "damaged" in said


def test_a_running_stack_and_one_that_is_there_are_not_restored_into(site, backup):
    assert "runs in" in site.gantry("restore", backup, "--replace", code=1)
    other = _like_a_stack(site.folder / "other")
    said = site.gantry("restore", backup, "--repository", site.repository, state=other, code=1)
    assert "--replace" in said


def test_an_error_of_an_operator_is_undone_by_going_back_to_the_moment_before(site, backup):
    site.gantry("user", "add", "kept", "--grant", "clinician@main")
    moment = datetime.now(UTC)
    site.gantry("ae", "revoke", "CT1")
    site.gantry("user", "add", "late", "--grant", "clinician@main")
    site.archive_log()
    then = site.folder / "then"
    said = site.gantry(
        *("restore", "--repository", site.repository, "--until", moment.isoformat()),
        *("--objects", site.copy),
        state=then,
    )
    assert "Recovered up to" in said
    assert not (then / "backup.json").exists(), "it must not archive its log among the other's"
    with site.running(then):
        assert "CT1" in site.gantry("ae", "list", state=then)
        users = site.gantry("user", "list", state=then)
        assert "kept" in users
        assert "late" not in users
        assert _studies(site, then) == STUDIES
    assert "CT1" not in site.gantry("ae", "list")


def test_a_moment_that_the_archived_log_does_not_reach_is_refused(site, backup):
    said = site.gantry(
        *("restore", "--repository", site.repository, "--until", "2099-01-01T00:00:00Z"),
        state=site.folder / "future",
        code=1,
    )
    assert "does not reach" in said
    assert "--latest" in said


def test_the_lost_database_comes_back_up_to_the_last_archived_change(site, backup):
    site.gantry("user", "add", "last", "--grant", "clinician@main")
    assert "base.tar" not in {part["name"] for part in site.document("backup", "create")["parts"]}
    site.archive_log()
    late = generate_study(9599, "SC")[0]
    file = site.folder / "late.dcm"
    file.write_bytes(late.data)
    site.gantry("import", file)
    site.gantry("down")
    shutil.rmtree(site.state / "postgres" / "data")
    site.gantry("restore", "--latest", "--replace")
    assert list(site.state.glob("replaced-*"))
    assert (site.state / "backup.json").exists(), "it goes on with backups"
    site.gantry("up", "--detach")
    users = site.gantry("user", "list")
    assert {"vera", "last"} <= set(users.split())
    assert _studies(site) == STUDIES + 1, "what came after the archived log is in the bucket"
    assert "Every record is as it was written" in site.gantry("audit", "verify")


def _studies(site, state=None):
    with psycopg.connect(_index_of(state or site.state)) as connection:
        return connection.execute("SELECT count(*) FROM study").fetchone()[0]


def _index_of(state):
    return PostgresServer(state / "postgres").recall().dsn_for("index")


def _like_a_stack(folder):
    folder.mkdir()
    (folder / "stack.json").write_text("{}")
    return folder
