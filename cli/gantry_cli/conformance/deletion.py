"""Statements about what is there no more; deletion over HTTP is an extension and shown where it exists."""

from __future__ import annotations

from gantry_testing.synthetic.studies import make_series, stream_series
from gantry_testing.synthetic.values import Instance

from gantry_cli.conformance.server import Server, path_of, series_path_of, study_path_of
from gantry_cli.conformance.statements import NotTestable, expect, statement


def _stored(server: Server, name: str) -> list[Instance]:
    study = server.new_study(name)
    instances = [
        instance
        for number in (1, 2)
        for instance in stream_series(make_series(study, number), "SC", instances=2)
    ]
    server.store([instance.data for instance in instances])
    return instances


def _delete(server: Server, path: str) -> None:
    answer = server.send("DELETE", path)
    if answer.status_code in {403, 404, 405, 501}:
        raise NotTestable("the server lets nobody, or not us, delete over HTTP")
    expect(answer.status_code in {200, 202, 204}, f"DELETE {path} answered {answer.status_code}")


def _expect_status(server: Server, path: str, status: int) -> None:
    answer = server.get(path)
    expect(answer.status_code == status, f"{path} answered {answer.status_code}, not {status}")


@statement("W11", "PS3.18 8.5, 10.4.3")
def unknown_is_404_and_deleted_is_410(server: Server) -> None:
    """What was never known is 404, what was known and has been deleted is 410; the rest stays."""
    for path in ("/studies/2.25.1", "/studies/2.25.1/series/2.25.2/instances/2.25.3/frames/1"):
        _expect_status(server, path, 404)
    first, second, *others = _stored(server, "deleted")
    _delete(server, path_of(first))
    for suffix in ("", "/metadata", "/frames/1", "/rendered"):
        _expect_status(server, path_of(first) + suffix, 410)
    _expect_status(server, path_of(second), 200)
    found = server.get(study_path_of(first) + "/instances").json()
    expect(len(found) == 3, f"{len(found)} of 3 instances are found after one was deleted")
    _delete(server, series_path_of(others[0]))
    _expect_status(server, series_path_of(others[0]) + "/metadata", 410)
    _delete(server, study_path_of(first))
    for path in (study_path_of(first), study_path_of(first) + "/metadata"):
        _expect_status(server, path, 410)
    left = server.get("/studies", params=[("StudyInstanceUID", first.study_uid)]).json()
    expect(left == [], f"a deleted study is found: {len(left)}")
