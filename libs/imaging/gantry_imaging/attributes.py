"""The Image Pixel attributes that decoding needs (PS3.3 C.7.6.3), read from a header."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

from gantry_dicom.errors import CannotProcess
from pydicom import dcmread
from pydicom.dataset import Dataset

# Samples that one frame may have: 65,535 rows of that many columns would be 4 GB.
MAXIMUM_SAMPLES = 400_000_000
_BITS = frozenset({1, 8, 16, 32, 64})


@dataclass(frozen=True, slots=True)
class ImageAttributes:
    """One image's pixel description; counts in pixels, samples and bits."""

    rows: int
    columns: int
    samples_per_pixel: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    photometric_interpretation: str
    planar_configuration: int
    # Float Pixel Data or Double Float Pixel Data (7FE0,0008/0009).
    floating: bool = False
    # Bits of a cell below the sample: what is stored there, or above it, is not the sample (PS3.5 8.1.1).
    low_bits: int = 0

    @property
    def samples(self) -> int:
        """Samples of one frame."""
        return self.rows * self.columns * self.samples_per_pixel


def read_header(header: bytes) -> Dataset:
    """Parse the bytes of an object before its pixels; raises ``CannotProcess``.

    ``header`` begins with the preamble and ends anywhere at or after the start of the pixel
    data element.
    """
    try:
        return dcmread(BytesIO(header), stop_before_pixels=True, force=True)
    except Exception as error:
        # pydicom raises whatever its parts raise; the object passed the admission gate, so
        # this is an oddity of its header and not a reason to fail the process.
        raise CannotProcess("the header of the instance cannot be read") from error


def image_attributes(header: Dataset, *, floating: bool = False) -> ImageAttributes:
    """Return the pixel description of ``header``; raises ``CannotProcess`` when there is none."""
    rows = _number(header, "Rows")
    columns = _number(header, "Columns")
    samples_per_pixel = _number(header, "SamplesPerPixel", 1)
    bits_allocated = _number(header, "BitsAllocated")
    bits_stored = _number(header, "BitsStored", bits_allocated)
    if rows < 1 or columns < 1 or samples_per_pixel < 1:
        raise CannotProcess("the instance has no image")
    if bits_allocated not in _BITS or not 1 <= bits_stored <= bits_allocated:
        raise CannotProcess("the bit depth of the image makes no sense")
    attributes = ImageAttributes(
        rows=rows,
        columns=columns,
        samples_per_pixel=samples_per_pixel,
        bits_allocated=bits_allocated,
        bits_stored=bits_stored,
        signed=_number(header, "PixelRepresentation", 0) == 1,
        photometric_interpretation=str(header.get("PhotometricInterpretation", "") or "MONOCHROME2").strip(),
        planar_configuration=_number(header, "PlanarConfiguration", 0),
        floating=floating,
        low_bits=_low_bits(header, bits_allocated, bits_stored),
    )
    if attributes.samples > MAXIMUM_SAMPLES:
        raise CannotProcess("the frame is larger than this server decodes")
    return attributes


def _low_bits(header: Dataset, bits_allocated: int, bits_stored: int) -> int:
    low_bits = _number(header, "HighBit", bits_stored - 1) + 1 - bits_stored
    # A high bit that cannot be one is the commonest slip; the sample then lies lowest.
    return low_bits if 0 <= low_bits <= bits_allocated - bits_stored else 0


def _number(header: Dataset, keyword: str, default: int = 0) -> int:
    value = header.get(keyword)
    try:
        return default if value in (None, "") else int(value)
    except (TypeError, ValueError) as error:
        raise CannotProcess(f"{keyword} is not a number") from error
