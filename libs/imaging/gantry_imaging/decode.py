"""From the bytes of one frame to samples.

The samples are as coded: a YBR image stays YBR (``render`` turns it to RGB), except that a
JPEG 2000 stream's own component transform is undone, as its decoder always does.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import imagecodecs
import numpy as np
from gantry_dicom.errors import CannotProcess
from numpy.typing import NDArray

from gantry_imaging.attributes import ImageAttributes
from gantry_imaging.codestreams import CodestreamSize, jpeg2000_size, jpeg_size

Samples = NDArray[Any]

DEFLATED_IMAGE_FRAME = "1.2.840.10008.1.2.8.1"
ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
_NATIVE_IN_FRAGMENTS = frozenset((DEFLATED_IMAGE_FRAME, ENCAPSULATED_UNCOMPRESSED))
_RLE = "1.2.840.10008.1.2.5"


def decode_frame(data: bytes, transfer_syntax_uid: str, attributes: ImageAttributes) -> Samples:
    """Return the samples of one frame: (rows, columns) or (rows, columns, samples per pixel).

    ``data`` is the frame's own bytes: its codestream, or its native samples, little endian and
    from their first bit on (``FrameTable.native_frame``). The type is that of Bits Allocated
    and Pixel Representation, little endian. Raises ``CannotProcess`` when the bytes do not
    make the frame that the header describes.
    """
    if transfer_syntax_uid in NATIVE_TRANSFER_SYNTAXES:
        return _native(data, attributes)
    if transfer_syntax_uid in _NATIVE_IN_FRAGMENTS:
        native = _inflate(data, attributes) if transfer_syntax_uid == DEFLATED_IMAGE_FRAME else data
        return _native(native, attributes)
    decoder = _DECODERS.get(transfer_syntax_uid)
    if decoder is None:
        raise CannotProcess(f"frames of transfer syntax {transfer_syntax_uid} cannot be decoded here")
    try:
        samples = decoder(data, attributes)
    except CannotProcess:
        raise
    except Exception as error:
        # Each codec has its own error types; all of them mean that the stream is damaged.
        raise CannotProcess("the frame's codestream is damaged") from error
    return _conform(samples, attributes)


def can_decode(transfer_syntax_uid: str) -> bool:
    """Tell whether frames of a transfer syntax can be decoded at all."""
    return (
        transfer_syntax_uid in NATIVE_TRANSFER_SYNTAXES
        or transfer_syntax_uid in _DECODERS
        or transfer_syntax_uid in _NATIVE_IN_FRAGMENTS
    )


def native_bytes(samples: Samples, attributes: ImageAttributes) -> bytes:
    """Return samples as one frame of Explicit VR Little Endian pixel data, colour by pixel.

    1-bit samples are packed, the first in the lowest bit (PS3.5 8.1.1), padded to a byte.
    """
    if attributes.bits_allocated == 1:
        return np.packbits(samples.reshape(-1), bitorder="little").tobytes()
    return np.ascontiguousarray(samples).astype(samples.dtype.newbyteorder("<"), copy=False).tobytes()


# PS3.5 Annex A: the transfer syntaxes without encapsulation.
NATIVE_TRANSFER_SYNTAXES = frozenset(
    {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"}
)


def _sample_type(attributes: ImageAttributes) -> np.dtype[Any]:
    if attributes.floating:
        return np.dtype("<f4" if attributes.bits_allocated == 32 else "<f8")
    width = max(attributes.bits_allocated // 8, 1)
    return np.dtype(f"<{'i' if attributes.signed else 'u'}{width}")


def _shape(attributes: ImageAttributes) -> tuple[int, ...]:
    shape = (attributes.rows, attributes.columns)
    return shape if attributes.samples_per_pixel == 1 else (*shape, attributes.samples_per_pixel)


def _native(data: bytes, attributes: ImageAttributes) -> Samples:
    if attributes.bits_allocated == 1:
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        samples = bits[: attributes.samples]
        if len(samples) < attributes.samples:
            raise CannotProcess("the frame has fewer bits than the header says")
        return _by_pixel(samples, attributes)
    if attributes.photometric_interpretation == "YBR_FULL_422" and attributes.samples_per_pixel == 3:
        return _from_422(data, attributes)
    sample_type = _sample_type(attributes)
    if len(data) < attributes.samples * sample_type.itemsize:
        raise CannotProcess("the frame has fewer bytes than the header says")
    return _by_pixel(np.frombuffer(data, sample_type, attributes.samples), attributes)


def _by_pixel(samples: Samples, attributes: ImageAttributes) -> Samples:
    rows, columns, count = attributes.rows, attributes.columns, attributes.samples_per_pixel
    if count == 1:
        return samples.reshape(rows, columns)
    if attributes.planar_configuration == 1:
        return samples.reshape(count, rows, columns).transpose(1, 2, 0)
    return samples.reshape(rows, columns, count)


def _from_422(data: bytes, attributes: ImageAttributes) -> Samples:
    # PS3.3 C.7.6.3.1.2: two Y, then the Cb and Cr of both; 16 bits a pixel.
    rows, columns = attributes.rows, attributes.columns
    if columns % 2 or attributes.bits_allocated != 8 or len(data) < rows * columns * 2:
        raise CannotProcess("the frame has fewer bytes than the header says")
    pairs = np.frombuffer(data, np.uint8, rows * columns * 2).reshape(rows, columns // 2, 4)
    samples = np.empty((rows, columns, 3), np.uint8)
    samples[:, 0::2, 0] = pairs[:, :, 0]
    samples[:, 1::2, 0] = pairs[:, :, 1]
    samples[:, :, 1] = np.repeat(pairs[:, :, 2], 2, axis=1)
    samples[:, :, 2] = np.repeat(pairs[:, :, 3], 2, axis=1)
    return samples


def _inflate(data: bytes, attributes: ImageAttributes) -> bytes:
    expected = (attributes.samples * attributes.bits_allocated + 7) // 8
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, expected)
    except zlib.error as error:
        raise CannotProcess("the frame's deflated stream is damaged") from error


def _rle(data: bytes, attributes: ImageAttributes) -> Samples:
    # PS3.5 G: one segment a byte of a sample, most significant first, plane by plane; the
    # samples of a 1-bit image stay packed in theirs.
    width = max(attributes.bits_allocated // 8, 1)
    if int.from_bytes(data[:4], "little") != attributes.samples_per_pixel * width:
        raise CannotProcess("the RLE header does not fit the image")
    if attributes.bits_allocated == 1:
        packed = np.zeros((attributes.samples + 7) // 8, np.uint8)
        imagecodecs.dicomrle_decode(data, packed.dtype, out=packed.data)
        return np.unpackbits(packed, count=attributes.samples, bitorder="little")
    sample_type = _sample_type(attributes)
    out = np.zeros(attributes.samples * width, np.uint8)
    imagecodecs.dicomrle_decode(data, sample_type, out=out.data)
    samples = out.view(sample_type)
    if attributes.samples_per_pixel == 1:
        return samples
    return samples.reshape(attributes.samples_per_pixel, attributes.rows, attributes.columns).transpose(
        1, 2, 0
    )


def _check_size(size: CodestreamSize | None, attributes: ImageAttributes) -> CodestreamSize:
    if size is None:
        raise CannotProcess("the frame is no codestream of its transfer syntax")
    if (size.rows, size.columns, size.components) != (
        attributes.rows,
        attributes.columns,
        attributes.samples_per_pixel,
    ):
        raise CannotProcess("the codestream's size is not the one the header says")
    return size


def _jpeg(data: bytes, attributes: ImageAttributes) -> Samples:
    size = _check_size(jpeg_size(data), attributes)
    if size.components == 3:
        # The components as coded: naming the same space twice turns the conversion off.
        return imagecodecs.jpeg8_decode(data, colorspace="YCBCR", outcolorspace="YCBCR")
    return imagecodecs.jpeg8_decode(data)


def _jpeg_lossless(data: bytes, attributes: ImageAttributes) -> Samples:
    size = _check_size(jpeg_size(data), attributes)
    if size.components == 1:
        return imagecodecs.ljpeg_decode(data)
    return imagecodecs.jpegsof3_decode(data)


def _jpeg_ls(data: bytes, attributes: ImageAttributes) -> Samples:
    _check_size(jpeg_size(data), attributes)
    return imagecodecs.jpegls_decode(data)


def _jpeg_2000(data: bytes, attributes: ImageAttributes) -> Samples:
    _check_size(jpeg2000_size(data), attributes)
    return imagecodecs.jpeg2k_decode(data, numthreads=1)


def _htj2k(data: bytes, attributes: ImageAttributes) -> Samples:
    size = _check_size(jpeg2000_size(data), attributes)
    # Without a component transform the decoder would give plane by plane.
    return imagecodecs.htj2k_decode(data, planar=False if size.components > 1 else None)


def _jpeg_xl(data: bytes, attributes: ImageAttributes) -> Samples:
    # A wrong size is refused before the stream is decoded into the space given.
    out = np.empty(_shape(attributes), _sample_type(attributes))
    return imagecodecs.jpegxl_decode(data, numthreads=1, out=out)


# PS3.5 Annex A.4, by transfer syntax UID.
_DECODERS: Mapping[str, Callable[[bytes, ImageAttributes], Samples]] = {
    _RLE: _rle,
    "1.2.840.10008.1.2.4.50": _jpeg,
    "1.2.840.10008.1.2.4.51": _jpeg,
    "1.2.840.10008.1.2.4.53": _jpeg,
    "1.2.840.10008.1.2.4.55": _jpeg,
    "1.2.840.10008.1.2.4.57": _jpeg_lossless,
    "1.2.840.10008.1.2.4.70": _jpeg_lossless,
    "1.2.840.10008.1.2.4.80": _jpeg_ls,
    "1.2.840.10008.1.2.4.81": _jpeg_ls,
    "1.2.840.10008.1.2.4.90": _jpeg_2000,
    "1.2.840.10008.1.2.4.91": _jpeg_2000,
    "1.2.840.10008.1.2.4.92": _jpeg_2000,
    "1.2.840.10008.1.2.4.93": _jpeg_2000,
    "1.2.840.10008.1.2.4.110": _jpeg_xl,
    "1.2.840.10008.1.2.4.111": _jpeg_xl,
    "1.2.840.10008.1.2.4.112": _jpeg_xl,
    "1.2.840.10008.1.2.4.201": _htj2k,
    "1.2.840.10008.1.2.4.202": _htj2k,
    "1.2.840.10008.1.2.4.203": _htj2k,
}


def _conform(samples: Samples, attributes: ImageAttributes) -> Samples:
    """Give decoded samples the shape and type that the header describes."""
    if samples.size != attributes.samples:
        raise CannotProcess("the codestream's size is not the one the header says")
    samples = samples.reshape(_shape(attributes))
    sample_type = _sample_type(attributes)
    if samples.dtype == sample_type and attributes.bits_stored == attributes.bits_allocated:
        return samples
    if attributes.bits_stored == attributes.bits_allocated:
        return samples.astype(sample_type)
    unsigned = samples.astype(np.int64) & ((1 << attributes.bits_stored) - 1)
    if attributes.signed:
        half = 1 << (attributes.bits_stored - 1)
        unsigned = (unsigned ^ half) - half
    return unsigned.astype(sample_type)
