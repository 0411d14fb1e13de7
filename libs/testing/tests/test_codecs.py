import pytest
from gantry_testing.synthetic.codecs import (
    COMPRESSED,
    LOSSY,
    compressed_plan,
    decode_frame,
    encode_frame,
    supports,
)
from gantry_testing.synthetic.identity import FrameIdentity, draw_frame, read_identity
from gantry_testing.synthetic.plans import PixelPlan, SampleKind
from pydicom.uid import UID, JPEG2000Lossless, RLELossless

WHO = FrameIdentity(11, 22, 33, 44)
PLANS = {
    "u8": PixelPlan(256, 320, SampleKind.UNSIGNED_8, 8),
    "u16": PixelPlan(256, 320, SampleKind.UNSIGNED_16, 12),
    "s16": PixelPlan(256, 320, SampleKind.SIGNED_16, 16),
    "rgb": PixelPlan(256, 320, SampleKind.UNSIGNED_8, 8, 3, "RGB"),
    "u32": PixelPlan(64, 64, SampleKind.UNSIGNED_32, 32),
}
CASES = [(uid, name) for uid in COMPRESSED for name, plan in PLANS.items() if supports(uid, plan)]


@pytest.mark.parametrize(("uid", "name"), CASES, ids=[f"{UID(u).keyword}-{n}" for u, n in CASES])
def test_a_frame_comes_back_from_its_codestream(uid, name):
    plan = compressed_plan(PLANS[name], uid)
    data = encode_frame(draw_frame(WHO, plan), plan, uid)
    assert read_identity(decode_frame(data, plan, uid), lossy=uid in LOSSY) == WHO


def test_rle_is_read_by_another_decoder():
    rle = pytest.importorskip("rle")
    plan = PLANS["s16"]
    pixels = draw_frame(WHO, plan)
    decoded = rle.rle.decode_frame(encode_frame(pixels, plan, RLELossless), plan.rows * plan.columns, 16, "<")
    assert bytes(decoded) == pixels.tobytes()


def test_a_lossy_frame_of_another_number_is_still_told_apart():
    plan = PLANS["u8"]
    first = encode_frame(draw_frame(WHO, plan), plan, JPEG2000Lossless)
    second = encode_frame(draw_frame(FrameIdentity(11, 22, 33, 45), plan), plan, JPEG2000Lossless)
    read = [read_identity(decode_frame(d, plan, JPEG2000Lossless), lossy=True) for d in (first, second)]
    assert [r.frame for r in read] == [44, 45]
