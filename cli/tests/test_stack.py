"""State folder, options, and what ``status`` and ``down`` say when nothing runs."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from gantry_cli import exits
from gantry_cli.__main__ import main
from gantry_cli.options import StackOptions, choices
from gantry_cli.stack import running_stack
from gantry_dicom.errors import BadRequest
from gantry_embedded.supervisor import Supervisor


def test_the_store_is_s3_unless_asked_and_stays_what_it_was(tmp_path: Path):
    assert choices(StackOptions(tmp_path / "a")).store == "s3"
    assert choices(StackOptions(tmp_path / "b", store="file")).store == "file"
    assert choices(StackOptions(tmp_path / "b")).store == "file"


def test_a_folder_does_not_change_its_store(tmp_path: Path):
    choices(StackOptions(tmp_path, store="file"))
    with pytest.raises(BadRequest, match="--store file"):
        choices(StackOptions(tmp_path, store="s3"))


def test_people_log_in_unless_the_folder_was_begun_without(tmp_path: Path):
    assert choices(StackOptions(tmp_path / "a")).login
    assert not choices(StackOptions(tmp_path / "b", login=False)).login
    assert not choices(StackOptions(tmp_path / "b")).login


def test_an_open_folder_can_be_protected_and_not_be_opened_again(tmp_path: Path):
    choices(StackOptions(tmp_path, login=False))
    assert choices(StackOptions(tmp_path, login=True)).login
    assert choices(StackOptions(tmp_path)).login
    with pytest.raises(BadRequest, match="not opened"):
        choices(StackOptions(tmp_path, login=False))


def test_a_folder_from_before_there_were_logins_gets_one(tmp_path: Path):
    (tmp_path / "stack.json").write_text('{"store": "file"}')
    assert choices(StackOptions(tmp_path)).login


def test_a_fixed_port_that_is_taken_is_refused_before_anything_starts(tmp_path: Path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        options = StackOptions(tmp_path, http_port=port)
        supervisor = Supervisor(tmp_path, lambda _: None)
        with pytest.raises(BadRequest, match=f"port {port}"), running_stack(options, supervisor):
            pass
    assert not (tmp_path / "postgres").exists()


def test_status_of_nothing_is_exit_code_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["status", "--state", str(tmp_path / "none")]) == exits.NOT_RUNNING
    assert "Not running" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


def test_down_of_nothing_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["down", "--state", str(tmp_path / "none")]) == 0
    assert capsys.readouterr().out == "Not running.\n"
    assert not (tmp_path / "none").exists()


def test_an_error_is_one_line_and_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["import", str(tmp_path), "--state", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err.startswith("gantry: no stack is running")


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_port_is_a_port(port: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(["up", "--http-port", port])
    assert ended.value.code == 2
