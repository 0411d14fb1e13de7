import numpy as np
import pytest
from gantry_testing.synthetic.identity import FrameIdentity, IdentityMismatch, draw_frame, read_identity
from gantry_testing.synthetic.plans import PixelPlan, SampleKind, native_bytes, native_frame
from hypothesis import given, settings
from hypothesis import strategies as st

WHO = FrameIdentity.of("1.2.3", "1.2.3.4", "1.2.3.4.5", 7)
NEXT = FrameIdentity.of("1.2.3", "1.2.3.4", "1.2.3.4.5", 8)
PLANS = [
    PixelPlan(512, 512, SampleKind.UNSIGNED_16, 12),
    PixelPlan(64, 80, SampleKind.UNSIGNED_16, 16),
    PixelPlan(64, 80, SampleKind.UNSIGNED_16, 10),
    PixelPlan(96, 128, SampleKind.SIGNED_16, 12),
    PixelPlan(96, 128, SampleKind.SIGNED_16, 16),
    PixelPlan(128, 128, SampleKind.UNSIGNED_8, 8),
    PixelPlan(128, 160, SampleKind.UNSIGNED_8, 8, 3, "RGB"),
    PixelPlan(128, 160, SampleKind.UNSIGNED_8, 8, 3, "RGB", planar=1),
    PixelPlan(64, 64, SampleKind.BIT, 1),
    PixelPlan(33, 47, SampleKind.BIT, 1),
    PixelPlan(64, 64, SampleKind.UNSIGNED_32, 32),
    PixelPlan(64, 64, SampleKind.FLOAT_32, 32),
    PixelPlan(64, 64, SampleKind.FLOAT_64, 64),
    PixelPlan(12, 16, SampleKind.UNSIGNED_16, 12),
]


def plan_name(plan):
    return (
        f"{plan.kind.value}-{plan.bits_stored}-{plan.rows}x{plan.columns}x{plan.samples}-planar{plan.planar}"
    )


@pytest.mark.parametrize("plan", PLANS, ids=plan_name)
@pytest.mark.parametrize("little_endian", [True, False], ids=["little", "big"])
def test_a_frame_says_who_it_is_after_its_bytes_were_stored(plan, little_endian):
    data = native_bytes([draw_frame(WHO, plan)], plan, little_endian=little_endian)
    pixels = native_frame(data, plan, little_endian=little_endian)
    assert read_identity(pixels, bits_stored=plan.bits_stored) == WHO


@given(*[st.integers(0, 2**32 - 1)] * 4)
@settings(max_examples=40, deadline=None)
def test_every_identity_comes_back(study, series, instance, frame):
    identity = FrameIdentity(study, series, instance, frame)
    assert read_identity(draw_frame(identity, PixelPlan(24, 32))) == identity


def test_frames_of_one_instance_differ_in_every_row_or_nearly():
    plan = PixelPlan(128, 128)
    first, second = (
        draw_frame(WHO, plan),
        draw_frame(NEXT, plan),
    )
    assert (first != second).any(axis=1).mean() > 0.8


WIDE = [plan for plan in PLANS if plan.kind.bits_allocated > 8]


@pytest.mark.parametrize("plan", WIDE, ids=plan_name)
def test_a_wrong_byte_order_shows(plan):
    with pytest.raises(IdentityMismatch):
        read_identity(draw_frame(WHO, plan).byteswap())


@pytest.mark.parametrize(
    "plan", [PixelPlan(64, 64), PixelPlan(64, 64, SampleKind.SIGNED_16, 16)], ids=plan_name
)
def test_a_wrong_sign_shows(plan):
    misread = draw_frame(WHO, plan).view(np.uint16 if plan.signed else np.int16)
    with pytest.raises(IdentityMismatch):
        read_identity(misread)


def test_wrong_bits_stored_show():
    with pytest.raises(IdentityMismatch, match="12 bits stored, not 16"):
        read_identity(draw_frame(WHO, PixelPlan(64, 64)), bits_stored=16)


def test_swapped_planes_show():
    pixels = draw_frame(WHO, PixelPlan(64, 64, SampleKind.UNSIGNED_8, 8, 3, "RGB"))
    with pytest.raises(IdentityMismatch, match="plane 0 holds sample 2"):
        read_identity(pixels[..., ::-1])


def test_a_wrong_planar_configuration_shows():
    plan = PixelPlan(64, 64, SampleKind.UNSIGNED_8, 8, 3, "RGB")
    data = native_bytes([draw_frame(WHO, plan)], plan)
    misread = PixelPlan(64, 64, SampleKind.UNSIGNED_8, 8, 3, "RGB", planar=1)
    with pytest.raises(IdentityMismatch):
        read_identity(native_frame(data, misread))


def test_one_plane_of_a_colour_frame_alone_shows():
    pixels = draw_frame(WHO, PixelPlan(64, 64, SampleKind.UNSIGNED_8, 8, 3, "RGB"))
    with pytest.raises(IdentityMismatch, match="1 planes of a frame of 3"):
        read_identity(pixels[..., 0])


def test_a_plane_of_another_frame_shows():
    plan = PixelPlan(64, 64, SampleKind.UNSIGNED_8, 8, 3, "RGB")
    pixels = draw_frame(WHO, plan)
    pixels[..., 1] = draw_frame(FrameIdentity(1, 2, 3, 4), plan)[..., 1]
    with pytest.raises(IdentityMismatch, match="plane 1"):
        read_identity(pixels)


CORRUPTIONS = {
    "mirrored": lambda pixels, other: pixels[:, ::-1],
    "upside down": lambda pixels, other: pixels[::-1],
    "transposed": lambda pixels, other: pixels.T,
    "inverted": lambda pixels, other: np.iinfo(pixels.dtype).max - pixels,
    "shifted by a column": lambda pixels, other: np.roll(pixels, 1, axis=1),
    "shifted by a row": lambda pixels, other: np.roll(pixels, 1, axis=0),
    "shifted by a byte": lambda pixels, other: (
        np.roll(pixels.reshape(-1).view(np.uint8), 1).view(pixels.dtype).reshape(pixels.shape)
    ),
    "lower half of another frame": lambda pixels, other: np.concatenate([pixels[:64], other[64:]]),
    "zero from the middle on": lambda pixels, other: np.concatenate([pixels[:64], pixels[64:] * 0]),
    "two rows exchanged": lambda pixels, other: np.concatenate(
        [pixels[:100], pixels[101:99:-1], pixels[102:]]
    ),
    "one sample off by one": lambda pixels, other: (
        pixels + (np.arange(pixels.size) == 16000).reshape(pixels.shape).astype(pixels.dtype)
    ),
    "cut": lambda pixels, other: pixels[:120],
    "a row of the code erased": lambda pixels, other: np.concatenate([pixels[:4] * 0 + 0x0102, pixels[4:]]),
}


@pytest.mark.parametrize("corrupt", CORRUPTIONS.values(), ids=CORRUPTIONS)
@pytest.mark.parametrize("kind", [SampleKind.UNSIGNED_16, SampleKind.SIGNED_16], ids=["u16", "s16"])
def test_a_corruption_shows(corrupt, kind):
    plan = PixelPlan(128, 128, kind, 16)
    other = draw_frame(NEXT, plan)
    with pytest.raises(IdentityMismatch):
        read_identity(np.ascontiguousarray(corrupt(draw_frame(WHO, plan), other)))


def test_reversed_bit_order_of_one_bit_pixels_shows():
    plan = PixelPlan(64, 64, SampleKind.BIT, 1)
    data = native_bytes([draw_frame(WHO, plan)], plan)
    reversed_bits = np.packbits(np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")).tobytes()
    with pytest.raises(IdentityMismatch):
        read_identity(native_frame(reversed_bits, plan))


def test_a_frame_without_room_for_the_code_is_refused():
    with pytest.raises(ValueError, match="no room"):
        draw_frame(WHO, PixelPlan(8, 8))
