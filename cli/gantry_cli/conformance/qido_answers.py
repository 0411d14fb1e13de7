"""The statements Q01 to Q05, Q23 to Q31, Q39 and Q40: what searches answer (PS3.18 10.6)."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from gantry_testing.synthetic.studies import make_series, stream_series
from gantry_testing.synthetic.values import Instance, Study
from gantry_testing.web import DICOM_JSON, decode_multipart, uids
from pydicom.dataset import Dataset

from gantry_cli.conformance.qido_samples import (
    CREATOR,
    SOP_UID,
    STUDY_UID,
    Json,
    sample,
    search,
)
from gantry_cli.conformance.server import Server, path_of, series_path_of, study_path_of
from gantry_cli.conformance.statements import NotTestable, expect, statement

_XML = 'multipart/related; type="application/dicom+xml"'
_NATIVE = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"
_NOTHING = ("StudyInstanceUID", "2.25.1")

# PS3.18 Table 10.6.3-3; those of the second line only when known or retrievable.
_STUDY_ALWAYS = (
    *("00080020", "00080030", "00080050", "00080061", "00080090", "00100010", "00100020"),
    *("00100030", "00100040", "0020000D", "00200010", "00201206", "00201208"),
)
_SERIES_ALWAYS = ("00080060", "0020000E", "00200011", "00201209")
_INSTANCE_ALWAYS = ("00080016", "00080018", "00200013")
# Image Pixel and others that belong to instances.
_OF_INSTANCES = ("00280010", "00280100", "00280301", "7FE00010")


@statement("Q01", "PS3.18 10.6.1")
def all_six_resources_answer(server: Server) -> None:
    """Studies, series and instances are found at the root and below their parents."""
    ours = sample(server)
    image = ours.studies["yamada"][0]
    study, series = study_path_of(image), series_path_of(image)
    for path, count in (
        ("/studies", 1),
        ("/series", 2),
        ("/instances", 3),
        (f"{study}/series", 2),
        (f"{study}/instances", 3),
        (f"{series}/instances", 2),
    ):
        keys = [] if path.count("/") > 1 else [("StudyInstanceUID", image.study_uid)]
        found = search(server, path, *keys)
        expect(len(found) == count, f"{path} finds {len(found)}, not {count}")


@statement("Q02", "PS3.18 10.6.3", choice=True)
def nothing_found_is_an_empty_list(server: Server) -> None:
    """Without a match the answer is 200 with the list [], of every resource."""
    for path in ("/studies", "/series", "/instances"):
        answer = server.get(path, DICOM_JSON, [_NOTHING])
        expect(answer.status_code == 200, f"{path} without a match answered {answer.status_code}")
        found = answer.headers.get("content-type", "").partition(";")[0]
        expect((answer.content, found) == (b"[]", DICOM_JSON), f"{found}: {answer.text[:40]}")
        length = answer.headers.get("content-length")
        expect(length == "2", f"Content-Length {length}")


@statement("Q03", "PS3.18 10.6.3")
def a_page_of_many_is_200(server: Server) -> None:
    """A search is never answered 206, also where matches remain."""
    ours = sample(server)
    answer = server.get("/studies", DICOM_JSON, [ours.mine, ("limit", "1")])
    expect(answer.status_code == 200, f"a page of one of four is {answer.status_code}")


@statement("Q04", "PS3.18 10.6.4")
def json_is_the_default(server: Server) -> None:
    """Without Accept, with */* and with application/json the answer is DICOM JSON."""
    ours = sample(server)
    for accept in (None, "*/*", "application/json", f"{DICOM_JSON}, {_XML}; q=0.5"):
        answer = server.get("/studies", accept, [ours.mine])
        found = answer.headers.get("content-type", "").partition(";")[0]
        expect(
            answer.status_code == 200 and found in {DICOM_JSON, "application/json"} and answer.json() != [],
            f"Accept: {accept} answered {answer.status_code} {found}",
        )


@statement("Q05", "PS3.18 10.6.4")
def xml_is_one_part_a_match(server: Server) -> None:
    """Native DICOM Model documents come as multipart/related, one for each match, and say the same."""
    ours = sample(server)
    answer = server.get("/studies", _XML, [ours.mine])
    expect(answer.status_code == 200, f"answered {answer.status_code}")
    parts = decode_multipart(answer.headers["content-type"], answer.content)
    found = []
    for part in parts:
        root = ET.fromstring(part.body)  # noqa: S314 - a server of the examiner's choice
        expect(root.tag == f"{_NATIVE}NativeDicomModel", f"a part is {root.tag}")
        value = root.find(f"{_NATIVE}DicomAttribute[@tag='{STUDY_UID}']/{_NATIVE}Value")
        found.append("" if value is None else value.text)
    in_json = uids(search(server, "/studies", ours.mine), STUDY_UID)
    expect(found == in_json, f"XML has {found}, JSON {in_json}")


@statement("Q23", "PS3.18 8.3.4.3", choice=True)
def includefield_repeats_and_lists(server: Server) -> None:
    """Includefield may repeat, hold a list, and be all; all beside others is all."""
    ours = sample(server)
    here = ("StudyInstanceUID", ours.uid("test"))
    for fields in (
        [("includefield", "StudyDescription,00081032")],
        [("includefield", "StudyDescription"), ("includefield", "00081032")],
        [("includefield", "all")],
        [("includefield", "all,StudyDescription")],
    ):
        [found] = search(server, "/studies", here, *fields)
        missing = {"00081030", "00081032"} - set(found)
        expect(not missing, f"{fields} does not return {sorted(missing)}")


@statement("Q24", "PS3.18 10.6.3.3.1")
def attributes_of_lower_levels_are_not_returned(server: Server) -> None:
    """An attribute of series or instances is not returned for a study, though it is asked for."""
    ours = sample(server)
    here = ("StudyInstanceUID", ours.uid("yamada"))
    [study] = search(server, "/studies", here, ("includefield", "Modality,SeriesNumber,Rows"))
    expect(not {"00080060", "00200011", "00280010"} & set(study), f"a study has {sorted(study)}")
    for series in search(server, "/series", here, ("includefield", "Rows,InstanceNumber")):
        expect(not {"00280010", "00200013"} & set(series), f"a series has {sorted(series)}")


@statement("Q25", "PS3.18 10.6.3.3.1")
def all_is_all_of_the_level(server: Server) -> None:
    """includefield=all returns what else is known at the level, and no pixels or their description above."""
    ours = sample(server)
    here = ("StudyInstanceUID", ours.uid("test"))
    [study] = search(server, "/studies", here, ("includefield", "all"))
    expect({"00081030", "00081032", "00104000"} <= set(study), f"a study has {sorted(study)}")
    expect(not set(_OF_INSTANCES) & set(study), f"a study has {sorted(study)}")
    [instance] = search(server, "/instances", here, ("includefield", "all"))
    expect({"00204000", "00280010"} <= set(instance), f"an instance has {sorted(instance)}")
    expect("7FE00010" not in instance, "an instance has its pixels")


@statement("Q26", "PS3.18 8.3.4.3")
def a_private_attribute_comes_with_its_creator(server: Server) -> None:
    """A private attribute is returned with its creator where that is among the keys."""
    ours = sample(server)
    path = series_path_of(ours.studies["yamada"][0]) + "/instances"
    found = search(server, path, ("00210010", CREATOR), ("includefield", "00211001"))
    expect(len(found) == 2, f"{len(found)} of 2 instances have the creator")
    for instance in found:
        values = [instance.get(tag, {}).get("Value") for tag in ("00210010", "00211001")]
        expect(values == [[CREATOR], ["private value"]], f"returned {values}")


def _expect_attributes(found: Json, tags: tuple[str, ...], what: str) -> None:
    missing = [tag for tag in tags if tag not in found]
    expect(not missing, f"{what} lacks {missing}")


@statement("Q27", "PS3.18 Table 10.6.3-3")
def a_study_has_its_attributes(server: Server) -> None:
    """Each study carries the attributes of Table 10.6.3-3, counts among them, and its Retrieve URL."""
    ours = sample(server)
    for found in search(server, "/studies", ours.mine):
        _expect_attributes(found, (*_STUDY_ALWAYS, "00080056", "00081190"), "a study")
    [found] = search(server, "/studies", ("StudyInstanceUID", ours.uid("yamada")))
    counts = [found[tag]["Value"][0] for tag in ("00201206", "00201208")]
    expect(counts == [2, 3], f"{counts} series and instances, not [2, 3]")


@statement("Q28", "PS3.18 F.2.5")
def required_attributes_without_value_are_empty(server: Server) -> None:
    """A required attribute that is known to have no value is there, with its VR and without Value."""
    [found] = search(server, "/studies", ("StudyInstanceUID", sample(server).uid("empty")))
    for tag, vr in (("00080050", "SH"), ("00080090", "PN"), ("00200010", "SH"), ("00100040", "CS")):
        expect(found.get(tag) == {"vr": vr}, f"{tag} is {found.get(tag)}")


@statement("Q29", "PS3.18 10.6.3.3")
def root_resources_add_the_levels_above(server: Server) -> None:
    """Series at the root carry their study's attributes, instances those of study and series."""
    here = ("StudyInstanceUID", sample(server).uid("yamada"))
    for found in search(server, "/series", here):
        _expect_attributes(found, (*_STUDY_ALWAYS, *_SERIES_ALWAYS), "a series")
    for found in search(server, "/instances", here):
        _expect_attributes(found, (*_STUDY_ALWAYS, *_SERIES_ALWAYS, *_INSTANCE_ALWAYS), "an instance")


@statement("Q30", "PS3.18 10.6.3.3")
def retrieve_urls_can_be_retrieved(server: Server) -> None:
    """The Retrieve URL of every match answers 200."""
    here = ("StudyInstanceUID", sample(server).uid("yamada"))
    for path in ("/studies", "/series", "/instances"):
        for found in search(server, path, here):
            url = found["00081190"]["Value"][0]
            status = server.send_absolute(url).status_code
            expect(status == 200, f"{url} answered {status}")


@statement("Q31", "PS3.4 C.6.1.1.5")
def instances_name_their_transfer_syntax(server: Server) -> None:
    """Instances carry Available Transfer Syntax UID (0008,3002), the one they are stored in."""
    ours = sample(server)
    image = ours.studies["yamada"][0]
    for params in ([], [("includefield", "AvailableTransferSyntaxUID")]):
        for found in search(server, series_path_of(image) + "/instances", *params):
            value = found.get("00083002", {}).get("Value")
            expect(value == [image.transfer_syntax_uid], f"Available Transfer Syntax UID is {value}")


@statement("Q39", "PS3.3 C.4.23.1.1")
def availability_is_one_of_four_and_true(server: Server) -> None:
    """Instance Availability is a defined term, and what is ONLINE can be had."""
    here = ("StudyInstanceUID", sample(server).uid("test"))
    for path in ("/studies", "/series", "/instances"):
        [found] = search(server, path, here)
        value = found.get("00080056", {}).get("Value", [""])[0]
        expect(value in {"ONLINE", "NEARLINE", "OFFLINE", "UNAVAILABLE"}, f"{path}: {value!r}")
        if value == "ONLINE" and path == "/instances":
            image = sample(server).studies["test"][0]
            status = server.get(path_of(image) + "/frames/1").status_code
            expect(status == 200, f"an ONLINE image answered {status}")


@statement("Q41", "RFC 3986 3.4")
def order_and_empty_parameters_do_no_harm(server: Server) -> None:
    """The order of parameters, doubled ampersands and empty parameters change nothing."""
    ours = sample(server)
    base = server.base_url.rstrip("/")
    uid = ours.uid("test")
    expected = server.http.get(f"{base}/studies?StudyInstanceUID={uid}&limit=5").json()
    for query in (
        f"?&limit=5&&StudyInstanceUID={uid}&",
        f"?limit=5&StudyInstanceUID={uid}&offset=&PatientName=",
        f"?=&StudyInstanceUID={uid}&limit=5&=x",
    ):
        answer = server.http.get(f"{base}/studies{query}")
        found = answer.json() if answer.status_code == 200 else None
        expect(found == expected, f"{query} answered {answer.status_code}")
    expect(len(expected) == 1, f"{len(expected)} studies")


def _with_note(study: Study) -> list[Instance]:
    """Return three images in two series, and a note that rejects the image of the second."""
    kept = list(stream_series(make_series(study), "CT", instances=2, size=(16, 16)))
    [bad] = stream_series(make_series(study, 2), "MR", size=(16, 16))
    [note] = stream_series(make_series(study, 3), "KO", amend=lambda dataset: _reject(dataset, bad))
    return [*kept, bad, note]


def _reject(dataset: Dataset, bad: Instance) -> None:
    title = Dataset()
    title.CodeValue, title.CodingSchemeDesignator = "113001", "DCM"
    title.CodeMeaning = "Rejected for Quality Reasons"
    image, series, study = Dataset(), Dataset(), Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = bad.sop_class_uid, bad.sop_uid
    series.SeriesInstanceUID, series.ReferencedSOPSequence = bad.series_uid, [image]
    study.StudyInstanceUID, study.ReferencedSeriesSequence = bad.study_uid, [series]
    dataset.ConceptNameCodeSequence = [title]
    dataset.CurrentRequestedProcedureEvidenceSequence = [study]


@statement("Q40", "IHE RAD IOCM")
def what_is_rejected_is_in_the_quality_view_only(server: Server) -> None:
    """What a rejection note names, and the note, are not found; in the quality view they are."""
    first, _, _, note = server.sample("rejected", _with_note)
    here = ("StudyInstanceUID", first.study_uid)
    for path, count in (("/studies", 1), ("/series", 1), ("/instances", 2)):
        found = search(server, path, here)
        expect(len(found) == count, f"{path} shows {len(found)}, not {count}")
        summed = [found[0][tag]["Value"] for tag in ("00080061", "00201206", "00201208")]
        expect(summed == [["CT"], [1], [2]], f"{path} sums the study up as {summed}")
    view = server.get("/instances", DICOM_JSON, [here, ("view", "quality")])
    if view.status_code in {400, 403} or len(view.json()) < len(search(server, "/instances", here)) + 1:
        raise NotTestable("the server has no quality view under this name, or not for us")
    expect({note.sop_uid} < set(uids(view.json(), SOP_UID)), "the quality view lacks the note")
    expect(len(view.json()) == 4, f"the quality view has {len(view.json())} of 4 instances")
