"""The statements Q06 to Q22 and Q42: which keys match what (PS3.18 8.3.4, PS3.4 C.2.2.2)."""

from __future__ import annotations

from gantry_testing.web import uids

from gantry_cli.conformance.qido_samples import (
    CREATOR,
    SERIES_UID,
    SOP_UID,
    expect_status,
    expect_studies,
    sample,
    search,
    search_with_warnings,
)
from gantry_cli.conformance.server import Server
from gantry_cli.conformance.statements import expect, statement


@statement("Q06", "PS3.18 8.3.4.1")
def attributes_are_named_by_tag_keyword_and_path(server: Server) -> None:
    """An attribute is named by eight hex digits of either case, by keyword, or by a dotted path of them."""
    ours = sample(server)
    for name in ("00081030", "StudyDescription"):
        expect_studies(server, ["yamada"], (name, "CR THORAX"))
    description = ours.studies["yamada"][0].series.series_description
    for name in ("0008103e", "0008103E"):
        found = search(server, "/series", ours.mine, (name, description), ("StudyDate", "20240102"))
        expect(len(found) == 1, f"{name} finds {len(found)} series, not 1")
    for path in (
        "RequestAttributesSequence.ScheduledProcedureStepID",
        "00400275.00400009",
        "RequestAttributesSequence.00400009",
    ):
        found = search(server, "/series", ours.mine, (path, "SPS2"))
        expect(len(found) == 1, f"{path} finds {len(found)} series, not 1")


@statement("Q07", "PS3.18 8.3.4.1", choice=True)
def what_is_no_attribute_is_400_and_named(server: Server) -> None:
    """An unknown keyword or a malformed tag is refused, and the answer names it."""
    for name in ("PatientNam", "0010002G", "00100", "StudyDate.", "RequestAttributesSequence.Nothing"):
        answer = server.get("/studies", params=[(name, "1")])
        expect(answer.status_code == 400, f"{name} answered {answer.status_code}")
        expect(name in answer.text, f"the refusal does not name {name}")
    expect_status(server, "/studies", [("includefield", "Nonsense")], 400)


@statement("Q08", "PS3.18 8.3.4.1")
def a_key_is_matched_or_a_warning_names_it(server: Server) -> None:
    """An attribute of the level is matched, also a rare one; what cannot be matched is named in a Warning."""
    expect_studies(server, ["test"], ("PatientComments", "Comments*"))
    expect_studies(server, ["test"], ("ProcedureCodeSequence.CodeValue", "P1"))
    expect_studies(server, [], ("ProcedureCodeSequence.CodeValue", "P2"))
    ours = sample(server)
    found = search(server, "/instances", ours.mine, ("ImageComments", "Comments of the image"))
    expect(uids(found, SOP_UID) == [ours.studies["test"][0].sop_uid], f"{len(found)} by Image Comments")
    private = (("00211001", "private value"), ("00210010", CREATOR))
    found = search(server, "/instances", ours.mine, *private)
    expect(len(found) == 2, f"{len(found)} of 2 instances by a private attribute with its creator")
    for key in ("SliceThickness", "00211001"):
        _, warnings = search_with_warnings(server, "/studies", ours.mine, (key, "1"))
        expect(any(key in line for line in warnings), f"{key} at the study level: {warnings}")


@statement("Q09", "PS3.18 Table 10.6.1-5")
def every_key_of_the_table_matches(server: Server) -> None:
    """The match keys of Table 10.6.1-5 match at their level and at those below."""
    ours = sample(server)
    image = ours.studies["yamada"][0]
    study = image.series.study
    of_study = {
        "StudyDate": "20240102",
        "StudyTime": "103000",
        "AccessionNumber": study.accession_number,
        "ModalitiesInStudy": "PT",
        "ReferringPhysicianName": "Mueller^Joerg",
        "PatientName": "Yamada^Tarou",
        "PatientID": study.patient.patient_id,
        "StudyInstanceUID": study.study_uid,
        "StudyID": study.study_id,
    }
    of_series = {
        "Modality": "CT",
        "SeriesInstanceUID": image.series_uid,
        "SeriesNumber": "1",
        "PerformedProcedureStepStartDate": "20240102",
        "PerformedProcedureStepStartTime": "103500",
        "RequestAttributesSequence.ScheduledProcedureStepID": "SPS1",
        "RequestAttributesSequence.RequestedProcedureID": "RP1",
    }
    of_instance = {"SOPClassUID": image.sop_class_uid, "SOPInstanceUID": image.sop_uid, "InstanceNumber": "1"}
    keys: dict[str, str] = {}
    for path, more, expected in (
        ("/studies", of_study, study.study_uid),
        ("/series", of_series, image.series_uid),
        ("/instances", of_instance, image.sop_uid),
    ):
        keys |= more
        tag = {"/studies": "0020000D", "/series": SERIES_UID, "/instances": SOP_UID}[path]
        for name, value in keys.items():
            found = uids(search(server, path, ("StudyInstanceUID", study.study_uid), (name, value)), tag)
            expect(expected in found, f"{path} does not find by {name}")
            others = search(server, path, (name, _other(name)))
            expect(expected not in uids(others, tag), f"{path} finds by a wrong {name}")
        found = uids(search(server, path, *keys.items()), tag)
        expect(found == [expected], f"{path} with all keys finds {len(found)}")


def _other(name: str) -> str:
    """Return a value that the sample does not have."""
    if name.endswith("UID"):
        return "2.25.999"
    return {"Date": "19010101", "Time": "010203"}.get(name[-4:], "77" if "Number" in name else "NONE")


@statement("Q10", "PS3.18 8.3.4.1")
def a_list_of_uids_matches_any(server: Server) -> None:
    """UIDs with commas between match any of them."""
    ours = sample(server)
    wanted = f"{ours.uid('yamada')},{ours.uid('t_st')},2.25.1"
    found = ours.names(uids(search(server, "/studies", ("StudyInstanceUID", wanted)), "0020000D"))
    expect(found == ["t_st", "yamada"], f"found {found}")


@statement("Q11", "PS3.4 C.2.2.2.4")
def wild_cards_work_where_they_may(server: Server) -> None:
    """* and ? are wild cards for text, * any run and ? one character; %, _ and quotes mean themselves."""
    expect_studies(server, ["test", "yamada"], ("StudyDescription", "CR?THORAX"))
    expect_studies(server, ["test"], ("StudyDescription", "CR_THORAX"))
    expect_studies(server, ["test"], ("StudyDescription", "CR_TH*"))
    expect_studies(server, ["test", "yamada"], ("StudyDescription", "*THORAX"))
    expect_studies(server, [], ("StudyDescription", "THORAX"))
    expect_studies(server, [], ("StudyDescription", "%THORAX"))
    expect_studies(server, [], ("StudyDescription", "'; --"))
    expect_studies(server, ["t_st", "test"], ("PatientName", "T?ST*"))
    expect_studies(server, ["t_st"], ("PatientName", "T_ST*"))
    ours = sample(server)
    for key, value in (("StudyInstanceUID", ours.uid("test")[:-1] + "*"), ("StudyDate", "2024010?")):
        expect_status(server, "/studies", [(key, value)], 400)


@statement("Q12", "PS3.4 C.2.2.2.4")
def text_is_case_sensitive_and_names_are_not(server: Server) -> None:
    """Text matches case by case, with and without wild cards; person names in any case."""
    expect_studies(server, [], ("StudyDescription", "cr thorax"))
    expect_studies(server, [], ("StudyDescription", "cr*"))
    expect_studies(server, ["test"], ("PatientName", "test^a"))
    expect_studies(server, ["yamada"], ("PatientName", "YAMADA*"))
    expect_studies(server, ["test"], ("ReferringPhysicianName", "muller^jorg"))


@statement("Q13", "PS3.4 C.2.2.2.4")
def an_asterisk_is_universal(server: Server) -> None:
    """A key of nothing but * matches everything, also what has no value."""
    everything = ["empty", "t_st", "test", "yamada"]
    for key in ("AccessionNumber", "PatientName", "StudyDate", "ModalitiesInStudy"):
        expect_studies(server, everything, (key, "*"))


@statement("Q14", "PS3.4 C.2.2.2.3")
def a_key_without_value_is_universal_and_returned(server: Server) -> None:
    """An empty key matches everything, and its attribute is in the answer."""
    expect_studies(server, ["empty", "t_st", "test", "yamada"], ("StudyDescription", ""))
    ours = sample(server)
    for found in search(server, "/studies", ours.mine, ("StudyDescription", ""), ("StudyDate", "-20240103")):
        expect("00081030" in found, "the attribute of an empty key is not returned")


@statement("Q15", "PS3.18 8.3.4.5")
def empty_value_matching_finds_what_has_no_value(server: Server) -> None:
    """With emptyvaluematching=true two quotes find absent and empty values, else they are text."""
    on = ("emptyvaluematching", "true")
    for key in ("AccessionNumber", "ReferringPhysicianName", "StudyID", "StudyDescription"):
        ours = sample(server)
        found = uids(search(server, "/studies", ours.mine, (key, '""'), on), "0020000D")
        expect(ours.uid("empty") in found, f"{key} without a value is not found")
        expect(ours.uid("yamada") not in found, f"{key} with a value is found as empty")
    expect_studies(server, [], ("AccessionNumber", '""'))
    expect_status(server, "/studies", [("emptyvaluematching", "perhaps")], 400)


@statement("Q16", "PS3.18 8.3.4.6; PS3.4 C.2.2.2.8")
def multiple_value_matching_asks_for_each_value(server: Server) -> None:
    """With multiplevaluematching=true every value has to be there, others may be."""
    on = ("multiplevaluematching", "true")
    expect_studies(server, ["yamada"], ("ModalitiesInStudy", "CT\\PT"), on)
    expect_studies(server, ["yamada"], ("ModalitiesInStudy", "PT"), on)
    expect_studies(server, [], ("ModalitiesInStudy", "CT\\MR"), on)
    expect_status(server, "/studies", [("multiplevaluematching", "1")], 400)


@statement("Q17", "PS3.18 8.3.4.2")
def fuzzy_matching_is_done_or_refused_aloud(server: Server) -> None:
    """fuzzymatching=true finds names that are nearly the same, or a Warning says that it does not."""
    ours = sample(server)
    found, warnings = search_with_warnings(
        server, "/studies", ours.mine, ("PatientName", "Yamadda^Taro"), ("fuzzymatching", "true")
    )
    names = ours.names(uids(found, "0020000D"))
    refused = any("only literal matching" in line.lower() for line in warnings)
    expect(refused or names == ["yamada"], f"found {names} with {warnings}")
    literal, _ = search_with_warnings(
        server, "/studies", ours.mine, ("PatientName", "TEST^A"), ("fuzzymatching", "true")
    )
    expect(ours.uid("test") in uids(literal, "0020000D"), "what matches literally is not found")
    expect_status(server, "/studies", [("fuzzymatching", "maybe")], 400)


@statement("Q18", "PS3.4 C.2.2.2.5")
def ranges_of_dates_include_their_ends(server: Server) -> None:
    """A range may be open at either end and includes its bounds; a hyphen alone is refused."""
    for value, names in (
        ("20240102-20240103", ["test", "yamada"]),
        ("20240104-", ["empty", "t_st"]),
        ("-20240102", ["yamada"]),
        ("20240103", ["test"]),
    ):
        expect_studies(server, names, ("StudyDate", value))
    expect_studies(server, ["test", "yamada"], ("StudyTime", "08-1030"))
    for wrong in ("-", "20240102-20240103-20240104"):
        expect_status(server, "/studies", [("StudyDate", wrong)], 400)


@statement("Q19", "PS3.4 C.2.2.2.5")
def date_and_time_ranges_are_one_range_of_instants(server: Server) -> None:
    """Ranges of Study Date and Study Time together mean from one instant to another."""
    for dates, times, names in (
        ("20240102-20240104", "1100-0900", ["test"]),
        ("20240102-20240104", "1030-1200", ["t_st", "test", "yamada"]),
        ("20240103-20240104", "0801-1159", []),
    ):
        expect_studies(server, names, ("StudyDate", dates), ("StudyTime", times))


@statement("Q20", "PS3.18 10.6.3")
def a_date_that_is_none_is_refused(server: Server) -> None:
    """What is no date or time is 400 and not an empty list."""
    for key, value in (
        ("StudyDate", "20241301"),
        ("StudyDate", "2024-01-02"),
        ("StudyDate", "yesterday"),
        ("PatientBirthDate", "19900231"),
        ("StudyTime", "2561"),
    ):
        expect_status(server, "/studies", [(key, value)], 400)


@statement("Q21", "PS3.5 6.1.2.3")
def values_are_compared_as_characters(server: Server) -> None:
    """A name asked for in UTF-8 finds the one that is stored in ISO 2022 IR 87, or decomposed."""
    expect_studies(server, ["yamada"], ("PatientName", "山田^太郎"))
    expect_studies(server, ["yamada"], ("PatientName", "山*"))
    expect_studies(server, ["test"], ("ReferringPhysicianName", "Müller*"))
    expect_studies(server, ["test"], ("ReferringPhysicianName", "Mu\N{COMBINING DIAERESIS}ller*"))
    expect_studies(server, [], ("PatientName", "山田^花子"))
    answer = server.http.get(server.base_url.rstrip("/") + "/studies?PatientName=M%FCller")
    expect(answer.status_code == 400, f"octets that are no UTF-8 answered {answer.status_code}")


@statement("Q22", "PS3.4 C.2.2.2.1")
def every_component_group_of_a_name_counts(server: Server) -> None:
    """A name matches by its alphabetic, ideographic or phonetic group, or as a whole."""
    for name in (
        "Yamada^Tarou",
        "山田^太郎",
        "やまだ^たろう",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
        "やまだ*",
    ):
        expect_studies(server, ["yamada"], ("PatientName", name))


@statement("Q42", "PS3.4 C.3.4")
def a_modality_in_a_study_matches_among_others(server: Server) -> None:
    """ModalitiesInStudy matches a study with a series of that modality among others."""
    expect_studies(server, ["t_st", "yamada"], ("ModalitiesInStudy", "CT"))
    expect_studies(server, ["yamada"], ("ModalitiesInStudy", "PT"))
    [found] = search(server, "/studies", sample(server).mine, ("ModalitiesInStudy", "PT"))
    expect(sorted(found["00080061"]["Value"]) == ["CT", "PT"], f"Modalities in Study: {found['00080061']}")
