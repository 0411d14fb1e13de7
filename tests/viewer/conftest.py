from __future__ import annotations

from pathlib import Path

import pytest
from gantry_cli.viewer import find_viewer
from gantry_testing.datapack import everything_required
from gantry_testing.stack import Stack
from gantry_testing.synthetic.viewing import studies_to_view
from gantry_testing.viewer import CHROMIUM_ARGUMENTS, ViewerPage
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def viewer_folder():
    folder = find_viewer(ROOT / ".gantry-tools")
    if folder is None:
        reason = "needs the viewer's files: make viewer"
        if everything_required():
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="module")
def studies():
    return studies_to_view()


@pytest.fixture(scope="module")
def stack(tmp_path_factory, viewer_folder, studies):
    """An archive with its viewer, and a study a way of showing in it."""
    environment = {"GANTRY_VIEWER_FOLDER": str(viewer_folder)}
    with Stack(tmp_path_factory.mktemp("stack"), environment=environment) as running:
        with running.web() as web:
            for study in studies.values():
                answer = web.store([instance.data for instance in study.instances])
                assert answer.status == 200, answer.document
        yield running


@pytest.fixture(scope="module")
def context(stack, chromium_program):
    """A browser whose user may look at everything; one for all tests, so that its cache is warm."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_program, args=CHROMIUM_ARGUMENTS)
        context = browser.new_context(viewport={"width": 1400, "height": 900})
        yield context
        browser.close()


@pytest.fixture
def viewer(stack, context):
    """A page of the viewer; what a user does before the first look belongs here."""
    page = context.new_page()
    yield ViewerPage(page, stack.health_url("gateway"))
    page.close()
