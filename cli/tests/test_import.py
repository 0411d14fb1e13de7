"""``gantry import`` sends what is DICOM, in batches, and names what was refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from gantry_cli import importing, stow
from gantry_cli.access import TOKEN_VARIABLE, AccessOptions
from gantry_cli.importer import BATCH_BYTES, BATCH_COUNT, Summary, batches, store_all
from gantry_cli.sources import Skipped, files_under, parts_of_url
from gantry_cli.stow import Part
from gantry_cli.terminal import Progress
from gantry_dicom.errors import BadRequest, NotFound, Unavailable
from gantry_dicom.part10 import build_meta
from gantry_testing.synthetic.studies import generate_study

from .stow_server import StowServer

BASE = "http://archive/dicom-web"


def client_for(handler: Callable[[httpx.Request], httpx.Response]) -> httpx.Client:
    return httpx.Client(transport=httpx.MockTransport(handler))


def store(server: Callable[[httpx.Request], httpx.Response], parts: list[Part]) -> Summary:
    with client_for(server) as client:
        return store_all(client, BASE, parts, Progress("test"))


@pytest.fixture(scope="module")
def instances():
    return generate_study(7, "CT", instances=3, size=(16, 16))


@pytest.fixture
def parts(instances) -> list[Part]:
    return [Part(f"file {number}", instance.data) for number, instance in enumerate(instances)]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stow.time, "sleep", lambda _: None)


def test_every_part_arrives_byte_for_byte(parts: list[Part]):
    server = StowServer()
    summary = store(server, parts)
    assert sorted(server.received) == sorted(part.content for part in parts)
    assert list(summary.lines()) == ["3 of 3 instances stored"]


def test_a_refused_instance_is_named_with_its_reason_and_the_rest_is_stored(parts: list[Part], instances):
    summary = store(StowServer(refuse={instances[1].sop_uid: 0xC002}), parts)
    assert (summary.sent, summary.stored) == (3, 2)
    reason = "A length runs past the end: the object is cut off (0xC002)"
    assert summary.refused == [("file 1", reason)]
    assert list(summary.lines())[1:3] == ["1 refused:", f"  1 × {reason}"]


def test_what_the_archive_cannot_name_is_found_by_asking_one_by_one(parts: list[Part]):
    rubbish = Part("rubbish.dcm", b"\0" * 128 + b"DICM" + b"rubbish")
    summary = store(StowServer(), [*parts, rubbish])
    assert (summary.sent, summary.stored) == (4, 3)
    assert [label for label, _ in summary.refused] == ["rubbish.dcm"]


def test_two_files_that_claim_one_uid_are_told_apart(parts: list[Part], instances):
    twin = Part("twin", instances[1].data)
    summary = store(StowServer(refuse={instances[1].sop_uid: 0xC001}), [*parts, twin])
    assert (summary.sent, summary.stored) == (4, 2)
    assert [label for label, _ in summary.refused] == ["file 1", "twin"]


def test_a_request_refused_as_a_whole_is_asked_again_one_by_one(parts: list[Part]):
    too_large = max(part.size for part in parts) + 1000
    summary = store(StowServer(body_limit=too_large), parts)
    assert (summary.sent, summary.stored, summary.refused) == (3, 3, [])


def test_a_busy_archive_is_asked_again(parts: list[Part]):
    server = StowServer(busy=2)
    assert store(server, parts).stored == 3


def test_an_archive_that_stays_busy_is_an_error(parts: list[Part]):
    with pytest.raises(Unavailable, match="busy"):
        store(StowServer(busy=100), parts)


def test_warnings_are_counted(parts: list[Part], instances):
    summary = store(StowServer(warn={instances[0].sop_uid}), parts)
    assert next(summary.lines()) == "3 of 3 instances stored, 1 with a warning"


def test_batches_are_bounded_in_count_and_bytes():
    small = [Part("s", b"x")] * (BATCH_COUNT + 1)
    assert [len(batch) for batch in batches(small)] == [BATCH_COUNT, 1]
    half = Part("h", b"x" * (BATCH_BYTES // 2 + 1))
    assert [len(batch) for batch in batches([half] * 3)] == [1, 1, 1]
    assert list(batches([])) == []


def test_a_folder_gives_its_dicom_files_only(tmp_path: Path, instances):
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "deep/er/no-extension").write_bytes(instances[0].data)
    (tmp_path / "bare.dcm").write_bytes(instances[0].data_set)
    (tmp_path / "big.dcm").write_bytes(b"\0\x08\0\x05CS\0\x0aISO_IR 100" + b"\0" * 200)
    (tmp_path / "notes.txt").write_text("not an image " * 20)
    (tmp_path / "empty").touch()
    directory = build_meta("1.2.840.10008.1.3.10", "1.2.3", "1.2.840.10008.1.2.1")
    (tmp_path / "DICOMDIR").write_bytes(directory + b"\x04\0\x30\x11CS\x04\0TEST")
    (tmp_path / "broken-link").symlink_to(tmp_path / "nowhere")
    skipped = Skipped()
    found = [Path(part.label).name for part in files_under(tmp_path, skipped)]
    assert found == ["bare.dcm", "big.dcm", "no-extension"]
    assert (skipped.not_dicom, skipped.directories) == (2, 1)


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path):
    with pytest.raises(NotFound):
        list(files_under(tmp_path / "nowhere", Skipped()))


def wado_answer(instances) -> httpx.Response:
    body = b"".join(
        b"--B\r\nContent-Type: application/dicom\r\n\r\n" + instance.data + b"\r\n" for instance in instances
    )
    content_type = 'multipart/related; type="application/dicom"; boundary=B'
    return httpx.Response(200, headers={"Content-Type": content_type}, content=body + b"--B--")


def test_a_study_of_another_archive_is_sent_on_and_its_files_are_removed(tmp_path: Path, instances):
    server = StowServer()
    accepts: list[str] = []

    def both(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return server(request)
        accepts.append(request.headers["accept"])
        return wado_answer(instances)

    with client_for(both) as client:
        parts = parts_of_url("http://other/dicom-web/studies/1.2", client, tmp_path)
        summary = store_all(client, BASE, parts, Progress("test"))
    assert summary.stored == 3
    assert sorted(server.received) == sorted(instance.data for instance in instances)
    assert accepts == ['multipart/related; type="application/dicom"; transfer-syntax=*']
    assert list(tmp_path.iterdir()) == []


def test_an_archive_that_does_not_have_the_study_is_an_error(tmp_path: Path):
    with client_for(lambda request: httpx.Response(404)) as client, pytest.raises(BadRequest, match="404"):
        list(parts_of_url("http://other/studies/1.2", client, tmp_path))


@pytest.mark.parametrize(("reason", "code"), [(0, 0), (0xC000, 1)])
def test_the_exit_code_tells_whether_something_was_refused(
    tmp_path: Path, instances, monkeypatch: pytest.MonkeyPatch, capsys, reason: int, code: int
):
    (tmp_path / "a.dcm").write_bytes(instances[0].data)
    server = StowServer(refuse=dict.fromkeys([instances[0].sop_uid], reason) if reason else {})
    clients = iter([client_for(server), client_for(server)])
    monkeypatch.setattr(importing.httpx, "Client", lambda **_: next(clients))
    assert importing.import_(AccessOptions(tmp_path), str(tmp_path / "a.dcm"), BASE + "/") == code
    assert f"{1 - code} of 1 instances stored" in capsys.readouterr().out


def test_without_a_running_stack_the_import_says_what_to_do(tmp_path: Path):
    with pytest.raises(Unavailable, match="gantry up"):
        importing.import_(AccessOptions(tmp_path), str(tmp_path), None)


def test_the_token_goes_to_the_archive_that_stores_and_to_no_other(
    tmp_path: Path, instances, monkeypatch: pytest.MonkeyPatch
):
    server, shown = StowServer(), {}

    def both(request: httpx.Request) -> httpx.Response:
        shown[request.url.host] = request.headers.get("authorization")
        return server(request) if request.method == "POST" else wado_answer(instances)

    real = httpx.Client
    transport = httpx.MockTransport(both)
    monkeypatch.setattr(importing.httpx, "Client", lambda **given: real(transport=transport, **given))
    monkeypatch.setenv(TOKEN_VARIABLE, "a-token")
    assert importing.import_(AccessOptions(tmp_path), "http://other/dicom-web/studies/1.2", BASE) == 0
    assert shown == {"other": None, "archive": "Bearer a-token"}


def test_the_answer_is_read_as_json_only_where_the_standard_puts_one():
    def error(request: httpx.Request) -> httpx.Response:
        document = {"title": "Forbidden", "detail": "the policy says no"}
        return httpx.Response(403, content=json.dumps(document))

    summary = store(error, [Part("a", b"x")])
    assert summary.refused == [("a", "HTTP 403: the policy says no")]
