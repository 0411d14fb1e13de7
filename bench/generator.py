"""Deterministic synthetic DICOM for measurements: the same numbers always give the same bytes.

An instance is a template, made once, whose fixed-width fields are patched in place: making one
costs microseconds, so the client is not the bottleneck. All names and numbers are invented.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROOT = "1.2.826.0.1.3680043.10.1337"
CT = "1.2.840.10008.5.1.4.1.1.2"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
MULTI_FRAME_WORD_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7.3"
ENHANCED_SR = "1.2.840.10008.5.1.4.1.1.88.22"

TRANSFER_SYNTAXES = {"raw": ExplicitVRLittleEndian, "rle": RLELossless, "j2k": JPEG2000Lossless}
SIDE = 512
FRAME_BYTES = SIDE * SIDE * 2
# Every patched field lies in the first bytes of a file.
_HEAD_BYTES = 65_536
_DISTINCT_FRAMES = 8

Parts = tuple[bytes, memoryview]


def study_uid(namespace: int, study: int) -> str:
    """Return the UID of a study; all UIDs here have the same, even length."""
    return f"{ROOT}.1{namespace:05d}.1{study:07d}.1000000"


def series_uid(namespace: int, study: int, series: int) -> str:
    """Return the UID of a series."""
    return f"{ROOT}.1{namespace:05d}.1{study:07d}.2{series:06d}"


def sop_uid(namespace: int, study: int, series: int, number: int) -> str:
    """Return the UID of an instance."""
    return f"{ROOT}.1{namespace:05d}.1{study:07d}.3{series:03d}{number:07d}"


# Keyword -> what stands in the template where the value goes; its length is the field's.
PLACEHOLDERS = {
    "StudyInstanceUID": study_uid(99_999, 9_999_999),
    "SeriesInstanceUID": series_uid(99_999, 9_999_999, 999_999),
    "SOPInstanceUID": sop_uid(99_999, 9_999_999, 999, 9_999_999),
    "PatientID": "PIDPLACEHO",
    "PatientName": "NAMEPLACE^HOLDERXXXXXXXX",
    "StudyDate": "19010203",
    "AccessionNumber": "ACCPLACEHOLD",
    "Modality": "ZZ",
    "StudyDescription": "STUDYDESCPLACEHOLDER",
    "InstanceNumber": "987650",
    "SeriesNumber": "3141",
    "SliceLocation": "-98765.0",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """What a template is of; ``frames`` and ``codec`` matter to multi-frame objects only."""

    name: str
    variant: int = 0
    frames: int = 200
    codec: str = "raw"


class Template:
    """A file in which fixed-width fields can be filled in."""

    def __init__(self, data_set: Dataset) -> None:
        file = io.BytesIO()
        data_set.save_as(file, enforce_file_format=True)
        raw = file.getvalue()
        self.size = len(raw)
        start = raw[:_HEAD_BYTES]
        ends = [start.rfind(text.encode()) + len(text) for text in PLACEHOLDERS.values()]
        cut = min(len(raw), max(ends) + 64)
        self.head = raw[:cut]
        self.tail = memoryview(raw)[cut:]
        self._places = {
            keyword: (len(text), list(_positions(self.head, text.encode())))
            for keyword, text in PLACEHOLDERS.items()
        }

    def fill(self, values: dict[str, str]) -> Parts:
        """Return the file in two pieces, with ``values`` by keyword. Raises ``ValueError`` for a long one."""
        head = bytearray(self.head)
        for keyword, value in values.items():
            width, places = self._places[keyword]
            data = value.encode("latin-1").ljust(width)
            if len(data) != width:
                raise ValueError(f"{keyword} takes {width} characters, not {value!r}")
            for place in places:
                head[place : place + width] = data
        return bytes(head), self.tail


@cache
def template(kind: Kind) -> Template:
    """Return the template of a kind: ``ct``, ``small``, ``sr`` or ``mf``."""
    return Template(_BUILDERS[kind.name](kind, np.random.default_rng(1000 + kind.variant)))


def instance(kind: Kind, namespace: int, study: int, series: int, number: int) -> Parts:
    """Return an instance of a study that is measured with, in two pieces."""
    values = {
        "StudyInstanceUID": study_uid(namespace, study),
        "SeriesInstanceUID": series_uid(namespace, study, series),
        "SOPInstanceUID": sop_uid(namespace, study, series, number),
        "PatientID": f"B{namespace:05d}{study % 10_000:04d}",
        "PatientName": f"ZZBENCH{study % 100:02d}^SYNTHETIC",
        "StudyDate": "19990101",
        "AccessionNumber": f"B{namespace:05d}{study % 1_000_000:06d}",
        "Modality": "SR" if kind.name == "sr" else "CT",
        "StudyDescription": "BENCH",
        "InstanceNumber": str(number + 1),
        "SeriesNumber": str(series + 1),
    }
    if kind.name == "ct":
        values["SliceLocation"] = f"{-number:.1f}"
    return template(kind).fill(values)


def ct(namespace: int, study: int, number: int) -> Parts:
    """Return a CT slice of 526 kB; four different pictures take turns."""
    return instance(Kind("ct", number % 4), namespace, study, 0, number)


def pixels(kind: Kind, frames: int = 1) -> bytes:
    """Return the native pixels at the end of a template."""
    return bytes(template(kind).tail[-FRAME_BYTES * frames :])


def _positions(data: bytes, text: bytes) -> Iterable[int]:
    at = data.find(text)
    while at >= 0:
        yield at
        at = data.find(text, at + 1)


def _phantom(number: int, noise: np.random.Generator) -> NDArray[np.uint16]:
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE - 0.5
    image = np.full((SIDE, SIDE), -1000, np.float32)
    image[(x / 0.42) ** 2 + (y / 0.33) ** 2 < 1] = 40
    for j in range(6):
        cx, cy = 0.25 * np.cos(j + number * 0.3), 0.2 * np.sin(j * 1.7 + number * 0.2)
        image[(x - cx) ** 2 + (y - cy) ** 2 < (0.03 + 0.01 * j) ** 2] = -800 + 320 * j
    picture: NDArray[np.uint16] = (
        (image + noise.normal(0, 12, image.shape) + 1024).clip(0, 4095).astype("<u2")
    )
    return picture


def _base(sop_class_uid: str, transfer_syntax_uid: str) -> Dataset:
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    data_set.file_meta.MediaStorageSOPInstanceUID = UID(PLACEHOLDERS["SOPInstanceUID"])
    data_set.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    data_set.file_meta.ImplementationClassUID = UID(f"{ROOT}.1")
    data_set.SpecificCharacterSet = "ISO_IR 100"
    data_set.SOPClassUID = sop_class_uid
    _set(data_set, {keyword: text for keyword, text in PLACEHOLDERS.items() if keyword != "SliceLocation"})
    _set(data_set, _EVERYWHERE)
    return data_set


def _set(data_set: Dataset, values: dict[str, Any]) -> None:
    for keyword, value in values.items():
        setattr(data_set, keyword, value)


def _item(**values: object) -> Dataset:
    item = Dataset()
    _set(item, values)
    return item


def _image(data_set: Dataset, side: int, frames: int = 0) -> None:
    if frames:
        data_set.NumberOfFrames = frames
    _set(data_set, _PIXELS | {"Rows": side, "Columns": side})


def _ct(kind: Kind, noise: np.random.Generator) -> Dataset:
    """About the attributes of a scanner's header."""
    data_set = _base(CT, ExplicitVRLittleEndian)
    _set(data_set, _SCANNER)
    data_set.SliceLocation = PLACEHOLDERS["SliceLocation"]
    data_set.ImagePositionPatient = ["-175", "-175", PLACEHOLDERS["SliceLocation"]]
    procedure = _item(CodeValue="CTTHOR", CodingSchemeDesignator="L", CodeMeaning="CT Thorax")
    data_set.ProcedureCodeSequence = Sequence([procedure])
    request = _item(
        ScheduledProcedureStepID="SPS1",
        RequestedProcedureID="RP1",
        ScheduledProcedureStepDescription="CT Thorax",
    )
    data_set.RequestAttributesSequence = Sequence([request])
    referenced = _item(ReferencedSOPClassUID=CT, ReferencedSOPInstanceUID=f"{ROOT}.5.2")
    data_set.ReferencedImageSequence = Sequence([referenced])
    block = data_set.private_block(0x0019, "SYNTHETIC BENCH 01", create=True)
    block.add_new(0x01, "LO", "private value")
    block.add_new(0x02, "DS", "1.25")
    block.add_new(0x03, "UL", 7)
    _image(data_set, SIDE)
    data_set.PixelData = _phantom(kind.variant, noise).tobytes()
    data_set["PixelData"].VR = "OW"
    return data_set


def _small(_: Kind, __: np.random.Generator) -> Dataset:
    """A secondary capture of 8 x 8 pixels: to fill an index with."""
    data_set = _base(SECONDARY_CAPTURE, ExplicitVRLittleEndian)
    data_set.ConversionType = "SYN"
    _image(data_set, 8)
    data_set.PixelData = bytes(128)
    data_set["PixelData"].VR = "OW"
    return data_set


def _sr(_: Kind, __: np.random.Generator) -> Dataset:
    """A report of about 8 kB, with nested sequences."""
    data_set = _base(ENHANCED_SR, ExplicitVRLittleEndian)
    _set(data_set, {"ValueType": "CONTAINER", "ContinuityOfContent": "SEPARATE"})
    _set(data_set, {"CompletionFlag": "COMPLETE", "VerificationFlag": "UNVERIFIED"})
    data_set.ConceptNameCodeSequence = Sequence([_code("126000", "Imaging Measurement Report")])
    data_set.ContentSequence = Sequence(
        [
            _item(
                RelationshipType="CONTAINS",
                ValueType="TEXT",
                ConceptNameCodeSequence=Sequence([_code("121071", "Finding")]),
                TextValue=f"Finding {n:02d}: no acute abnormality, unremarkable look of structure {n:02d}.",
            )
            for n in range(34)
        ]
    )
    return data_set


def _code(value: str, meaning: str) -> Dataset:
    return _item(CodeValue=value, CodingSchemeDesignator="DCM", CodeMeaning=meaning)


def _multi_frame(kind: Kind, noise: np.random.Generator) -> Dataset:
    data_set = _base(MULTI_FRAME_WORD_SECONDARY_CAPTURE, TRANSFER_SYNTAXES[kind.codec])
    _image(data_set, SIDE, kind.frames)
    _set(data_set, {"ConversionType": "SYN", "FrameIncrementPointer": 0x00181063, "FrameTime": "40"})
    _set(data_set, {"BurnedInAnnotation": "NO", "PresentationLUTShape": "IDENTITY"})
    _set(data_set, {"RescaleIntercept": "0", "RescaleSlope": "1", "RescaleType": "US"})
    frames = [_phantom(n, noise).tobytes() for n in range(_DISTINCT_FRAMES)]
    if kind.codec == "raw":
        data_set.PixelData = b"".join(frames[n % _DISTINCT_FRAMES] for n in range(kind.frames))
        data_set["PixelData"].VR = "OW"
        return data_set
    encoded = [_encoded(frame, kind.codec) for frame in frames]
    data_set.PixelData = encapsulate(
        [encoded[n % _DISTINCT_FRAMES] for n in range(kind.frames)], has_bot=True
    )
    data_set["PixelData"].VR = "OB"
    data_set["PixelData"].is_undefined_length = True
    return data_set


def _encoded(frame: bytes, codec: str) -> bytes:
    if codec == "j2k":
        picture = np.frombuffer(frame, "<u2").reshape(SIDE, SIDE)
        return bytes(imagecodecs.jpeg2k_encode(picture, level=0, reversible=True, codecformat="J2K"))
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set.SOPClassUID, data_set.SOPInstanceUID = SECONDARY_CAPTURE, f"{ROOT}.5.3"
    _image(data_set, SIDE)
    data_set.PixelData = frame
    data_set["PixelData"].VR = "OW"
    data_set.compress(TRANSFER_SYNTAXES[codec], generate_instance_uid=False)
    return bytes(get_frame(data_set.PixelData, 0, number_of_frames=1))


_BUILDERS = {"ct": _ct, "small": _small, "sr": _sr, "mf": _multi_frame}

_EVERYWHERE: dict[str, Any] = {
    "StudyTime": "101112",
    "SeriesDate": "20200101",
    "SeriesTime": "101113",
    "ContentDate": "20200101",
    "ContentTime": "101115",
    "Manufacturer": "Synthetic",
    "InstitutionName": "Bench Hospital",
    "ReferringPhysicianName": "REFER^DOC",
    "SeriesDescription": "AX 1.0 B30f",
    "StationName": "BENCH01",
    "ManufacturerModelName": "BenchScan 1",
    "PatientBirthDate": "19600101",
    "PatientSex": "O",
    "StudyID": "1",
}
_PIXELS: dict[str, Any] = {
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "BitsAllocated": 16,
    "BitsStored": 12,
    "HighBit": 11,
    "PixelRepresentation": 0,
}
_SCANNER: dict[str, Any] = {
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
    "AcquisitionDate": "20200101",
    "AcquisitionTime": "101114",
    "ProtocolName": "Thorax Routine",
    "BodyPartExamined": "CHEST",
    "PatientAge": "060Y",
    "PatientWeight": "70",
    "SliceThickness": "1",
    "KVP": "120",
    "DataCollectionDiameter": "500",
    "SoftwareVersions": "v1",
    "ReconstructionDiameter": "350",
    "GantryDetectorTilt": "0",
    "TableHeight": "150",
    "RotationDirection": "CW",
    "ExposureTime": "500",
    "XRayTubeCurrent": "200",
    "Exposure": "100",
    "FilterType": "WEDGE",
    "GeneratorPower": "24",
    "FocalSpots": "1.2",
    "ConvolutionKernel": "B30f",
    "PatientPosition": "HFS",
    "AcquisitionNumber": "1",
    "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
    "FrameOfReferenceUID": f"{ROOT}.5.1",
    "PositionReferenceIndicator": "",
    "PixelSpacing": ["0.68359375", "0.68359375"],
    "WindowCenter": ["40", "-600"],
    "WindowWidth": ["400", "1600"],
    "RescaleIntercept": "-1024",
    "RescaleSlope": "1",
    "RescaleType": "HU",
}
