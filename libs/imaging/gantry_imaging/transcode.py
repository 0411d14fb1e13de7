"""Whole objects to Explicit VR Little Endian (PS3.5 A.2), pixels decompressed."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from gantry_dicom.errors import CannotProcess
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from gantry_imaging.attributes import MAXIMUM_SAMPLES, image_attributes
from gantry_imaging.decode import NATIVE_TRANSFER_SYNTAXES, decode_frame, native_bytes


def to_explicit_little_endian(stored: bytes, transfer_syntax_uid: str) -> bytes:
    """Return the Part 10 object ``stored`` re-encoded; raises ``CannotProcess``.

    Frames are decoded one by one; colour comes out by pixel, and what a JPEG stream coded as
    YBR stays YBR with full chroma, its Photometric Interpretation saying so.
    """
    try:
        data_set = dcmread(BytesIO(stored), force=True)
        if transfer_syntax_uid not in NATIVE_TRANSFER_SYNTAXES and "PixelData" in data_set:
            _decompress(data_set, transfer_syntax_uid)
        if transfer_syntax_uid == ExplicitVRBigEndian:
            _swap_words(data_set, int(data_set.get("BitsAllocated", 16) or 16))
            data_set.set_original_encoding(is_implicit_vr=False, is_little_endian=True)
        data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        out = BytesIO()
        data_set.save_as(out, implicit_vr=False, little_endian=True, enforce_file_format=True)
    except CannotProcess:
        raise
    except Exception as error:
        # pydicom raises whatever its parts raise; all of it means the same to the caller.
        raise CannotProcess("the instance cannot be written as Explicit VR Little Endian") from error
    return out.getvalue()


# PS3.5 6.2 and 7.3: bytes of one word of the VRs whose byte order is the transfer syntax's and
# whose values pydicom keeps as bytes.
_WORD_BYTES = {"OW": 2, "OL": 4, "OF": 4, "OD": 8, "OV": 8}
_PIXEL_DATA = 0x7FE00010


def _swap_words(data_set: Dataset, bits_allocated: int) -> None:
    for element in data_set:
        if element.VR == "SQ":
            for item in element.value:
                _swap_words(item, int(item.get("BitsAllocated", 16) or 16))
            continue
        width = _WORD_BYTES.get(element.VR)
        if width is None or not element.value:
            continue
        if element.tag == _PIXEL_DATA:
            # Samples wider than a word are one cell (PS3.5 D.2), not two swapped words.
            width = max(width, bits_allocated // 8)
        whole = len(element.value) - len(element.value) % width
        cells = np.frombuffer(element.value[:whole], f">u{width}")
        element.value = cells.astype(f"<u{width}").tobytes() + element.value[whole:]


def _decompress(data_set: Dataset, transfer_syntax_uid: str) -> None:
    attributes = image_attributes(data_set)
    count = int(data_set.get("NumberOfFrames", 1) or 1)
    if count * attributes.samples > MAXIMUM_SAMPLES:
        raise CannotProcess("the instance is larger than this server decompresses")
    frames = [
        native_bytes(decode_frame(frame, transfer_syntax_uid, attributes), attributes)
        for frame in generate_frames(data_set.PixelData, number_of_frames=count)
    ]
    if len(frames) != count:
        raise CannotProcess("the instance has fewer frames than it says")
    if attributes.bits_allocated == 1:
        raise CannotProcess("compressed single-bit frames are not transcoded whole")
    pixel_data = b"".join(frames)
    data_set.PixelData = pixel_data + bytes(len(pixel_data) % 2)
    data_set["PixelData"].VR = "OW" if attributes.bits_allocated > 8 else "OB"
    data_set["PixelData"].is_undefined_length = False
    for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        if keyword in data_set:
            delattr(data_set, keyword)
    if attributes.samples_per_pixel > 1:
        data_set.PlanarConfiguration = 0
        data_set.PhotometricInterpretation = _uncompressed_photometric(attributes.photometric_interpretation)


def _uncompressed_photometric(photometric: str) -> str:
    # PS3.5 8.2.4: the codec's transform is undone. Subsampled chroma has been spread out.
    if photometric in ("YBR_RCT", "YBR_ICT"):
        return "RGB"
    return "YBR_FULL" if photometric in ("YBR_FULL_422", "YBR_PARTIAL_420") else photometric
