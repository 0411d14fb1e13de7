"""The statements W27 and W33 to W40, W43: metadata (PS3.18 10.4.1.1.2, Annex F)."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import struct
from typing import Any
from xml.etree import ElementTree as ET

from gantry_testing import raw, strict_json
from gantry_testing.synthetic import Instance, Study, make_series, make_uid, stream_series
from gantry_testing.web import DICOM_JSON
from pydicom import dcmread
from pydicom.dataset import Dataset

from gantry_cli.conformance.server import Server, path_of, series_path_of, study_path_of
from gantry_cli.conformance.statements import Broken, expect, statement
from gantry_cli.conformance.wado_objects import parts_of

_XML = "application/dicom+xml"
_MODEL = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"
_TAG = re.compile(r"[0-9A-F]{8}")
_OCTET_VRS = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "UN"))

Attributes = dict[str, Any]


def odd_values(server: Server) -> str:
    """Store an object with a value of every awkward sort, once a run; return its path."""
    uid = make_uid("conformance", server.seed, "odd values")
    elements = [
        (0x00080008, raw.element(0x00080008, "CS", b"ORIGINAL\\\\AXIAL ")),
        (0x00080050, raw.element(0x00080050, "SH", b"")),
        (0x00081140, raw.undefined_sequence(0x00081140, raw.item(b""), raw.item(undefined=True))),
        (0x00090010, raw.element(0x00090010, "LO", b"CONFORMANCE ")),
        (0x00091001, raw.element(0x00091001, "SH", b"private ")),
        (0x00091002, raw.element(0x00091002, "UN", b"\x01\x02\xfe\xff")),
        (0x00091003, raw.element(0x00091003, "FL", struct.pack("<2f", math.nan, -1.5))),
        (0x00100010, raw.element(0x00100010, "PN", b"Conformance^Odd==Kon^Odo ")),
        (0x00180050, raw.element(0x00180050, "DS", b"2.50")),
        (0x00180088, raw.element(0x00180088, "DS", b"NaN ")),
        (0x00200013, raw.element(0x00200013, "IS", b"+7")),
        (0x00204000, raw.element(0x00204000, "LT", b"one\\two ")),
        (0x00280030, raw.element(0x00280030, "DS", b"0.123456789012345\\1.0")),
        (0x00321060, raw.element(0x00321060, "LO", b"left\\right")),
        (0x00720076, raw.element(0x00720076, "FL", struct.pack("<2f", -math.inf, -1.0))),
    ]
    uids = {0x00080018: uid, 0x0020000D: uid, 0x0020000E: uid}
    answer = server.store([raw.part10(raw.instance(*elements, uids=uids), sop_instance=uid)])
    expect(answer.status in {200, 202} and uid in answer.stored, f"not stored: {answer.document}")
    return f"/studies/{uid}/series/{uid}/instances/{uid}"


def metadata_of(server: Server, path: str) -> list[Attributes]:
    """Return metadata read by a strict parser; raises ``Broken``."""
    answer = server.get(path + "/metadata", DICOM_JSON)
    expect(answer.status_code == 200, f"metadata answered {answer.status_code}")
    try:
        found: list[Attributes] = strict_json.read(answer.content)
    except ValueError as error:
        raise Broken(f"the metadata are no strict JSON: {error}") from error
    return found


def _amended(data_set: Dataset) -> None:
    block = data_set.private_block(0x0099, "CONFORMANCE", create=True)
    block.add_new(0x01, "LO", "kept")
    block.add_new(0x02, "OB", b"\x00\x01\x02\x03")
    data_set.ReferencedImageEvidenceSequence = [Dataset()]
    data_set.ReferencedImageEvidenceSequence[0].StudyInstanceUID = "1.2.3"


def _with_private(study: Study) -> list[Instance]:
    return list(stream_series(make_series(study), "CT", size=(64, 72), amend=_amended))


@statement("W27", "PS3.18 10.4.3.3.2")
def metadata_hold_every_attribute(server: Server) -> None:
    """Metadata hold every attribute of the object, private ones and octets too."""
    [instance] = server.sample("private", _with_private)
    [found] = metadata_of(server, path_of(instance))
    data_set = dcmread(io.BytesIO(instance.data))
    # The label of a character set belongs to the file; JSON is UTF-8 (W33).
    tags = {f"{element.tag:08X}" for element in data_set} - {"00080005"}
    expect(not tags - set(found), f"{sorted(tags - set(found))} are missing")
    expect(found["00991001"]["Value"] == ["kept"], f"a private value is {found['00991001']}")
    octets = found["00991002"]
    expect(base64.b64decode(octets.get("InlineBinary", "")) == b"\x00\x01\x02\x03", f"octets are {octets}")
    for tag, keyword in (
        ("00280010", "Rows"),
        ("00200013", "InstanceNumber"),
        ("00080018", "SOPInstanceUID"),
    ):
        told = found[tag]["Value"][0]
        expect(str(told) == str(data_set[keyword].value), f"{keyword} is {told}")
    nested = found["00089092"]["Value"][0]["0020000D"]["Value"]
    expect(nested == ["1.2.3"], f"an attribute of an item is {nested}")


@statement("W33", "PS3.18 F.2.2")
def keys_are_tags_in_order(server: Server) -> None:
    """Keys are eight upper-case hex digits, ascending; no group lengths and no group 2."""
    [instance] = server.sample("private", _with_private)
    for path in (path_of(instance), series_path_of(instance), study_path_of(instance)):
        for attributes in metadata_of(server, path):
            _expect_keys(attributes)


def _expect_keys(attributes: Attributes) -> None:
    tags = list(attributes)
    wrong = [tag for tag in tags if not _TAG.fullmatch(tag) or tag.endswith("0000") or tag < "0008"]
    expect(not wrong, f"keys {wrong}")
    expect(tags == sorted(tags), "the keys do not ascend")
    for attribute in attributes.values():
        if attribute.get("vr") == "SQ":
            for item in attribute.get("Value", ()):
                _expect_keys(item)


@statement("W34", "PS3.18 F.2.5")
def what_is_empty_is_empty(server: Server) -> None:
    """An empty element has its vr only, an empty item is {}, an empty value among others null."""
    [found] = metadata_of(server, odd_values(server))
    expect(found["00080050"] == {"vr": "SH"}, f"an empty element is {found['00080050']}")
    expect(found["00081140"].get("Value") == [{}, {}], f"empty items are {found['00081140']}")
    expect(found["00080008"].get("Value") == ["ORIGINAL", None, "AXIAL"], f"{found['00080008']}")


@statement("W35", "PS3.18 F.2.3")
def decimal_and_integer_strings_keep_their_digits(server: Server) -> None:
    """DS and IS are numbers or strings, with the digits of the file."""
    body = server.get(odd_values(server) + "/metadata", DICOM_JSON).content
    [found] = json.loads(body, parse_float=str, parse_int=str)
    for tag, expected in (
        ("00280030", [{"0.123456789012345"}, {"1.0", "1"}]),
        ("00180050", [{"2.50", "2.5"}]),
        ("00200013", [{"7", "+7"}]),
    ):
        values = found[tag]["Value"]
        told = [str(value) for value in values]
        fits = len(told) == len(expected) and all(
            one in any_ for one, any_ in zip(told, expected, strict=True)
        )
        expect(fits, f"{tag} is {told}")


@statement("W36", "PS3.18 F.2.2")
def a_name_is_an_object_of_its_groups(server: Server) -> None:
    """A PN value is an object with the groups that it has."""
    [found] = metadata_of(server, odd_values(server))
    expected = {"Alphabetic": "Conformance^Odd", "Phonetic": "Kon^Odo"}
    expect(found["00100010"]["Value"] == [expected], f"the name is {found['00100010']}")


@statement("W37", "PS3.18 F.2.4")
def a_backslash_parts_values_but_not_text(server: Server) -> None:
    """A backslash parts the values of an LO and is a character in an LT."""
    [found] = metadata_of(server, odd_values(server))
    expect(found["00321060"]["Value"] == ["left", "right"], f"an LO is {found['00321060']}")
    expect(found["00204000"]["Value"] == ["one\\two"], f"an LT is {found['00204000']}")


@statement("W38", "PS3.18 F.2.2")
def octets_only_are_inline_binary(server: Server) -> None:
    """InlineBinary is for octets only, and UN keeps the bytes of the source."""
    [found] = metadata_of(server, odd_values(server))
    for tag, attribute in found.items():
        inline = "InlineBinary" in attribute or "BulkDataURI" in attribute
        expect(not inline or attribute["vr"] in _OCTET_VRS, f"{tag} of {attribute['vr']} is octets")
    octets = found["00091002"]
    expect(octets["vr"] == "UN", f"a UN became {octets}")
    expect(base64.b64decode(octets["InlineBinary"]) == b"\x01\x02\xfe\xff", f"a UN is {octets}")


@statement("W39", "RFC 8259 6; PS3.18 F.2.3")
def no_number_that_json_does_not_know(server: Server) -> None:
    """NaN and infinities never make invalid JSON, and do not take their neighbours away."""
    path = odd_values(server)
    for above in (path, path.partition("/instances")[0], path.partition("/series")[0]):
        [found] = metadata_of(server, above)
        expect(-1 in found["00720076"].get("Value", ()), f"-1 beside an infinity is {found['00720076']}")
        expect("00180088" in found, "a DS of NaN is gone")


@statement("W40", "RFC 9110 8.8.3, 13.1.2", choice=True)
def metadata_have_an_etag(server: Server) -> None:
    """Metadata have an ETag; If-None-Match with it is 304, and what is added to a series changes it."""
    first, second = server.sample(
        "etag", lambda study: list(stream_series(make_series(study), "SC", instances=2))
    )
    for path in (path_of(first), series_path_of(first), study_path_of(first)):
        answer = server.get(path + "/metadata", DICOM_JSON)
        etag = answer.headers.get("etag", "")
        expect(bool(etag), f"metadata of {path} have no ETag")
        again = server.get(path + "/metadata", DICOM_JSON, headers={"If-None-Match": etag})
        expect(again.status_code == 304 and not again.content, f"the same ETag answered {again.status_code}")
        other = server.get(path + "/metadata", DICOM_JSON, headers={"If-None-Match": '"another"'})
        expect(other.status_code == 200, f"another ETag answered {other.status_code}")
    path = study_path_of(first) + "/metadata"
    before = server.get(path, DICOM_JSON).headers.get("etag", "")
    report = next(stream_series(make_series(second.series.study, 2), "SR"))
    server.store([report.data])
    after = server.get(
        study_path_of(first) + "/metadata", DICOM_JSON, headers={"If-None-Match": before or ""}
    )
    expect(after.status_code == 200 and after.headers.get("etag") != before, "the ETag did not change")


@statement("W43", "PS3.18 8.7.8", choice=True)
def metadata_come_as_json_among_other_ranges_and_as_xml(server: Server) -> None:
    """Metadata are JSON also where a range for pixels stands beside it; as XML, a part an instance."""
    instances = server.kind("CT", instances=3)
    for accept in (
        f"{DICOM_JSON}, multipart/related; type=application/octet-stream; transfer-syntax=*",
        f"{_XML};q=0.1, {DICOM_JSON};q=0.9",
        "application/json",
    ):
        answer = server.get(study_path_of(instances[0]) + "/metadata", accept)
        found = answer.headers.get("content-type", "").partition(";")[0]
        expect((answer.status_code, found) == (200, DICOM_JSON), f"{accept}: {answer.status_code} {found}")
    parts = parts_of(
        server.get(study_path_of(instances[0]) + "/metadata", f'multipart/related; type="{_XML}"')
    )
    expect(len(parts) == len(instances), f"{len(parts)} parts for {len(instances)} instances")
    for part in parts:
        label = part.headers.get("content-type", "")
        expect(label.startswith(_XML), f"a part of type {label}")
        model = ET.fromstring(part.body)  # noqa: S314 - a server of the examiner's choice
        uid = model.findtext(f"{_MODEL}DicomAttribute[@tag='00080018']/{_MODEL}Value", "")
        expect(uid in {instance.sop_uid for instance in instances}, f"the XML is of {uid!r}")
