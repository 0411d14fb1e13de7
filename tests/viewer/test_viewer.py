"""OHIF in Chromium on a whole archive: what a person would see."""

from __future__ import annotations

import numpy as np
import pytest
from gantry_testing.synthetic import PixelPlan, phantoms
from gantry_testing.viewer import coloured, difference, shows_picture

# Minutes of a browser without a GPU: `make test-viewer`.
pytestmark = [pytest.mark.chromium, pytest.mark.slow]


ADD_FOREIGN_SCRIPT = """
    document.head.append(Object.assign(document.createElement("script"), {src: "https://elsewhere.test/x.js"}))
"""


def by_deep_link(viewer, study):
    viewer.open_study(study.study_uid)


def by_the_list(viewer, study):
    viewer.open("")
    row = viewer.page.get_by_text(study.description).first
    viewer.wait_for(row.is_visible, "the study in the list")
    row.click()
    viewer.page.get_by_role("button", name="Basic Viewer").click()


@pytest.fixture(params=[by_deep_link, by_the_list])
def open_study(request):
    return request.param


def test_the_list_shows_every_study(viewer, studies):
    viewer.open("")
    viewer.wait_for_rows(len(studies))
    text = viewer.text()
    assert [study.description for study in studies.values() if study.description not in text] == []
    assert viewer.complaints() == []


@pytest.mark.parametrize("name", ["CT", "MR", "JPEG 2000"])
def test_a_study_opens_and_shows_its_picture(viewer, studies, open_study, name):
    open_study(viewer, studies[name])
    viewer.wait_for_picture()
    assert f"(1/{len(studies[name].instances)})" in viewer.text()
    assert viewer.complaints() == []


def test_an_ultrasound_loop_moves_when_it_is_played(viewer, studies, open_study):
    open_study(viewer, studies["US cine"])
    still = viewer.wait_for_picture()
    viewer.page.locator("[data-cy=cine-player-play-pause]").click()
    viewer.wait_for(lambda: is_another(still, viewer.viewport()), "another picture of the loop")
    assert viewer.complaints() == []


def is_another(one, other):
    return (
        other is not None and one.shape == other.shape and shows_picture(other) and difference(one, other) > 1
    )


def test_a_segmentation_lies_in_colour_over_its_images(viewer, studies, open_study):
    open_study(viewer, studies["SEG"])
    plain = viewer.wait_for_picture()
    assert coloured(middle(plain)) == 0
    viewer.page.get_by_text("Disc").first.dblclick()
    viewer.page.get_by_role("button", name="Yes").click(timeout=60_000)
    viewer.wait_for(lambda: is_coloured(viewer.viewport()), "colour over the picture")
    assert viewer.complaints() == []


def middle(shot):
    """Return the part of a viewport where its controls and labels are not."""
    rows, columns = shot.shape[0] // 3, shot.shape[1] // 3
    return shot[rows : 2 * rows, columns : 2 * columns]


def is_coloured(shot):
    return shot is not None and shows_picture(shot) and coloured(middle(shot)) > 2000


def test_a_document_is_shown_as_a_page_with_text(viewer, studies, open_study):
    open_study(viewer, studies["PDF"])
    document = viewer.page.locator('object[data^="blob:"]')
    viewer.wait_for(lambda: is_page(viewer.shot(document)), "a white page with something on it")
    assert viewer.complaints() == []


def is_page(shot):
    if shot is None:
        return False
    paper = shot[:, shot.shape[1] // 2 :]
    return (paper > 250).mean() > 0.5 and (paper < 60).all(axis=2).sum() > 50


def test_a_script_from_elsewhere_is_refused_and_seen_to_be(viewer, studies):
    viewer.open("")
    viewer.wait_for_rows(len(studies))
    viewer.page.evaluate(
        "document.head.append(Object.assign(document.createElement('script'), {src: '//x.test/'}))"
    )
    viewer.wait_for(lambda: any("Content Security Policy" in text for text in viewer.problems), "a refusal")


def test_an_image_that_cannot_be_had_is_a_complaint(viewer, studies):
    viewer.page.route("**/frames/*", lambda route: route.fulfill(status=404))
    viewer.open_study(studies["CT"].study_uid)
    viewer.wait_for(viewer.complaints, "a complaint")


@pytest.mark.parametrize("what", ["nothing", "a scale bar", "a message"])
def test_a_canvas_without_a_picture_is_not_taken_for_one(what):
    shot = np.zeros((400, 400, 3), np.uint8)
    if what == "a scale bar":
        shot[380:384, 100:300] = 255
    if what == "a message":
        shot[150:250, 100:300] = 200
        shot[190:210, 120:280:3] = 20
    assert not shows_picture(shot)


def test_a_slice_is_taken_for_a_picture():
    values = phantoms.thorax(0.5, PixelPlan(400, 400))
    shot = np.clip(values / 8, 0, 255).astype(np.uint8)
    assert shows_picture(np.repeat(shot[:, :, None], 3, axis=2))
