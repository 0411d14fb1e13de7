"""Objects that are small and want to be large are refused within limits that are settings (case O-07)."""

import time
import zlib

import pytest
from gantry_dicom.refusals import Refusal
from gantry_testing import datapack, raw
from gantry_testing.synthetic import generate_study
from gantry_testing.web import OCTETS, WebClient

DEFLATED = "1.2.840.10008.1.2.1.99"
OCTETS_DECODED = 'multipart/related; type="application/octet-stream"'
PROMPT_SECONDS = 20.0


def deflated_object(size, sop_instance_uid):
    """Return a file with a document of ``size`` zeros, deflated."""
    document = (0x00420011, raw.element(0x00420011, "OB", bytes(size)))
    data_set = raw.instance(document, uids={0x00080018: sop_instance_uid})
    packer = zlib.compressobj(wbits=-15)
    return raw.part10(packer.compress(data_set) + packer.flush(), DEFLATED, sop_instance=sop_instance_uid)


def test_what_a_data_set_may_inflate_to_is_a_setting(web, second_gateway):
    small, large = (deflated_object(size, f"1.2.3.4.{size}") for size in (1 << 19, 2 << 20))
    _, root = second_gateway
    with WebClient(f"{root}/dicom-web") as limited:
        answer = limited.store([small, large])
        assert list(answer.stored) == [f"1.2.3.4.{1 << 19}"]
        assert answer.failed == {f"1.2.3.4.{2 << 20}": Refusal.INFLATES_TOO_LARGE.failure_reason}
    assert web.store([large]).status == 200


def test_the_packs_deflate_bomb_is_refused_in_little_time(web):
    (bomb,) = (file for file in datapack.files() if file.name == "made/broken/deflate_bomb.dcm")
    begun = time.monotonic()
    answer = web.store([bomb.read()])
    assert not answer.stored
    assert [*answer.failed.values(), *answer.other_failures] == [Refusal.INFLATES_TOO_LARGE.failure_reason]
    assert time.monotonic() - begun < PROMPT_SECONDS


@pytest.mark.parametrize("name", ["made/broken/j2k_dimension_bomb.dcm", "made/broken/rle_bomb.dcm"])
def test_pixels_that_claim_to_be_more_than_the_image_cost_no_more_than_it(web, name):
    (bomb,) = (file for file in datapack.files() if file.name == name)
    stored = web.store([bomb.read()])
    (sop_uid,) = stored.stored
    entry = bomb.entry
    path = f"/studies/{entry['study_uid']}/series/{entry['series_uid']}/instances/{sop_uid}"
    begun = time.monotonic()
    below = ("/rendered", "/frames/1/rendered", "/thumbnail")
    # The pixels are in no state to be shown; a thumbnail is an icon then.
    assert [web.get(path + one).status_code for one in below] == [406, 406, 200]
    assert web.get(f"{path}/frames/1", 'multipart/related; type="image/jls"').status_code == 406
    assert web.get(f"{path}/pixeldata", OCTETS_DECODED).status_code == 406
    assert web.get(f"{path}/frames/1", OCTETS).status_code == 200
    assert time.monotonic() - begun < PROMPT_SECONDS
    assert web.get(f"/studies/{entry['study_uid']}/metadata").status_code == 200


def test_frames_that_a_codec_does_not_take_are_not_acceptable_in_it(web):
    (cine,) = generate_study(
        9300, "US_CINE", transfer_syntax="1.2.840.10008.1.2.4.50", size=(64, 64), frames=2
    )
    assert web.store([cine.data]).status == 200
    path = f"/studies/{cine.study_uid}/series/{cine.series_uid}/instances/{cine.sop_uid}"
    for below in ("/frames/1", "/pixeldata", "/bulkdata"):
        assert web.get(path + below, 'multipart/related; type="image/jxl"').status_code in {200, 406}
