"""The viewer and its data are for people who are logged in, and as long as they are."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64decode
from urllib.parse import urlsplit

import pytest
from gantry_testing.viewer import ViewerPage
from gantry_testing.waiting import wait_for

# Minutes of a browser without a GPU: `make test-viewer`.
pytestmark = [pytest.mark.chromium, pytest.mark.slow]

REVOKED_WITHIN_SECONDS = 5.0


@pytest.fixture
def secrets(studies):
    """What only people who are logged in may see."""
    return [word for study in studies.values() for word in (study.description, study.patient_name)]


def is_login_page(page, archive):
    return page.url.startswith(f"{archive.origin}/auth/login") and page.get_by_label("Password").is_visible()


@pytest.mark.parametrize("path", ["/viewer/", "/viewer/viewer?StudyInstanceUIDs={study}", "/viewer/anything"])
def test_a_stranger_gets_the_login_page_and_afterwards_what_was_asked_for(
    archive, new_context, log_in, studies, secrets, path
):
    path = path.format(study=studies["CT"].study_uid)
    context = new_context()
    page = context.new_page()
    page.goto(archive.origin + path)
    assert is_login_page(page, archive)
    assert not [word for word in secrets if word in page.content()]
    page.get_by_label("Name").fill("vera")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("alert").wait_for()
    assert is_login_page(page, archive)
    log_in(context, "admin", (archive.state / "admin-password").read_text().strip(), path)


def test_no_address_that_the_viewer_asks_for_tells_a_stranger_anything(
    archive, viewer, studies, asked, new_context, secrets
):
    viewer.open_study(studies["SEG"].study_uid)
    viewer.wait_for_picture()
    viewer.open_study(studies["PDF"].study_uid)
    viewer.wait_for(viewer.page.locator('object[data^="blob:"]').count, "the document")
    addresses = {url for url in asked if url.startswith(archive.origin)}
    data = {url for url in addresses if urlsplit(url).path.startswith("/dicom-web")}
    assert any("/frames/" in url for url in data)
    stranger = new_context().request
    assert {url: stranger.get(url, max_redirects=0).status for url in data} == dict.fromkeys(data, 401)
    for url in addresses - data:
        answer = stranger.get(url, max_redirects=0)
        assert not [word for word in secrets if word.encode() in answer.body()], url


def test_a_revoked_user_is_out_of_an_open_viewer(archive, new_context, log_in, studies):
    context = new_context()
    page = ViewerPage(log_in(context, "ruth", archive.add_user("ruth")), archive.origin)
    page.wait_for_rows(len(studies))
    search = f"{archive.origin}/dicom-web/studies"
    assert context.request.get(search).status == 200
    archive.gantry("user", "revoke", "ruth")
    wait_for(lambda: context.request.get(search).status == 401, "the end of it", REVOKED_WITHIN_SECONDS)
    page.open_study(studies["CT"].study_uid)
    page.wait_for(lambda: is_login_page(page.page, archive), "the login page")
    assert page.viewport() is None


def test_a_logged_out_browser_is_out(archive, new_context, log_in, studies):
    context = new_context()
    page = log_in(context, "otto", archive.add_user("otto"))
    token = session_of(context)
    page.goto(f"{archive.origin}/auth/logout")
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/auth/login?again")
    page.goto(f"{archive.origin}/viewer/viewer?StudyInstanceUIDs={studies['CT'].study_uid}")
    assert is_login_page(page, archive)
    # The token that the browser had is no good to whoever has kept it.
    search = f"{archive.origin}/dicom-web/studies"
    headers = {"Authorization": f"Bearer {token}"}
    stranger = new_context().request
    wait_for(
        lambda: stranger.get(search, headers=headers).status == 401, "the token's end", REVOKED_WITHIN_SECONDS
    )


def test_an_open_viewer_outlives_its_token(viewer, context, studies):
    viewer.open("")
    viewer.wait_for_rows(len(studies))
    first = expiry_of(session_of(context))
    viewer.wait_for(lambda: time.time() > first + 1, "the first token's end")
    # In the page that was opened with the first token: nothing is loaded anew.
    viewer.page.get_by_text(studies["MR"].description).first.click()
    viewer.page.get_by_role("button", name="Basic Viewer").click()
    viewer.wait_for_picture()
    assert expiry_of(session_of(context)) > first
    assert viewer.complaints() == []


def session_of(context):
    return next(cookie["value"] for cookie in context.cookies() if cookie["name"] == "gantry_session")


def expiry_of(token):
    claims = token.split(".")[1]
    return json.loads(urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"]
