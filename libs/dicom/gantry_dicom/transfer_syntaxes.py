"""The transfer syntaxes of PS3.6 Table A-1 as data, with their media types (PS3.18 8.7.3).

``media_type`` is that of a single frame (of the whole stream for video) in the bytes as stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from gantry_dicom.element_headers import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, Encoding

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1.99"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.70"
JPEG_LS_LOSSLESS = "1.2.840.10008.1.2.4.80"
JPEG_LS_LOSSY = "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
JPEG_2000 = "1.2.840.10008.1.2.4.91"
HTJ2K_LOSSLESS = "1.2.840.10008.1.2.4.201"
HTJ2K = "1.2.840.10008.1.2.4.203"
RLE_LOSSLESS = "1.2.840.10008.1.2.5"


class Codestream(Enum):
    """What one frame's bytes look like, which is how frames are told apart."""

    NONE = "none"  # native pixels, or nothing recognisable
    JPEG = "jpeg"  # ISO/IEC 10918-1
    JPEG_LS = "jpeg-ls"  # ISO/IEC 14495-1
    JPEG_2000 = "jpeg-2000"  # ISO/IEC 15444-1, -2, -15
    RLE = "rle"  # PS3.5 Annex G
    FRAGMENT = "fragment"  # exactly one fragment a frame, no marker (PS3.5 A.4.11, A.4.13)
    VIDEO = "video"  # all frames in one stream


@dataclass(frozen=True, slots=True)
class TransferSyntax:
    """One transfer syntax; ``lossy`` means that it may be (PS3.5 Annex A)."""

    uid: str
    name: str
    explicit: bool
    little_endian: bool
    encapsulated: bool
    deflated: bool
    lossy: bool
    media_type: str
    codestream: Codestream

    @property
    def encoding(self) -> Encoding:
        """How a data set in this transfer syntax is written (a deflated one: once inflated)."""
        if not self.explicit:
            return IMPLICIT_LITTLE
        return EXPLICIT_LITTLE if self.little_endian else EXPLICIT_BIG


def _native(
    uid: str, name: str, *, explicit: bool = True, little: bool = True, deflated: bool = False
) -> TransferSyntax:
    return TransferSyntax(
        uid, name, explicit, little, False, deflated, False, "application/octet-stream", Codestream.NONE
    )


def _encapsulated(
    uid: str, name: str, media_type: str, codestream: Codestream, *, lossy: bool
) -> TransferSyntax:
    return TransferSyntax(uid, name, True, True, True, False, lossy, media_type, codestream)


_LOSSY, _LOSSLESS = True, False
_J = Codestream.JPEG
_J2K = Codestream.JPEG_2000
_VIDEO = Codestream.VIDEO
# Last components after 1.2.840.10008.1.2.4: number, name, media type, codestream, lossy.
_JPEG_FAMILY: tuple[tuple[str, str, str, Codestream, bool], ...] = (
    ("50", "JPEG Baseline (Process 1)", "image/jpeg", _J, _LOSSY),
    ("51", "JPEG Extended (Process 2 and 4)", "image/jpeg", _J, _LOSSY),
    ("52", "JPEG Extended (Process 3 and 5)", "image/jpeg", _J, _LOSSY),
    ("53", "JPEG Spectral Selection, Non-Hierarchical (Process 6 and 8)", "image/jpeg", _J, _LOSSY),
    ("54", "JPEG Spectral Selection, Non-Hierarchical (Process 7 and 9)", "image/jpeg", _J, _LOSSY),
    ("55", "JPEG Full Progression, Non-Hierarchical (Process 10 and 12)", "image/jpeg", _J, _LOSSY),
    ("56", "JPEG Full Progression, Non-Hierarchical (Process 11 and 13)", "image/jpeg", _J, _LOSSY),
    ("57", "JPEG Lossless, Non-Hierarchical (Process 14)", "image/jpeg", _J, _LOSSLESS),
    ("58", "JPEG Lossless, Non-Hierarchical (Process 15)", "image/jpeg", _J, _LOSSLESS),
    ("59", "JPEG Extended, Hierarchical (Process 16 and 18)", "image/jpeg", _J, _LOSSY),
    ("60", "JPEG Extended, Hierarchical (Process 17 and 19)", "image/jpeg", _J, _LOSSY),
    ("61", "JPEG Spectral Selection, Hierarchical (Process 20 and 22)", "image/jpeg", _J, _LOSSY),
    ("62", "JPEG Spectral Selection, Hierarchical (Process 21 and 23)", "image/jpeg", _J, _LOSSY),
    ("63", "JPEG Full Progression, Hierarchical (Process 24 and 26)", "image/jpeg", _J, _LOSSY),
    ("64", "JPEG Full Progression, Hierarchical (Process 25 and 27)", "image/jpeg", _J, _LOSSY),
    ("65", "JPEG Lossless, Hierarchical (Process 28)", "image/jpeg", _J, _LOSSLESS),
    ("66", "JPEG Lossless, Hierarchical (Process 29)", "image/jpeg", _J, _LOSSLESS),
    ("70", "JPEG Lossless, Non-Hierarchical, First-Order Prediction", "image/jpeg", _J, _LOSSLESS),
    ("80", "JPEG-LS Lossless Image Compression", "image/jls", Codestream.JPEG_LS, _LOSSLESS),
    ("81", "JPEG-LS Lossy (Near-Lossless) Image Compression", "image/jls", Codestream.JPEG_LS, _LOSSY),
    ("90", "JPEG 2000 Image Compression (Lossless Only)", "image/jp2", _J2K, _LOSSLESS),
    ("91", "JPEG 2000 Image Compression", "image/jp2", _J2K, _LOSSY),
    ("92", "JPEG 2000 Part 2 Multi-component (Lossless Only)", "image/jpx", _J2K, _LOSSLESS),
    ("93", "JPEG 2000 Part 2 Multi-component", "image/jpx", _J2K, _LOSSY),
    ("100", "MPEG2 Main Profile / Main Level", "video/mpeg", _VIDEO, _LOSSY),
    ("100.1", "Fragmentable MPEG2 Main Profile / Main Level", "video/mpeg", _VIDEO, _LOSSY),
    ("101", "MPEG2 Main Profile / High Level", "video/mpeg", _VIDEO, _LOSSY),
    ("101.1", "Fragmentable MPEG2 Main Profile / High Level", "video/mpeg", _VIDEO, _LOSSY),
    ("102", "MPEG-4 AVC/H.264 High Profile / Level 4.1", "video/mp4", _VIDEO, _LOSSY),
    ("102.1", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.1", "video/mp4", _VIDEO, _LOSSY),
    ("103", "MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1", "video/mp4", _VIDEO, _LOSSY),
    ("103.1", "Fragmentable MPEG-4 AVC/H.264 BD-compatible High Profile", "video/mp4", _VIDEO, _LOSSY),
    ("104", "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video", "video/mp4", _VIDEO, _LOSSY),
    ("104.1", "Fragmentable MPEG-4 AVC/H.264 High Profile For 2D Video", "video/mp4", _VIDEO, _LOSSY),
    ("105", "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video", "video/mp4", _VIDEO, _LOSSY),
    ("105.1", "Fragmentable MPEG-4 AVC/H.264 High Profile For 3D Video", "video/mp4", _VIDEO, _LOSSY),
    ("106", "MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2", "video/mp4", _VIDEO, _LOSSY),
    ("106.1", "Fragmentable MPEG-4 AVC/H.264 Stereo High Profile", "video/mp4", _VIDEO, _LOSSY),
    ("107", "HEVC/H.265 Main Profile / Level 5.1", "video/mp4", _VIDEO, _LOSSY),
    ("108", "HEVC/H.265 Main 10 Profile / Level 5.1", "video/mp4", _VIDEO, _LOSSY),
    ("110", "JPEG XL Lossless", "image/jxl", Codestream.NONE, _LOSSLESS),
    ("111", "JPEG XL JPEG Recompression", "image/jxl", Codestream.NONE, _LOSSY),
    ("112", "JPEG XL", "image/jxl", Codestream.NONE, _LOSSY),
    ("201", "High-Throughput JPEG 2000 (Lossless Only)", "image/jphc", _J2K, _LOSSLESS),
    ("202", "High-Throughput JPEG 2000 with RPCL Options (Lossless Only)", "image/jphc", _J2K, _LOSSLESS),
    ("203", "High-Throughput JPEG 2000", "image/jphc", _J2K, _LOSSY),
)
_TABLE = (
    _native(IMPLICIT_VR_LITTLE_ENDIAN, "Implicit VR Little Endian", explicit=False),
    _native(EXPLICIT_VR_LITTLE_ENDIAN, "Explicit VR Little Endian"),
    _native(DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, "Deflated Explicit VR Little Endian", deflated=True),
    _native(EXPLICIT_VR_BIG_ENDIAN, "Explicit VR Big Endian", little=False),
    _native("1.2.840.10008.1.2.4.94", "JPIP Referenced"),
    _native("1.2.840.10008.1.2.4.95", "JPIP Referenced Deflate", deflated=True),
    _native("1.2.840.10008.1.2.4.204", "JPIP HTJ2K Referenced"),
    _native("1.2.840.10008.1.2.4.205", "JPIP HTJ2K Referenced Deflate", deflated=True),
    _encapsulated(
        "1.2.840.10008.1.2.1.98",
        "Encapsulated Uncompressed Explicit VR Little Endian",
        "application/octet-stream",
        Codestream.FRAGMENT,
        lossy=False,
    ),
    _encapsulated(
        "1.2.840.10008.1.2.8.1",
        "Deflated Image Frame Compression",
        "application/x-deflate",
        Codestream.FRAGMENT,
        lossy=False,
    ),
    _encapsulated(RLE_LOSSLESS, "RLE Lossless", "image/dicom-rle", Codestream.RLE, lossy=False),
    *(
        _encapsulated(f"1.2.840.10008.1.2.4.{number}", name, media_type, codestream, lossy=lossy)
        for number, name, media_type, codestream, lossy in _JPEG_FAMILY
    ),
)

TRANSFER_SYNTAXES: Mapping[str, TransferSyntax] = MappingProxyType({entry.uid: entry for entry in _TABLE})


def lookup(uid: str) -> TransferSyntax | None:
    """Return the transfer syntax of ``uid``, or None when it is private or not for stored objects."""
    return TRANSFER_SYNTAXES.get(uid)
