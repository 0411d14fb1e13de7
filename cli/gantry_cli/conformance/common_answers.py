"""The statements C12 to C19: paths, errors, URLs and headers of every service (PS3.18 chapter 8)."""

from __future__ import annotations

import re

import httpx
from gantry_testing.synthetic.studies import make_series, stream_series
from gantry_testing.synthetic.values import Instance, Patient, Study

from gantry_cli.conformance.server import Server, path_of
from gantry_cli.conformance.statements import NotTestable, expect, statement

_UNKNOWN = "2.25.1"
# RFC 7234 5.5: code, agent, quoted text.
_WARNING = re.compile(r'299 \S+ "(?:[^"\\]|\\.)*"')


@statement("C12", "PS3.18 8.3")
def unknown_query_parameters_are_ignored(server: Server) -> None:
    """Query parameters that mean nothing change nothing."""
    [instance] = server.kind("CT")
    path = path_of(instance) + "/metadata"
    plain = server.get(path)
    with_more = server.get(path, params=[("utterly-unknown", "1")])
    expect(plain.status_code == 200, f"metadata answered {plain.status_code}")
    expect(
        (with_more.status_code, with_more.content) == (plain.status_code, plain.content),
        f"the answer with an unknown parameter differs: {with_more.status_code}",
    )


@statement("C13", "PS3.18 8.2; PS3.5 9.1")
def what_is_no_uid_in_the_path_is_400(server: Server) -> None:
    """A path segment that should be a UID and is none is answered 400."""
    [instance] = server.kind("CT")
    for wrong in ("abc", "1.2." + "3" * 61, "1..2", "1.2.", "1.2.3%20", "%27", "-1.2"):
        for path in (f"/studies/{wrong}", f"/studies/{wrong}/metadata", f"/studies/{wrong}/series"):
            answer = server.get(path)
            expect(answer.status_code == 400, f"{path} answered {answer.status_code}")
        path = f"/studies/{instance.study_uid}/series/{wrong}/instances"
        expect(server.get(path).status_code == 400, f"{path} answered {server.get(path).status_code}")


@statement("C14", "PS3.18 8.5; RFC 6750 3", choice=True)
def no_token_is_401_and_no_right_looks_like_nothing(server: Server) -> None:
    """Without a token 401 with WWW-Authenticate."""
    if server.http.auth is None and "authorization" not in server.http.headers:
        raise NotTestable("the server is examined without a token")
    answer = httpx.get(server.base_url + "/studies")
    expect(answer.status_code == 401, f"a search without a token answered {answer.status_code}")
    expect("www-authenticate" in answer.headers, "401 without WWW-Authenticate")


@statement("C15", "RFC 9110 15.6.4")
def out_of_resources_is_503_with_retry_after(_server: Server) -> None:
    """Where something the server needs is away, 503 says when to come back."""
    raise NotTestable("the server's parts cannot be taken away from outside")


@statement("C16", "RFC 7239")
def urls_in_answers_are_absolute_and_public(server: Server) -> None:
    """Retrieve URLs stand on the public base, which a proxy in front may name."""
    [instance] = server.kind("CT")
    [found] = server.get("/studies", params=[("StudyInstanceUID", instance.study_uid)]).json()
    url = found["00081190"]["Value"][0]
    expect(url.startswith(server.base_url.rstrip("/") + "/"), f"Retrieve URL {url}")
    expect(server.send_absolute(url).status_code == 200, f"{url} cannot be had")


@statement("C17", "", choice=True)
def a_slash_at_the_end_changes_nothing(server: Server) -> None:
    """A path with a slash at its end is the path without."""
    [instance] = server.kind("CT")
    search = [("StudyInstanceUID", instance.study_uid)]
    for path, params in (("/studies", search), (path_of(instance) + "/metadata", [])):
        plain, slashed = server.get(path, params=params), server.get(path + "/", params=params)
        expect(
            (slashed.status_code, slashed.content) == (200, plain.content),
            f"{path}/ answered {slashed.status_code}",
        )


def _japanese(study: Study) -> list[Instance]:
    patient = Patient(
        study.patient.patient_id,
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
        specific_character_set="\\ISO 2022 IR 87",
    )
    named = Study(study.study_uid, patient=patient)
    return list(stream_series(make_series(named), "SC"))


@statement("C18", "PS3.18 F.2.2")
def json_is_utf8_whatever_the_source(server: Server) -> None:
    """JSON answers are UTF-8, whatever the object's character set."""
    [instance] = server.sample("ir87", _japanese)
    for path in (path_of(instance) + "/metadata", "/studies"):
        answer = server.get(path, params=[("StudyInstanceUID", instance.study_uid)])
        name = answer.json()[0]["00100010"]["Value"][0]
        expect(name.get("Ideographic") == "山田^太郎", f"{path} names {name}")
        charset = answer.headers["content-type"].lower().partition("charset=")[2]
        expect(charset in {"", "utf-8", '"utf-8"'}, f"{path} is labelled {charset}")


@statement("C19", "PS3.18 8.3.4; RFC 7234 5.5")
def warnings_have_code_agent_and_text(server: Server) -> None:
    """Each Warning header is 299, an agent and a quoted text, one for each thing to say."""
    server.kind("CT", instances=3)
    answer = server.get("/instances", params=[("limit", "1"), ("fuzzymatching", "true"), ("Rows", "512")])
    warnings = answer.headers.get_list("warning")
    expect(bool(warnings), f"no warning that matches remain ({answer.status_code})")
    for line in warnings:
        rest = _WARNING.sub("", line).replace(",", "").strip()
        expect(not rest, f"not code, agent and quoted text: {line}")
