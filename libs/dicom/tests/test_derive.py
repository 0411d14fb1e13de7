"""What the index keeps of an instance, derived from its header."""

from __future__ import annotations

import struct
from datetime import date, datetime, time

import pytest
from gantry_dicom.attributes import INSTANCE, SERIES, STUDY
from gantry_dicom.derive import derive
from gantry_dicom.elements import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from gantry_dicom.facts import (
    BASE_MARK,
    INSTANCE_SLOTS,
    SERIES_SLOTS,
    SLOT_MARK,
    STUDY_SLOTS,
    assemble,
)
from gantry_dicom.frames import FrameTable
from gantry_dicom.gate import GateLimits, admit
from gantry_dicom.header import DataSetHeader
from gantry_dicom.json_encoder import ENCODER_VERSION, EncoderMemo
from gantry_dicom.refusals import Refused
from gantry_testing import datapack, strict_json
from gantry_testing.raw import element, implicit, item

UIDS = {
    "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
    "study_instance_uid": "1.2.1",
    "series_instance_uid": "1.2.2",
    "sop_instance_uid": "1.2.3",
}
IDENTITY = [
    (0x00080016, "UI", b"1.2.840.10008.5.1.4.1.1.2\0"),
    (0x00080018, "UI", b"1.2.3\0"),
    (0x0020000D, "UI", b"1.2.1\0"),
    (0x0020000E, "UI", b"1.2.2\0"),
]
EXPLICIT_LE_UID = "1.2.840.10008.1.2.1"


def write(elements, encoding=EXPLICIT_LITTLE):
    order = "<" if encoding.little_endian else ">"
    parts = sorted({tag: (tag, vr, value) for tag, vr, value in [*IDENTITY, *elements]}.values())
    if encoding.explicit:
        return b"".join(element(tag, vr, value, order=order) for tag, vr, value in parts)
    return b"".join(implicit(tag, value) for tag, _, value in parts)


def facts_of(*elements, memo=None, frames=1, encoding=EXPLICIT_LITTLE):
    header = DataSetHeader(encoding, write(elements, encoding), b"")
    return derive(header, **UIDS, transfer_syntax_uid=EXPLICIT_LE_UID, number_of_frames=frames, memo=memo)


def admitted(file):
    """Derive a file of the pack; ``None`` when the gate refuses it."""
    try:
        admission = admit(file.read(), limits=GateLimits(max_inflated_bytes=1 << 24))
    except Refused:
        return None
    return derive(
        admission.header,
        sop_class_uid=admission.sop_class_uid,
        study_instance_uid=admission.study_instance_uid,
        series_instance_uid=admission.series_instance_uid,
        sop_instance_uid=admission.sop_instance_uid,
        transfer_syntax_uid=admission.transfer_syntax_uid,
        number_of_frames=FrameTable.unpack(admission.frame_table).count,
    )


def slot(names):
    return b"".join(b'"%s":{"vr":"LO"},' % name.encode() for name in names)


def documents(facts):
    """Return every document of ``facts`` assembled with all its slots filled, as JSON values."""
    found = {}
    for level, document, slots in (
        ("study", facts.study.document, STUDY_SLOTS),
        ("series", facts.series.document, SERIES_SLOTS),
        ("instance", facts.instance.document, INSTANCE_SLOTS),
    ):
        assert document.count(SLOT_MARK) == len(slots)
        found[level] = strict_json.read(assemble(document, [slot(names) for names in slots]))
        bare = strict_json.read(assemble(document, [b""] * len(slots)))
        assert bare.keys() == found[level].keys() - {name for names in slots for name in names}
    found["study extra"] = strict_json.read(assemble(facts.study.extra, []))
    found["series extra"] = strict_json.read(assemble(facts.series.extra, []))
    found["metadata"] = strict_json.read(facts.instance.metadata)
    return found


def tags(attributes):
    return {f"{tag:08X}" for tag in attributes}


def test_typed_values_of_each_level():
    requests = item(element(0x00400009, "SH", b"STEP-1") + element(0x00401001, "SH", b"REQ-1 ")) + item(
        element(0x00401001, "SH", b"REQ-2 ")
    )
    facts = facts_of(
        (0x00080005, "CS", b"ISO_IR 100"),
        (0x00080020, "DA", b"20250131"),
        (0x00080023, "DA", b"20250201"),
        (0x00080030, "TM", b"101112.5"),
        (0x00080033, "TM", b"235959"),
        (0x00080050, "SH", b" ACC1 "),
        (0x00080051, "SQ", item(element(0x00400031, "UT", b"HIS "))),
        (0x00080060, "CS", b"CT"),
        (0x00080090, "PN", b"Who^Dr"),
        (0x00080201, "SH", b"+0100 "),
        (0x00081030, "LO", b"H\xfcfte "),
        (0x0008103E, "LO", b"axial "),
        (0x00100010, "PN", b"M\xfcller^J=="),
        (0x00100020, "LO", b"PID-1 "),
        (0x00100021, "LO", b"HOSPITAL"),
        (0x00100030, "DA", b"1970.01.31"),
        (0x00100040, "CS", b"F "),
        (0x00180015, "CS", b"HIP "),
        (0x00200010, "SH", b"S1"),
        (0x00200011, "IS", b"3 "),
        (0x00200013, "IS", b"17"),
        (0x00280010, "US", b"\0\2"),
        (0x00280011, "US", b"\0\1"),
        (0x00280100, "US", b"\x10\0"),
        (0x00400244, "DA", b"20250131"),
        (0x00400245, "TM", b"10"),
        (0x00400275, "SQ", requests),
        frames=5,
    )
    patient, study, series, instance = facts.patient, facts.study, facts.series, facts.instance
    assert (patient.patient_id, patient.issuer_of_patient_id) == ("PID-1", "HOSPITAL")
    assert (patient.patient_name, patient.patient_sex) == ("Müller^J", "F")
    assert patient.patient_birth_date == date(1970, 1, 31)
    assert study.study_instance_uid == "1.2.1"
    assert (study.study_date, study.study_time) == (date(2025, 1, 31), time(10, 11, 12, 500000))
    assert (study.accession_number, study.issuer_of_accession_number) == ("ACC1", "HIS")
    assert (study.referring_physician_name, study.study_id) == ("Who^Dr", "S1")
    assert (study.study_description, study.timezone_offset) == ("Hüfte", "+0100")
    assert (series.series_instance_uid, series.modality, series.series_number) == ("1.2.2", "CT", 3)
    assert (series.series_description, series.body_part_examined) == ("axial", "HIP")
    assert series.performed_procedure_step_start_date == date(2025, 1, 31)
    assert series.performed_procedure_step_start_time == time(10)
    assert series.requests == (("STEP-1", "REQ-1"), (None, "REQ-2"))
    assert (instance.sop_class_uid, instance.sop_instance_uid) == (UIDS["sop_class_uid"], "1.2.3")
    assert instance.content_date_time == datetime(2025, 2, 1, 23, 59, 59)  # noqa: DTZ001
    assert (instance.instance_number, instance.number_of_frames) == (17, 5)
    assert (instance.rows, instance.columns, instance.bits_allocated) == (512, 256, 16)
    assert facts.encoder_version == ENCODER_VERSION
    assert facts.oddities == ()
    found = documents(facts)
    assert found["study"]["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
    assert found["study"]["00100010"]["Value"] == [{"Alphabetic": "Müller^J"}]
    assert found["study extra"].keys() >= {"00081030", "00100021", "00080051"}
    assert found["series"]["00400275"]["Value"][1] == {"00401001": {"vr": "SH", "Value": ["REQ-2"]}}
    assert found["instance"]["00083002"] == {"vr": "UI", "Value": [EXPLICIT_LE_UID]}


def test_an_instance_of_four_uids_has_complete_documents():
    facts = facts_of()
    found = documents(facts)
    assert found["study"].keys() == tags(STUDY.required | STUDY.computed)
    assert found["series"].keys() == tags(SERIES.required | SERIES.computed)
    assert found["instance"].keys() == tags(INSTANCE.required | INSTANCE.computed) | {"00083002"}
    assert found["study"]["00100010"] == {"vr": "PN"}
    assert (facts.study.extra, facts.series.extra) == (b"", b"")
    assert facts.patient.patient_id is None
    assert facts.instance.content_date_time is None


@pytest.mark.parametrize(
    ("written", "parsed"),
    [
        (b"0000-00-00", None),
        (b"19900231", None),
        (b"20150001", None),
        (b"00000000", None),
        (b"2025", None),
        (b"", None),
        (b"2025.01.31", date(2025, 1, 31)),
        (b" 20250131 ", date(2025, 1, 31)),
        (b"20250131\\20250201", date(2025, 1, 31)),
    ],
)
def test_o05_dates_that_do_not_parse_are_none_and_stay_in_the_documents(written, parsed):
    facts = facts_of((0x00080020, "DA", written), (0x00100030, "DA", written))
    assert facts.study.study_date == facts.patient.patient_birth_date == parsed
    values = documents(facts)["study"]["00080020"].get("Value", [])
    assert "\\".join(values) == written.decode().strip()


@pytest.mark.parametrize(
    ("written", "parsed"),
    [
        (b"456115117112105110101 ", None),
        (b"3.0 ", 3),
        (b"3.5 ", None),
        (b"1A", None),
        (b"-7", -7),
        (b"", None),
    ],
)
def test_o05_numbers_that_are_no_integers_are_none(written, parsed):
    facts = facts_of((0x00200011, "IS", written), (0x00200013, "IS", written))
    assert facts.series.series_number == facts.instance.instance_number == parsed


@pytest.mark.parametrize(
    ("written", "parsed"),
    [
        (b"10:11:12", time(10, 11, 12)),
        (b"1011", time(10, 11)),
        (b"236060", None),
        (b"235960", time(23, 59, 59, 999999)),
        (b"noon", None),
    ],
)
def test_times_in_either_form(written, parsed):
    assert facts_of((0x00080030, "TM", written)).study.study_time == parsed


def test_padded_uids_are_trimmed_in_the_documents():
    found = documents(facts_of((0x0020000E, "UI", b"1.2.2  "), (0x0020000D, "UI", b"1.2.1\0\0")))
    assert found["series"]["0020000E"]["Value"] == found["metadata"]["0020000E"]["Value"] == ["1.2.2"]
    assert found["study"]["0020000D"]["Value"] == ["1.2.1"]


def test_bulk_data_uris_name_the_instance_behind_the_public_base():
    facts = facts_of(
        (0x00420011, "OB", b"x" * 2000), (0x00101002, "SQ", item(element(0x00111001, "OB", b"x" * 2000)))
    )
    base = BASE_MARK + b"/studies/1.2.1/series/1.2.2/instances/1.2.3/bulkdata/"
    assert b'"BulkDataURI":"' + base + b'00420011"' in facts.instance.metadata
    assert b'"BulkDataURI":"' + base + b'00101002/1/00111001"' in facts.study.extra


def test_a_memo_changes_nothing_and_shares_levels():
    elements = [(0x00100020, "LO", b"PID-1 "), (0x00081030, "LO", b"Hip "), (0x00080060, "CS", b"CT")]
    memo = EncoderMemo()
    plain = facts_of(*elements, (0x00200013, "IS", b"1 "))
    first = facts_of(*elements, (0x00200013, "IS", b"1 "), memo=memo)
    second = facts_of(*elements, (0x00200013, "IS", b"2 "), memo=memo)
    assert plain == first
    assert second.study is first.study
    assert second.series is first.series
    assert second.instance.instance_number == 2
    other = facts_of((0x00100020, "LO", b"PID-2 "), *elements[1:], memo=memo)
    assert other.patient.patient_id == "PID-2"
    assert other == facts_of((0x00100020, "LO", b"PID-2 "), *elements[1:])


def test_levels_with_bulk_data_are_not_shared_between_instances():
    blob = (0x00101002, "SQ", item(element(0x00111001, "OB", b"x" * 2000)))
    memo = EncoderMemo()
    facts_of(blob, memo=memo)
    header = DataSetHeader(EXPLICIT_LITTLE, write([blob]), b"")
    other = derive(
        header, **UIDS | {"sop_instance_uid": "1.2.4"}, transfer_syntax_uid=EXPLICIT_LE_UID,
        number_of_frames=1, memo=memo,
    )  # fmt: skip
    assert b"/instances/1.2.4/bulkdata/00101002/1/00111001" in other.study.extra


def test_the_same_content_gives_the_same_facts_in_every_encoding():
    elements = [
        (0x00080020, "DA", b"20250131"),
        (0x00080060, "CS", b"CT"),
        (0x00100010, "PN", b"Doe^John"),
        (0x00200013, "IS", b"17"),
        (0x00280106, "US", struct.pack("<H", 7)),
    ]
    swapped = [*elements[:-1], (0x00280106, "US", struct.pack(">H", 7))]
    explicit = facts_of(*elements)
    assert facts_of(*elements, encoding=IMPLICIT_LITTLE) == explicit
    assert facts_of(*swapped, encoding=EXPLICIT_BIG) == explicit


def test_oddities_are_passed_on():
    assert facts_of((0x00101030, "DS", b"70 kg ")).oddities == ("00101030: number given as text",)


def test_every_admitted_file_of_the_pack_gives_valid_documents():
    derived = 0
    for file in datapack.files():
        facts = admitted(file)
        if facts is None:
            continue
        derived += 1
        found = documents(facts)
        assert found["metadata"]["00080018"]["Value"] == [facts.instance.sop_instance_uid], file.name
        assert found["study"].keys() >= tags(STUDY.required), file.name
        name = file.entry.get("patient_name")
        if name is not None and "\0" not in name:
            assert facts.patient.patient_name == (name.rstrip("= ") or None), file.name
        if file.entry.get("modality"):
            assert facts.series.modality == file.entry["modality"], file.name
    assert derived > 450


@pytest.mark.parametrize("file", datapack.files("hostile"), ids=str)
def test_hostile_values_come_out_as_data(file):
    facts = admitted(file)
    if facts is None:
        assert file.name == "made/hostile/uid_path.dcm"
        return
    found = documents(facts)
    patient_name = facts.patient.patient_name
    assert patient_name == file.entry["patient_name"].rstrip("= ")
    name = found["metadata"]["00100010"]["Value"][0]
    groups = [name.get(group, "") for group in ("Alphabetic", "Ideographic", "Phonetic")]
    assert "=".join(groups).rstrip("=") == patient_name
    assert facts.patient.patient_id == found["metadata"]["00100020"]["Value"][0].strip("\0")
