"""``gantry conformance run``: what it prints, and when it fails."""

from __future__ import annotations

import json

import pytest
from gantry_cli import exits
from gantry_cli.access import AccessOptions
from gantry_cli.conformance import runner
from gantry_cli.conformance.server import Server
from gantry_cli.conformance.statements import Check, NotTestable, expect
from gantry_dicom.errors import BadRequest


@pytest.fixture
def access(tmp_path):
    return AccessOptions(tmp_path)


def check(run, *, name="Q99", choice=False):
    return Check(name, "Something holds.", "PS3.18 0", choice, run)


def not_testable(_server):
    raise NotTestable("nobody can tell")


@pytest.mark.parametrize(
    ("run", "choice", "result"),
    [
        (lambda _server: None, False, "pass"),
        (lambda _server: expect(False, "it does not hold"), False, "FAIL"),
        (lambda _server: expect(False, "it does not hold"), True, "other"),
        (lambda _server: {}["missing"], False, "FAIL"),
        (not_testable, False, "-"),
    ],
)
def test_each_outcome_of_a_check_has_its_word(server, run, choice, result):
    [found] = runner.examine(server, [check(run, choice=choice)])
    assert found.result == result
    assert bool(found.seen) == (result != "pass")


def test_a_live_server_is_examined_and_the_exit_code_tells(access, stack, capsys, monkeypatch):
    assert runner.run(access, stack.base_url(), "C12,C13", as_json=False) == exits.OK
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["C12", "pass"], ["C13", "pass"]]
    assert lines[-1] == "2 pass"

    broken = check(lambda _server: expect(False, "no"))
    monkeypatch.setattr(runner, "CHECKS", (broken,))
    assert runner.run(access, stack.base_url(), "", as_json=True) == exits.FAILED
    document = json.loads(capsys.readouterr().out)
    assert document["counts"] == {"FAIL": 1}
    assert document["statements"][0]["seen"] == "Broken: no"


def test_a_server_that_is_not_there_fails_every_check(access, capsys):
    assert runner.run(access, "http://127.0.0.1:9/dicom-web", "C12", as_json=False) == exits.FAILED
    assert "ConnectError" in capsys.readouterr().out


def test_a_statement_nobody_knows_is_refused():
    with pytest.raises(BadRequest):
        runner.chosen("Z")


def test_a_run_has_patients_and_uids_of_its_own():
    first, second = (Server("http://x", None) for _ in range(2))
    assert first.new_study("a").study_uid != second.new_study("a").study_uid
    assert first.new_study("a").study_uid != first.new_study("b").study_uid
