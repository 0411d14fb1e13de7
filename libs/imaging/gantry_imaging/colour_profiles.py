"""ICC profiles of rendered pictures (PS3.18 8.3.5.1.5, PS3.3 C.11.15)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache
from io import BytesIO

from gantry_dicom.errors import CannotProcess
from PIL import Image, ImageCms
from pydicom.dataset import Dataset

NO_PROFILE = "no"
OWN_PROFILE = "yes"
_SRGB = "srgb"
PROFILE_CHOICES = (NO_PROFILE, OWN_PROFILE, _SRGB, "adobergb", "rommrgb")

_MAXIMUM_PROFILE_BYTES = 16 << 20
_D50 = (0.9642, 1.0, 0.8249)
# CIE XYZ of the primaries relative to D50, and the curve: exponent, or exponent with a straight toe.
_ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
_ROMM_RGB = ((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491))
# ISO 22028-2: linear with a sixteenth below 1/32 of the coded range.
_ROMM_TOE = (1.8, 1.0, 0.0, 1 / 16, 1 / 32)


def with_profile(image: Image.Image, header: Dataset, choice: str) -> tuple[Image.Image, bytes | None]:
    """Return the picture in the colours asked for, and the profile to embed (``None``: none).

    ``yes`` keeps the samples and embeds the image's own profile, or sRGB where it has none; a
    space by name converts them from the image's own. Raises ``CannotProcess`` for a profile that
    cannot be used.
    """
    if choice == NO_PROFILE:
        return image, None
    image = image.convert("RGB")
    own = stored_profile(header)
    if choice == OWN_PROFILE:
        return image, own or _srgb()
    wanted = _named(choice)
    source = own or _srgb()
    if source == wanted:
        return image, wanted
    try:
        converted = ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(BytesIO(source)),
            ImageCms.ImageCmsProfile(BytesIO(wanted)),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        raise CannotProcess("the image's ICC profile is damaged") from error
    return converted or image, wanted


def stored_profile(header: Dataset) -> bytes | None:
    """Return the ICC profile of an image, its own or that of its first optical path."""
    paths = header.get("OpticalPathSequence") or []
    for data_set in (header, *paths):
        profile = data_set.get("ICCProfile")
        # ICC.1 7.2: the signature is at byte 36 of any profile.
        if (
            isinstance(profile, bytes)
            and profile[36:40] == b"acsp"
            and len(profile) <= _MAXIMUM_PROFILE_BYTES
        ):
            return profile
    return None


def _named(choice: str) -> bytes:
    if choice == _SRGB:
        return _srgb()
    if choice == "adobergb":
        return _matrix_profile("Adobe RGB (1998) compatible", _ADOBE_RGB, (563 / 256,))
    return _matrix_profile("ROMM RGB", _ROMM_RGB, _ROMM_TOE)


@cache
def _srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@cache
def _matrix_profile(
    description: str, primaries: Sequence[tuple[float, float, float]], curve: Sequence[float]
) -> bytes:
    """Return a display profile of three primaries and one curve (ICC.1:2010 8.3.3, 10.16)."""
    kind = 0 if len(curve) == 1 else 3
    tone = b"para" + bytes(4) + struct.pack(">HH", kind, 0) + b"".join(map(_fixed, curve))
    tags = {
        b"desc": _text(description),
        b"cprt": _text("No copyright"),
        b"wtpt": _xyz(_D50),
        **{f"{name}XYZ".encode(): _xyz(xyz) for name, xyz in zip("rgb", primaries, strict=True)},
        **{f"{name}TRC".encode(): tone for name in "rgb"},
    }
    offset = 128 + 4 + 12 * len(tags)
    table, data = struct.pack(">I", len(tags)), b""
    for signature, value in tags.items():
        table += signature + struct.pack(">II", offset + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    header = struct.pack(
        ">I4sI4s4s4s12s4s4sII8sI12s",
        offset + len(data),
        bytes(4),
        0x04200000,
        b"mntr",
        b"RGB ",
        b"XYZ ",
        struct.pack(">6H", 2026, 1, 1, 0, 0, 0),
        b"acsp",
        bytes(4),
        0,
        0,
        bytes(8),
        0,
        b"".join(map(_fixed, _D50)),
    )
    return header.ljust(128, b"\0") + table + data


def _fixed(number: float) -> bytes:
    return struct.pack(">i", round(number * 65536))


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(map(_fixed, values))


def _text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    return b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(encoded), 28) + encoded
