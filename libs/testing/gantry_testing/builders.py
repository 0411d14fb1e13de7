"""Small hand-made data sets for unit tests: elements as bytes, in any encoding, however wrong.

Where a whole plausible instance is wanted, take ``gantry_testing.synthetic``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset

from gantry_testing.synthetic.encoding import element, encode_elements, file_meta
from gantry_testing.synthetic.values import EXPLICIT_LE, Instance, make_uid

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def tag_of(keyword: str) -> int:
    """Return the tag of a dictionary keyword. Raises ``KeyError``."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return tag


def encode(values: Mapping[str, str | bytes], transfer_syntax_uid: str = EXPLICIT_LE) -> bytes:
    """Return a data set of elements by keyword, in tag order; text as UTF-8, bytes as they are."""
    tags = sorted((tag_of(keyword), keyword) for keyword in values)
    return b"".join(
        element(tag, dictionary_VR(tag), _bytes(values[keyword]), transfer_syntax_uid)
        for tag, keyword in tags
    )


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def identified(number: int = 1, **values: str | bytes) -> dict[str, str | bytes]:
    """Return the values an instance needs to be admitted; ``values`` replace or add."""
    return {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": SECONDARY_CAPTURE,
        "SOPInstanceUID": make_uid("built", number),
        "StudyInstanceUID": make_uid("built study"),
        "SeriesInstanceUID": make_uid("built series"),
        "Modality": "OT",
        "PatientID": "BUILT-1",
        "PatientName": "Built^Byhand",
    } | values


def part10(data_set: bytes, *, sop_uid: str, transfer_syntax_uid: str = EXPLICIT_LE,
           sop_class_uid: str = SECONDARY_CAPTURE) -> bytes:  # fmt: skip
    """Return a file of PS3.10 around ``data_set``."""
    return file_meta(sop_class_uid, sop_uid, transfer_syntax_uid) + data_set


def file_of(values: Mapping[str, str | bytes], transfer_syntax_uid: str = EXPLICIT_LE) -> bytes:
    """Return a file of PS3.10 with these values, which must hold the SOP Instance UID."""
    sop_uid = _bytes(values["SOPInstanceUID"]).decode()
    return part10(
        encode(values, transfer_syntax_uid), sop_uid=sop_uid, transfer_syntax_uid=transfer_syntax_uid
    )


def encode_dataset(dataset: Dataset, transfer_syntax_uid: str = EXPLICIT_LE) -> bytes:
    """Return the bytes of a pydicom data set without pixel data."""
    return b"".join(data for _, data in encode_elements(dataset, transfer_syntax_uid))


def splice(data_set: bytes, position: int, parts: Iterable[bytes]) -> bytes:
    """Return ``data_set`` with ``parts`` put in at ``position``."""
    return data_set[:position] + b"".join(parts) + data_set[position:]


def with_other_bytes(instance: Instance, version: int = 1) -> Instance:
    """Return the same SOP instance with another data set: a conflict (a private element at the end)."""
    tail = element(0x7FE50010, "LO", b"GANTRY SYNTHETIC 02", instance.transfer_syntax_uid)
    tail += element(0x7FE51001, "LO", f"version {version}".encode(), instance.transfer_syntax_uid)
    return replace(instance, data=instance.data + tail)


def with_other_meta(instance: Instance) -> Instance:
    """Return the same data set under another File Meta group: a duplicate, though the files differ."""
    meta = file_meta(instance.sop_class_uid, instance.sop_uid, instance.transfer_syntax_uid)
    other = b"ANOTHER PREAMBLE".ljust(128, b"\0") + meta[128:]
    return replace(instance, data=other + instance.data_set, data_set_offset=len(other))
