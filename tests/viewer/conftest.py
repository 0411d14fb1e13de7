from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from gantry_cli.viewer import find_viewer
from gantry_testing.datapack import everything_required
from gantry_testing.synthetic.viewing import studies_to_view
from gantry_testing.viewer import CHROMIUM_ARGUMENTS, SECONDS, ViewerPage
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
# The shortest that can be set: whatever takes longer only works because sessions are kept going.
TOKEN_SECONDS = 30


@dataclass(frozen=True)
class Archive:
    """A running archive with login, as its operator has it."""

    state: Path
    origin: str

    def gantry(self, *arguments):
        """Run a command of the operator and return what it prints."""
        return gantry(*arguments, "--state", str(self.state))

    def add_user(self, name, grant="clinician@main"):
        """Add somebody and return the password."""
        return json.loads(self.gantry("user", "add", name, "--grant", grant, "--json"))["password"]


def gantry(*arguments, **environment):
    done = subprocess.run(
        [sys.executable, "-P", "-m", "gantry_cli", *arguments],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=240,
    )
    return done.stdout


@pytest.fixture(scope="session")
def viewer_folder():
    folder = find_viewer(ROOT / ".gantry-tools")
    if folder is None:
        reason = "needs the viewer's files: make viewer"
        if everything_required():
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def studies():
    return studies_to_view()


@pytest.fixture(scope="session")
def archive(tmp_path_factory, viewer_folder, studies):
    """An archive with its viewer, and a study a way of showing in it."""
    files = tmp_path_factory.mktemp("files")
    for study in studies.values():
        for instance in study.instances:
            (files / f"{instance.sop_uid}.dcm").write_bytes(instance.data)
    state = tmp_path_factory.mktemp("archive") / "state"
    chosen = ["--store", "file", "--viewer", str(viewer_folder), "--state", str(state)]
    gantry("up", "--detach", *chosen, GANTRY_ACCESS_TOKEN_SECONDS=str(TOKEN_SECONDS))
    try:
        facts = json.loads((state / "supervisor.json").read_text())["facts"]
        running = Archive(state, facts["viewer_url"].removesuffix("/viewer/"))
        running.gantry("import", str(files))
        yield running
    finally:
        gantry("down", "--state", str(state))


@pytest.fixture(scope="session")
def clinicians_password(archive):
    """Password of the user vera."""
    return archive.add_user("vera")


@pytest.fixture(scope="module")
def browser(chromium_program):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_program, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def new_context(browser):
    """Return a function that gives a browser which has never been here."""
    contexts = []

    def make():
        context = browser.new_context(viewport={"width": 1400, "height": 900})
        context.set_default_timeout(SECONDS * 1000)
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def log_in(archive):
    """Return a function that logs a browser in by the page that people use."""

    def work(context, name, password, path="/viewer/"):
        page = context.new_page()
        page.goto(archive.origin + path)
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(archive.origin + path)
        return page

    return work


@pytest.fixture(scope="module")
def asked():
    """Addresses that the viewer of a logged-in person has asked for."""
    return set()


@pytest.fixture(scope="module")
def context(new_context, log_in, clinicians_password, asked):
    """A browser with a clinician logged in; one for all tests, so that its cache is warm."""
    context = new_context()
    context.on("request", lambda request: asked.add(request.url))
    log_in(context, "vera", clinicians_password).close()
    return context


@pytest.fixture
def viewer(archive, context):
    """A page of the viewer."""
    page = context.new_page()
    yield ViewerPage(page, archive.origin)
    page.close()
