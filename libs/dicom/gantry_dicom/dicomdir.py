"""The DICOMDIR of a file-set of one study (PS3.3 Annex F, PS3.10 8.6).

Records hold what PS3.3 F.5 asks for as far as the instances have it, from their metadata: none
of the files is read again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from struct import pack, pack_into

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.fileset import DIRECTORY_RECORDERS
from pydicom.filewriter import write_dataset

from gantry_dicom.part10 import build_meta
from gantry_dicom.reencode import explicit_element
from gantry_dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from gantry_dicom.uids import MEDIA_STORAGE_DIRECTORY, assigned_uid

_STORAGE = "1.2.840.10008.5.1.4.1.1."
# PS3.3 Table F.4-1 by SOP class (what follows the storage root); all else are images.
_RECORD_TYPES: Mapping[str, str] = {
    **dict.fromkeys((f"11.{number}" for number in range(1, 12)), "PRESENTATION"),
    **dict.fromkeys(("131",), "PRESENTATION"),
    **dict.fromkeys(
        ("9.1.1", "9.1.2", "9.1.3", "9.2.1", "9.3.1", "9.4.1", "9.4.2", "9.5.1", "9.6.1"), "WAVEFORM"
    ),
    **dict.fromkeys(
        ("88.11", "88.22", "88.33", "88.34", "88.35", "88.40", "88.50", "88.65", "88.67", "88.68"),
        "SR DOCUMENT",
    ),
    **dict.fromkeys(("104.1", "104.2", "104.3", "104.4", "104.5"), "ENCAP DOC"),
    **dict.fromkeys(("481.4", "481.6", "481.7", "481.9"), "RT TREAT RECORD"),
    **dict.fromkeys(("481.5", "481.8"), "RT PLAN"),
    **dict.fromkeys(("66.1", "66.3"), "REGISTRATION"),
    "4.2": "SPECTROSCOPY",
    "481.2": "RT DOSE",
    "481.3": "RT STRUCTURE SET",
    "66": "RAW DATA",
    "66.2": "FIDUCIAL",
    "66.5": "SURFACE",
    "67": "VALUE MAP",
    "88.59": "KEY OBJECT DOC",
}
# What a record is made of where an instance lacks what its type asks for (PS3.3 F.5.1 to F.5.3).
_FEWEST: Mapping[str, tuple[str, ...]] = {
    "PATIENT": ("PatientName", "PatientID"),
    "STUDY": ("StudyDate", "StudyTime", "StudyDescription", "StudyInstanceUID", "StudyID", "AccessionNumber"),
    "SERIES": ("Modality", "SeriesInstanceUID", "SeriesNumber"),
}
_FEWEST_OF_AN_INSTANCE = ("InstanceNumber",)
_ITEM = b"\xfe\xff\x00\xe0"
_ITEM_HEADER = 8
# Where the offsets stand in a record, which begins with them: an element of 4 bytes takes 12.
_NEXT_AT, _LOWER_AT = 8, 30
_ROOT_ELEMENTS = (0x00041200, 0x00041202)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of the set: metadata of its instance (DICOM JSON), File ID, and its transfer syntax."""

    metadata: bytes
    file_id: tuple[str, ...]
    transfer_syntax_uid: str


@dataclass(slots=True)
class _Record:
    content: bytes
    below: list[_Record] = field(default_factory=list)
    offset: int = 0


def build_dicomdir(entries: Iterable[FileEntry]) -> bytes:
    """Return the DICOMDIR of files whose instances are all of one study; the same for the same files."""
    patient: _Record | None = None
    study_uid = ""
    study = _Record(b"")
    series: dict[str, _Record] = {}
    for entry in entries:
        data_set = _data_set(entry.metadata)
        if patient is None:
            patient = _Record(_record("PATIENT", data_set), [study])
            study.content = _record("STUDY", data_set)
            study_uid = str(data_set.get("StudyInstanceUID", ""))
        uid = str(data_set.get("SeriesInstanceUID", ""))
        if uid not in series:
            series[uid] = _Record(_record("SERIES", data_set))
            study.below.append(series[uid])
        series[uid].below.append(_Record(_file_record(entry, data_set)))
    return _written([] if patient is None else [patient], assigned_uid("file-set", study_uid))


def _data_set(metadata: bytes) -> Dataset:
    document = {
        # What describes pixels and frames is in no record.
        tag: attribute
        for tag, attribute in json.loads(metadata, strict=False).items()
        if "BulkDataURI" not in attribute and tag < "50000000" and not int(tag[:4], 16) & 1
    }
    return Dataset.from_json(document)


def _record(kind: str, data_set: Dataset) -> bytes:
    try:
        record = DIRECTORY_RECORDERS[kind](data_set)
    except ValueError:
        # It lacks something that it should have, which is no reason to leave it out.
        record = Dataset()
        for keyword in _FEWEST.get(kind, _FEWEST_OF_AN_INSTANCE):
            setattr(record, keyword, data_set.get(keyword))
    return _encoded(kind, record)


def _file_record(entry: FileEntry, data_set: Dataset) -> bytes:
    sop_class_uid = str(data_set.get("SOPClassUID", ""))
    kind = _RECORD_TYPES.get(sop_class_uid.removeprefix(_STORAGE), "IMAGE")
    record = Dataset()
    record.ReferencedFileID = list(entry.file_id)
    record.ReferencedSOPClassUIDInFile = sop_class_uid
    record.ReferencedSOPInstanceUIDInFile = str(data_set.get("SOPInstanceUID", ""))
    record.ReferencedTransferSyntaxUIDInFile = entry.transfer_syntax_uid
    head = _elements(record)
    made = _record(kind, data_set)
    # Referenced File ID and its neighbours come right behind the record's type.
    at = _LOWER_AT + 4 + len(_type_element(kind))
    return made[:at] + head + made[at:]


def _encoded(kind: str, record: Dataset) -> bytes:
    record.SpecificCharacterSet = "ISO_IR 192"
    head = (
        explicit_element(0x00041400, "UL", pack("<L", 0))
        + explicit_element(0x00041410, "US", pack("<H", 0xFFFF))
        + explicit_element(0x00041420, "UL", pack("<L", 0))
    )
    return head + _type_element(kind) + _elements(record)


def _type_element(kind: str) -> bytes:
    return explicit_element(0x00041430, "CS", kind.encode())


def _elements(data_set: Dataset) -> bytes:
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, False
    write_dataset(out, data_set)
    return out.getvalue()


def _written(top: Sequence[_Record], uid: str) -> bytes:
    meta = build_meta(MEDIA_STORAGE_DIRECTORY, uid, EXPLICIT_VR_LITTLE_ENDIAN)
    root_length = 3 * 12 - 2
    ordered = list(_in_order(top))
    sequence_at = len(meta) + len(explicit_element(0x00041130, "CS", b"")) + root_length
    position = sequence_at + 12
    for record in ordered:
        record.offset = position
        position += _ITEM_HEADER + len(record.content)
    first, last = (top[0].offset, top[-1].offset) if top else (0, 0)
    out = BytesIO()
    out.write(meta)
    out.write(explicit_element(0x00041130, "CS", b""))
    for tag, offset in zip(_ROOT_ELEMENTS, (first, last), strict=True):
        out.write(explicit_element(tag, "UL", pack("<L", offset)))
    out.write(explicit_element(0x00041212, "US", pack("<H", 0)))
    items = []
    for siblings in _families(top):
        for record, following in zip(siblings, [*siblings[1:], None], strict=True):
            content = bytearray(record.content)
            pack_into("<L", content, _NEXT_AT, following.offset if following else 0)
            pack_into("<L", content, _LOWER_AT, record.below[0].offset if record.below else 0)
            items.append((record.offset, _ITEM + pack("<L", len(content)) + content))
    out.write(explicit_element(0x00041220, "SQ", b"".join(item for _, item in sorted(items))))
    return out.getvalue()


def _in_order(records: Sequence[_Record]) -> Iterable[_Record]:
    for record in records:
        yield record
        yield from _in_order(record.below)


def _families(records: Sequence[_Record]) -> Iterable[Sequence[_Record]]:
    yield records
    for record in records:
        if record.below:
            yield from _families(record.below)
