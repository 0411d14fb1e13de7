"""From the samples of one frame to a codestream, without loss.

Nothing here loses a bit: where a transfer syntax may be lossy (JPEG-LS near-lossless, JPEG 2000,
HTJ2K) the stream in it is a reversible one all the same, and the syntaxes that always lose (JPEG
baseline and extended) are not written at all; ``render`` makes pictures.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from gantry_dicom.errors import CannotProcess

from gantry_imaging.attributes import ImageAttributes
from gantry_imaging.decode import DEFLATED_IMAGE_FRAME, ENCAPSULATED_UNCOMPRESSED, Samples, native_bytes

# HTJ2K is decomposed until its smallest picture fits into this square (PS3.5 10.17: RPCL).
_SMALLEST_RESOLUTION = 64
_MAXIMUM_RESOLUTIONS = 10
# What CharLS may need beyond the samples themselves for noise, and its markers.
_JPEG_LS_RESERVE = 4096
_APP8 = b"\xff\xe8"
_RLE_SEGMENTS = 15
_RLE_HEADER = 64


@dataclass(frozen=True, slots=True)
class _Codec:
    encode: Callable[[Samples, ImageAttributes], bytes]
    bits_allocated: frozenset[int]
    # Photometric Interpretation of an RGB image in this transfer syntax (PS3.5 8.2).
    rgb_becomes: str = "RGB"
    # Planar Configuration of a colour image in it.
    planar_configuration: int = 0


def can_encode(transfer_syntax_uid: str, bits_allocated: int) -> bool:
    """Tell whether images of a bit depth can be written in a transfer syntax at all."""
    codec = _CODECS.get(transfer_syntax_uid)
    return codec is not None and bits_allocated in codec.bits_allocated


def encode_frame(samples: Samples, transfer_syntax_uid: str, attributes: ImageAttributes) -> bytes:
    """Return one frame as ``decode_frame`` gives it as a codestream, padded to an even length.

    Raises ``CannotProcess`` when the transfer syntax cannot hold such a frame.
    """
    codec = _CODECS.get(transfer_syntax_uid)
    if codec is None or attributes.bits_allocated not in codec.bits_allocated or attributes.floating:
        raise CannotProcess(f"frames of this kind are not written in transfer syntax {transfer_syntax_uid}")
    try:
        data = codec.encode(np.ascontiguousarray(samples), attributes)
    except CannotProcess:
        raise
    except Exception as error:
        # Each codec has its own error types.
        raise CannotProcess("the frame cannot be encoded as asked") from error
    return data + bytes(len(data) % 2)


def encoded_photometric(transfer_syntax_uid: str, photometric: str) -> str:
    """Return the Photometric Interpretation that samples of ``photometric`` have once encoded (PS3.5 8.2)."""
    return _CODECS[transfer_syntax_uid].rgb_becomes if photometric == "RGB" else photometric


def encoded_planar_configuration(transfer_syntax_uid: str) -> int:
    """Return the Planar Configuration of a colour image in a transfer syntax (PS3.3 C.7.6.3.1.3)."""
    return _CODECS[transfer_syntax_uid].planar_configuration


def _is_rgb(attributes: ImageAttributes) -> bool:
    # The transforms of JPEG 2000 are undone by its decoder: what came from there is RGB again.
    photometric = attributes.photometric_interpretation
    return attributes.samples_per_pixel == 3 and photometric in ("RGB", "YBR_RCT", "YBR_ICT")


def _cells(samples: Samples) -> Samples:
    # JPEG, JPEG-LS and JPEG XL know no sign: the cell's bits are coded as they are.
    return samples.view(f"<u{samples.dtype.itemsize}")


def _precision(samples: Samples, attributes: ImageAttributes) -> int:
    """Return Bits Stored, or the whole cell where something is kept in the bits above."""
    stored, signed = attributes.bits_stored, attributes.signed
    low, high = (-(1 << stored - 1), (1 << stored - 1) - 1) if signed else (0, (1 << stored) - 1)
    fits = samples.size == 0 or (int(samples.min()) >= low and int(samples.max()) <= high)
    return stored if fits else attributes.bits_allocated


def _jpeg_lossless(samples: Samples, attributes: ImageAttributes) -> bytes:
    precision = max(_precision(samples, attributes), 2)
    cells = _cells(samples)
    if precision < attributes.bits_allocated:
        cells = cells & cells.dtype.type((1 << precision) - 1)
    # The same space twice: the components are coded as they are.
    space = {"colorspace": "RGB", "outcolorspace": "RGB"} if attributes.samples_per_pixel == 3 else {}
    options: dict[str, Any] = {"lossless": True, "predictor": 1, "bitspersample": precision, **space}
    return bytes(imagecodecs.jpeg8_encode(cells, **options))


def _jpeg_ls(samples: Samples, _attributes: ImageAttributes) -> bytes:
    cells = _cells(samples)
    data = bytes(imagecodecs.jpegls_encode(cells, out=2 * cells.nbytes + _JPEG_LS_RESERVE))
    # CharLS puts a SPIFF header into APP8 segments, which readers of DICOM do not expect.
    position = 2
    while data[position : position + 2] == _APP8:
        position += 2 + struct.unpack_from(">H", data, position + 2)[0]
    return data[:2] + data[position:]


def _jpeg_2000(samples: Samples, attributes: ImageAttributes) -> bytes:
    return bytes(
        imagecodecs.jpeg2k_encode(
            samples,
            level=0,
            codecformat="j2k",
            reversible=True,
            mct=_is_rgb(attributes),
            bitspersample=_precision(samples, attributes),
            numthreads=1,
        )
    )


def _htj2k(samples: Samples, attributes: ImageAttributes) -> bytes:
    # OpenJPH writes the progression RPCL; with tile-part lengths and a small picture as the lowest
    # resolution the stream is one of the RPCL transfer syntax too.
    resolutions = 0
    while max(attributes.rows, attributes.columns) >> resolutions > _SMALLEST_RESOLUTION:
        resolutions += 1
    return bytes(
        imagecodecs.htj2k_encode(
            samples,
            reversible=True,
            rgb=_is_rgb(attributes),
            resolutions=min(resolutions, _MAXIMUM_RESOLUTIONS),
            tlm=True,
        )
    )


def _jpeg_xl(samples: Samples, attributes: ImageAttributes) -> bytes:
    if attributes.samples_per_pixel != 1 and not _is_rgb(attributes):
        raise CannotProcess("JPEG XL is written for grey and RGB images only")
    # Effort 7, the library's default, takes twenty times as long for a few percent.
    return bytes(
        imagecodecs.jpegxl_encode(_cells(samples), lossless=True, usecontainer=False, numthreads=1, effort=2)
    )


def _rle(samples: Samples, attributes: ImageAttributes) -> bytes:
    # PS3.5 G.2: byte planes, most significant first, sample by sample; G.3.1: rows end their runs.
    width = samples.dtype.itemsize
    if attributes.samples_per_pixel * width > _RLE_SEGMENTS:
        raise CannotProcess("the frame has more byte planes than RLE has segments")
    octets = samples.view(np.uint8).reshape(attributes.rows, attributes.columns, -1, width)
    segments = []
    for sample in range(attributes.samples_per_pixel):
        for byte in reversed(range(width)):
            plane = np.ascontiguousarray(octets[:, :, sample, byte])
            packed = b"".join(bytes(imagecodecs.packbits_encode(row.tobytes())) for row in plane)
            segments.append(packed + bytes(len(packed) % 2))
    offsets, position = [], _RLE_HEADER
    for segment in segments:
        offsets.append(position)
        position += len(segment)
    header = struct.pack("<16L", len(segments), *offsets, *[0] * (_RLE_SEGMENTS - len(offsets)))
    return header + b"".join(segments)


def _deflated(samples: Samples, attributes: ImageAttributes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(native_bytes(samples, attributes)) + deflater.flush()


_BYTES_AND_WORDS = frozenset((8, 16))
_ANY_CELL = frozenset((8, 16, 32))
_J2K = _Codec(_jpeg_2000, _BYTES_AND_WORDS, rgb_becomes="YBR_RCT")
_HTJ2K = _Codec(_htj2k, _BYTES_AND_WORDS, rgb_becomes="YBR_RCT")
_JPEG_LS = _Codec(_jpeg_ls, _BYTES_AND_WORDS)

# PS3.5 Annex A.4, by transfer syntax UID.
_CODECS: Mapping[str, _Codec] = {
    ENCAPSULATED_UNCOMPRESSED: _Codec(native_bytes, _ANY_CELL),
    DEFLATED_IMAGE_FRAME: _Codec(_deflated, frozenset((1, *_ANY_CELL))),
    "1.2.840.10008.1.2.5": _Codec(_rle, _ANY_CELL, planar_configuration=1),
    "1.2.840.10008.1.2.4.57": _Codec(_jpeg_lossless, _BYTES_AND_WORDS),
    "1.2.840.10008.1.2.4.70": _Codec(_jpeg_lossless, _BYTES_AND_WORDS),
    "1.2.840.10008.1.2.4.80": _JPEG_LS,
    "1.2.840.10008.1.2.4.81": _JPEG_LS,
    "1.2.840.10008.1.2.4.90": _J2K,
    "1.2.840.10008.1.2.4.91": _J2K,
    "1.2.840.10008.1.2.4.110": _Codec(_jpeg_xl, _BYTES_AND_WORDS),
    "1.2.840.10008.1.2.4.112": _Codec(_jpeg_xl, _BYTES_AND_WORDS),
    "1.2.840.10008.1.2.4.201": _HTJ2K,
    "1.2.840.10008.1.2.4.202": _HTJ2K,
    "1.2.840.10008.1.2.4.203": _HTJ2K,
}
