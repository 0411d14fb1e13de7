"""The statements W15 to W26: frames (PS3.18 10.4.1.1.6, 8.7.3.3)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from gantry_dicom.codestreams import true_transfer_syntax
from gantry_dicom.transfer_syntaxes import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    HTJ2K_LOSSLESS,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_LOSSLESS_SV1,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
    lookup,
)
from gantry_testing import raw
from gantry_testing.synthetic import (
    Instance,
    Layout,
    make_series,
    make_uid,
    native_frame,
    stream_series,
)
from gantry_testing.synthetic.codecs import decode_frame
from gantry_testing.synthetic.identity import draw_frame
from gantry_testing.web import Part

from gantry_cli.conformance.server import Server, path_of
from gantry_cli.conformance.statements import Broken, expect, statement
from gantry_cli.conformance.wado_objects import OCTETS, PARTS, expect_identity, parts_of, retrieved

FRAMES = "multipart/related; type="
NATIVE = f'{FRAMES}"{OCTETS}"'
AS_STORED = f"{NATIVE}; transfer-syntax=*"
VIDEO = "1.2.840.10008.1.2.4.102"
# PS3.18 Table 8.7.3-5, as far as it can be made of any image.
DEFAULTS = {
    "image/jpeg": JPEG_LOSSLESS_SV1,
    "image/dicom-rle": RLE_LOSSLESS,
    "image/jls": JPEG_LS_LOSSLESS,
    "image/jp2": JPEG_2000_LOSSLESS,
}
_SIZE = (64, 72)


def frames_of(server: Server, instance: Instance, numbers: str, accept: str) -> list[Part]:
    """Return frames of an instance; raises ``Broken``."""
    return parts_of(server.get(f"{path_of(instance)}/frames/{numbers}", accept))


def cine(
    server: Server, transfer_syntax: str, *, kind: str = "US_CINE", layout: Layout | None = None
) -> Instance:
    """Return a stored multi-frame image."""
    [instance] = server.sample(
        f"{kind} {transfer_syntax} {layout}",
        lambda study: list(
            stream_series(
                make_series(study), kind, transfer_syntax=transfer_syntax, frames=4, size=_SIZE, layout=layout
            )
        ),
    )
    return instance


def handmade(server: Server, name: str, pixel_data: bytes, transfer_syntax: str, **options: object) -> str:
    """Store an image made byte by byte, once a run; return its path below the base URL."""
    uid = make_uid("conformance", server.seed, name)
    uids = (b"1.2.3.4\0", b"1.2.3.1\0", b"1.2.3.2\0")
    data_set = raw.image(pixel_data, **options)  # type: ignore[arg-type]
    for old in uids:
        field, value = b"UI" + struct.pack("<H", len(old)) + old, uid.encode()
        data_set = data_set.replace(field, b"UI" + struct.pack("<H", len(value)) + value, 1)
    answer = server.store([raw.part10(data_set, transfer_syntax, sop_instance=uid)])
    expect(answer.status in {200, 202} and uid in answer.stored, f"{name} was not stored: {answer.document}")
    return f"/studies/{uid}/series/{uid}/instances/{uid}"


@statement("W15", "PS3.18 10.4.1.1.6")
def frames_come_in_the_order_asked(server: Server) -> None:
    """frames/3,1 gives frame 3, then frame 1."""
    instance = cine(server, EXPLICIT_VR_LITTLE_ENDIAN)
    for numbers in ((3, 1), (2, 2, 4)):
        parts = frames_of(server, instance, ",".join(map(str, numbers)), NATIVE)
        expect(len(parts) == len(numbers), f"{len(parts)} parts for {numbers}")
        for part, number in zip(parts, numbers, strict=True):
            expect_identity(part.body, instance, f"frame {number} of {numbers}", number)


@statement("W16", "PS3.18 10.4.3", choice=True)
def bad_frame_numbers_are_400_and_missing_ones_404(server: Server) -> None:
    """Frame 0 or no number is 400; a number past the end is 404, also in a list with others."""
    instance = cine(server, EXPLICIT_VR_LITTLE_ENDIAN)
    for numbers, status in (
        ("0", 400),
        ("a", 400),
        ("-1", 400),
        ("1,,2", 400),
        ("1,0", 400),
        ("5", 404),
        ("1,5", 404),
        ("99999999", 404),
    ):
        answer = server.get(f"{path_of(instance)}/frames/{numbers}", NATIVE)
        expect(answer.status_code == status, f"frames/{numbers} answered {answer.status_code}")


@statement("W17", "PS3.18 10.4.3", choice=True)
def frames_of_what_is_no_image_are_404(server: Server) -> None:
    """Frames of an object without pixels are 404."""
    for kind in ("SR", "PDF"):
        [instance] = server.kind(kind)
        answer = server.get(f"{path_of(instance)}/frames/1", NATIVE)
        expect(answer.status_code == 404, f"frames/1 of {kind} answered {answer.status_code}")


@statement("W18", "PS3.18 8.7.3.3")
def a_native_frame_has_its_exact_length(server: Server) -> None:
    """A frame as octets is rows x columns x samples x bytes, little endian, without padding."""
    for kind, syntax in (
        ("US_CINE", EXPLICIT_VR_LITTLE_ENDIAN),
        ("US_CINE_PLANAR", EXPLICIT_VR_LITTLE_ENDIAN),
        ("ENHANCED_MR", EXPLICIT_VR_BIG_ENDIAN),
        ("ENHANCED_MR", JPEG_2000_LOSSLESS),
        ("PMAP", EXPLICIT_VR_LITTLE_ENDIAN),
    ):
        instance = cine(server, syntax, kind=kind)
        for number, part in enumerate(frames_of(server, instance, "1,2", NATIVE), 1):
            expect_identity(part.body, instance, f"frame {number} of {kind} in {syntax}", number)
    odd = bytes(range(90))
    path = handmade(
        server,
        "odd colour",
        raw.element(0x7FE00010, "OB", odd),
        EXPLICIT_VR_LITTLE_ENDIAN,
        rows=5,
        columns=3,
        samples=3,
        frames="2 ",
        photometric="RGB ",
        extra=[(0x00280006, raw.us(0x00280006, 0))],
    )
    bodies = [part.body for part in parts_of(server.get(f"{path}/frames/1,2", NATIVE))]
    expect(bodies == [odd[:45], odd[45:]], "frames of an odd number of bytes are cut wrongly")


@statement("W19", "PS3.5 8.1.1", choice=True)
def one_bit_frames_begin_on_a_byte(server: Server) -> None:
    """Each frame of a one-bit image begins on a byte of the answer, lowest bit first, rest zero."""
    path = handmade(
        server,
        "bits",
        raw.element(0x7FE00010, "OB", bytes.fromhex("f52ac44c6603")),
        EXPLICIT_VR_LITTLE_ENDIAN,
        rows=3,
        columns=5,
        bits_allocated=1,
        frames="3 ",
    )
    found = [part.body.hex() for part in parts_of(server.get(f"{path}/frames/1,2,3", NATIVE))]
    expect(found == ["f52a", "8819", "990d"], f"the frames are {found}")
    instance = cine(server, EXPLICIT_VR_LITTLE_ENDIAN, kind="SEG")
    for number, part in enumerate(frames_of(server, instance, "1,2,3", NATIVE), 1):
        expect_identity(part.body, instance, f"segment frame {number}", number)


@statement("W20", "PS3.18 8.7.3.3.2")
def a_compressed_frame_is_the_bare_stream(server: Server) -> None:
    """A compressed frame comes as its codestream alone: no item headers, fragments joined."""
    for syntax in (JPEG_BASELINE, JPEG_2000_LOSSLESS, RLE_LOSSLESS):
        instance = cine(server, syntax, layout=Layout("basic", 1 if syntax == RLE_LOSSLESS else 2))
        for number, part in enumerate(frames_of(server, instance, "1,2,3,4", AS_STORED), 1):
            found = true_transfer_syntax(part.body, 0, len(part.body), lookup(syntax))
            expect(found == syntax, f"frame {number} in {syntax} begins {part.body[:8].hex()}")
            expect(f"transfer-syntax={syntax}" in part.headers.get("content-type", ""), "no label")
            expect_same_picture(part.body, instance, syntax, number)


def expect_same_picture(data: bytes, instance: Instance, syntax: str, number: int) -> None:
    """Raise ``Broken`` unless a codestream holds the instance's frame, by a decoder of its own."""
    plan = instance.plan
    if plan is None:
        raise Broken("the sample has no pixels")
    try:
        pixels = decode_frame(data, plan, syntax)
    except Exception as error:
        # Whatever a codec raises on what is no codestream of its own.
        raise Broken(f"frame {number} in {syntax} cannot be decoded: {error}") from error
    drawn = draw_frame(instance.identity(number), plan)
    close = 40 if syntax == JPEG_BASELINE else 0
    difference = np.abs(pixels.astype(np.int64) - drawn.astype(np.int64))
    off = float(difference.mean()) if close else float(difference.max())
    expect(off <= close, f"frame {number} in {syntax} is off by {off}")


@statement("W21", "PS3.18 Table 8.7.3-5")
def each_media_type_has_its_default(server: Server) -> None:
    """A compressed type without transfer-syntax gives its default: image/jpeg is lossless."""
    instance = cine(server, EXPLICIT_VR_LITTLE_ENDIAN)
    for media_type, syntax in DEFAULTS.items():
        _expect_default(server, instance, media_type, syntax)


def _expect_default(server: Server, instance: Instance, media_type: str, syntax: str) -> None:
    for number, part in enumerate(frames_of(server, instance, "1,2", f'{FRAMES}"{media_type}"'), 1):
        label = part.headers.get("content-type", "")
        named = label.partition("transfer-syntax=")[2].strip('"') or syntax
        expect(label.startswith(media_type) and named == syntax, f"{media_type} came as {label}")
        known = lookup(syntax)
        found = true_transfer_syntax(part.body, 0, len(part.body), known) or syntax
        expect(found == syntax, f"{media_type} came in {found}")
        plan = instance.plan
        if plan is not None and media_type != "image/jxl":
            expect_same_picture(part.body, instance, syntax, number)


@statement("W22", "PS3.18 Table 8.7.3-5")
def new_media_types_are_known(server: Server) -> None:
    """image/jphc and image/jxl are given, lossless by default."""
    instance = cine(server, EXPLICIT_VR_LITTLE_ENDIAN)
    _expect_default(server, instance, "image/jphc", HTJ2K_LOSSLESS)
    [part] = frames_of(server, instance, "1", f'{FRAMES}"image/jxl"')
    expect(part.body[:2] == b"\xff\x0a", f"image/jxl begins {part.body[:8].hex()}")


@statement("W23", "", choice=True)
def old_media_types_are_taken(server: Server) -> None:
    """Names of earlier editions mean what they mean today."""
    instance = cine(server, EXPLICIT_VR_LITTLE_ENDIAN)
    for old, today in (
        ("image/x-dicom-rle", RLE_LOSSLESS),
        ("image/x-jls", JPEG_LS_LOSSLESS),
        ("image/dicom+jpeg", JPEG_LOSSLESS_SV1),
        ("image/dicom+jp2", JPEG_2000_LOSSLESS),
        ("image/dicom+rle", RLE_LOSSLESS),
    ):
        [part] = frames_of(server, instance, "1", f'{FRAMES}"{old}"')
        expect(today in part.headers.get("content-type", ""), f"{old} gave {part.headers}")


@statement("W24", "PS3.18 8.7.3.3.2")
def multi_frame_images_are_sent_frame_by_frame_and_videos_whole(server: Server) -> None:
    """A multi-frame image is one part a frame, never one stream; a video is one part."""
    instance = cine(server, JPEG_BASELINE)
    parts = parts_of(
        server.get(path_of(instance) + "/bulkdata/7FE00010", f"{FRAMES}image/jpeg; transfer-syntax=*")
    )
    expect(len(parts) == instance.frames, f"{len(parts)} parts for {instance.frames} frames")
    stream = bytes(range(256)) * 20
    path = handmade(
        server,
        "video",
        raw.encapsulated(stream[:3000], stream[3000:]),
        VIDEO,
        rows=480,
        columns=640,
        samples=3,
        frames="25",
        photometric="YBR_PARTIAL_420 ",
    )
    for accept in ("*/*", 'multipart/related; type="video/mp4"'):
        for below in ("/frames/1", "/bulkdata/7FE00010", "/pixeldata"):
            parts = parts_of(server.get(path + below, accept))
            expect(len(parts) == 1 and parts[0].body == stream, f"{below} of a video for {accept}")
            expect(
                "video/mp4" in parts[0].headers.get("content-type", ""), f"a video came as {parts[0].headers}"
            )


def _jpeg(number: int) -> bytes:
    return b"\xff\xd8\xff\xe0" + bytes([number]) * 40 + b"\xff\xd9"


@statement("W25", "PS3.5 A.4")
def odd_fragments_give_the_right_frames(server: Server) -> None:
    """Empty, basic and extended offset tables, and several fragments a frame, give the same frames."""
    for layout in (Layout("empty", 1), Layout("basic", 3), Layout("extended", 1)):
        instance = cine(server, JPEG_2000_LOSSLESS, layout=layout)
        for number, part in enumerate(frames_of(server, instance, "1,2,3,4", NATIVE), 1):
            expect_identity(part.body, replace_planar(instance), f"frame {number} of {layout}", number)
    streams = [_jpeg(number) for number in (1, 2, 3)]
    halves = [half for stream in streams for half in (stream[:22], stream[22:])]
    layouts: Sequence[tuple[str, list[bytes], list[bytes], str]] = (
        ("two fragments each, no table", halves, streams, "3 "),
        ("five for one", [streams[0][at : at + 10] for at in range(0, 46, 10)], streams[:1], "1 "),
        ("one too few", streams[:2], streams[:2], "3 "),
    )
    for name, fragments, expected, frames in layouts:
        path = handmade(server, name, raw.encapsulated(*fragments), JPEG_BASELINE, frames=frames)
        numbers = ",".join(str(number) for number in range(1, len(expected) + 1))
        found = [part.body for part in parts_of(server.get(f"{path}/frames/{numbers}", AS_STORED))]
        expect(found == expected, f"{name}: the frames are cut wrongly")
        beyond = server.get(f"{path}/frames/{len(expected) + 1}", AS_STORED)
        expect(beyond.status_code == 404, f"{name}: a frame too many answered {beyond.status_code}")


def replace_planar(instance: Instance) -> Instance:
    """Return the instance as it is once decompressed: colour by pixel."""
    return instance if instance.plan is None else replace(instance, plan=replace(instance.plan, planar=0))


@statement("W26", "PS3.5 8.2", choice=True)
def the_photometric_interpretation_fits_the_bytes(server: Server) -> None:
    """Photometric Interpretation in metadata and objects is that of the bytes sent: YBR or RGB."""
    for syntax in (JPEG_BASELINE, JPEG_2000_LOSSLESS, RLE_LOSSLESS):
        instance = cine(server, syntax)
        [metadata] = server.get(path_of(instance) + "/metadata").json()
        told = metadata["00280004"]["Value"][0]
        [part] = frames_of(server, instance, "1", NATIVE)
        # PS3.5 8.2.4: the transforms of JPEG 2000 are part of its codec, its decoder gives RGB.
        _expect_colour(
            part.body, instance, "RGB" if told in {"YBR_RCT", "YBR_ICT"} else told, f"metadata of {syntax}"
        )
        [sent] = retrieved(server, path_of(instance), f"{PARTS}; transfer-syntax={EXPLICIT_VR_LITTLE_ENDIAN}")
        at = sent.data.index(struct.pack("<HH2s", 0x0028, 0x0004, b"CS"))
        length = struct.unpack_from("<H", sent.data, at + 6)[0]
        inside = sent.data[at + 8 : at + 8 + length].decode().strip()
        pixels = sent.data[-len(part.body) * instance.frames :][: len(part.body)]
        _expect_colour(pixels, instance, inside, f"{syntax} decompressed")
        expect(inside in {"RGB", "YBR_FULL"}, f"{inside} in an uncompressed object")


def _expect_colour(data: bytes, instance: Instance, photometric: str, what: str) -> None:
    plan = instance.plan
    if plan is None:
        raise Broken("the sample has no pixels")
    drawn = draw_frame(instance.identity(1), replace(plan, planar=0)).astype(np.float64)
    found = native_frame(data, replace(plan, planar=0)).astype(np.float64)
    if photometric.startswith("YBR"):
        # PS3.3 C.7.6.3.1.2.
        luma, blue, red = found[..., 0], found[..., 1] - 128, found[..., 2] - 128
        found = np.stack(
            (luma + 1.402 * red, luma - 0.3441 * blue - 0.7141 * red, luma + 1.772 * blue), axis=-1
        )
    off = float(np.abs(found - drawn).mean())
    expect(off < 20, f"{what}: {photometric} does not fit the bytes (off by {off:.0f})")
