"""`gantry up`: one origin for login, data and viewer; without a login nobody sees anything."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from gantry_testing.synthetic import generate_study


@pytest.fixture
def browser(archive):
    own = {"Sec-Fetch-Site": "same-origin", "Origin": archive.origin}
    with httpx.Client(base_url=archive.origin, headers=own) as client:
        yield client


def log_in(browser, archive, password=None):
    page = browser.get("/auth/login", params={"next": "/viewer/"})
    key = re.search(r'name="key" value="([^"]+)"', page.text)[1]
    form = {
        "key": key,
        "name": "admin",
        "password": password or Path(archive.facts["password_file"]).read_text().strip(),
        "next": "/viewer/",
    }
    return browser.post("/auth/login", data=form)


def multipart(data):
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n--b--\r\n"
    return {
        "content": body,
        "headers": {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'},
    }


def test_without_a_login_there_is_nothing_to_see(browser):
    answer = browser.get("/dicom-web/studies")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    page = browser.get("/viewer/viewer", params={"StudyInstanceUIDs": "1.2"})
    assert page.status_code == 303
    assert page.headers["location"] == "/auth/login?next=%2Fviewer%2Fviewer%3FStudyInstanceUIDs%3D1.2"


def test_the_login_page_lets_a_browser_say_that_its_form_is_ours(browser):
    # Fetch, "append a request Origin header": under `no-referrer` a form is sent with `Origin: null`.
    assert browser.get("/auth/login").headers["referrer-policy"] == "same-origin"


def test_a_wrong_password_opens_nothing(browser, archive):
    assert log_in(browser, archive, "a guess").status_code == 403
    assert browser.get("/dicom-web/studies").status_code == 401


def test_the_administrator_logs_in_stores_searches_and_logs_out(browser, archive):
    answer = log_in(browser, archive)
    assert (answer.status_code, answer.headers["location"]) == (303, "/viewer/")
    assert browser.get("/viewer/").status_code == 200
    assert "/auth/session.js" in browser.get("/viewer/app-config.js").text
    assert "session/refresh" in browser.get("/auth/session.js").text
    (instance,) = generate_study(91, "CT", instances=1)
    assert browser.post("/dicom-web/studies", **multipart(instance.data)).status_code == 200
    found = browser.get("/dicom-web/studies", params={"StudyInstanceUID": instance.study_uid}).json()
    assert len(found) == 1
    page = browser.get("/auth/logout")
    key = re.search(r'name="key" value="([^"]+)"', page.text)[1]
    assert browser.post("/auth/logout", data={"key": key}).status_code == 303
    assert browser.get("/dicom-web/studies").status_code == 401


def test_nobody_gets_the_session_of_who_was_there_before(browser, archive):
    log_in(browser, archive)
    own = {"Sec-Fetch-Site": "same-origin", "Origin": archive.origin}
    with httpx.Client(base_url=archive.origin, headers=own) as stranger:
        assert stranger.get("/auth/session").json() == {"authenticated": False}
        page = stranger.get("/auth/login", params={"next": "/viewer/"})
        assert (page.status_code, "Password" in page.text) == (200, True)
        assert stranger.post("/auth/session/refresh").status_code == 401
        assert "gantry_session" not in stranger.cookies


def test_another_sites_page_cannot_store_with_the_session(browser, archive):
    log_in(browser, archive)
    (instance,) = generate_study(92, "CT", instances=1)
    request = multipart(instance.data)
    request["headers"] |= {"Sec-Fetch-Site": "cross-site", "Origin": "https://elsewhere.example"}
    assert browser.post("/dicom-web/studies", **request).status_code == 403


def test_the_password_file_is_its_owners_alone_and_no_log_holds_a_secret(archive, browser):
    log_in(browser, archive)
    file = Path(archive.facts["password_file"])
    assert file.stat().st_mode & 0o077 == 0
    secrets = [file.read_text().strip(), browser.cookies["gantry_session"]]
    for log in (archive.state / "logs").iterdir():
        text = log.read_text(errors="replace")
        assert not any(secret in text for secret in secrets), log.name
