"""QIDO-RS over HTTP against the whole archive (PS3.18 10.6; cases O-20, O-23)."""

from urllib.parse import urlsplit

import httpx
import pytest
from gantry_testing import strict_json
from gantry_testing.synthetic import generate_study, make_patient, make_series, make_study, stream_series
from gantry_testing.web import DICOM_JSON, uids, value
from pydicom.dataset import Dataset

SIZE = (64, 64)


@pytest.fixture(scope="module")
def studies(web):
    """Twelve studies of one patient with a CT and an MR series of one instance each."""
    patient = make_patient(8800)
    found = []
    for number in range(12):
        instances = [
            *generate_study(8800, "CT", number=number, series=2, patient=patient, size=SIZE)[:1],
            *generate_study(8800, "MR", number=number, series=2, patient=patient, size=SIZE)[1:],
        ]
        assert web.store([instance.data for instance in instances]).status == 200
        found.append(instances)
    return found


def search(web, path, **params):
    answer = web.http.get(web.base_url + path, params=params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == DICOM_JSON
    return strict_json.read(answer.content), answer.headers.get_list("warning")


def test_all_six_routes_answer_with_links_that_resolve(web, studies):
    ct, mr = studies[0]
    study, series = f"/studies/{ct.study_uid}", f"/studies/{ct.study_uid}/series/{ct.series_uid}"
    for path, tag, expected in (
        ("/studies", "0020000D", {ct.study_uid}),
        ("/series", "0020000E", {ct.series_uid, mr.series_uid}),
        ("/instances", "00080018", {ct.sop_uid, mr.sop_uid}),
    ):
        found, _ = search(web, path, StudyInstanceUID=ct.study_uid)
        assert set(uids(found, tag)) == expected
        for document in found:
            assert httpx.head(value(document, "00081190")).status_code == 200
        if path != "/studies":
            assert all("00100010" in document for document in found), "attributes of the levels above"
    assert len(search(web, f"{study}/series")[0]) == 2
    assert len(search(web, f"{study}/instances")[0]) == 2
    (found,), _ = search(web, f"{series}/instances")
    assert value(found, "00080018") == ct.sop_uid
    assert "00100010" not in found


def test_pages_add_up_and_say_what_remains(web, studies):
    seen = []
    for offset, count, remaining in ((0, 5, 7), (5, 5, 2), (10, 2, 0), (15, 0, 0)):
        found, warnings = search(
            web, "/studies", PatientID="GT-008800", ModalitiesInStudy="CT", limit=5, offset=offset
        )
        assert len(found) == count
        seen += uids(found, "0020000D")
        expected = f'299 gantry "There are {remaining} additional results that can be requested"'
        assert warnings == ([expected] if remaining else [])
    assert len(set(seen)) == 12


def test_nothing_found_is_an_empty_list(web):
    assert search(web, "/studies", StudyInstanceUID="1.2.3") == ([], [])
    assert search(web, "/studies", limit=0)[0] == []


@pytest.mark.parametrize(
    "query",
    ["limit=-1", "limit=abc", "offset=1.5", "offset=-1", "StudyDate=yesterday", "fuzzymatching=maybe"],
)
def test_what_makes_no_sense_is_a_bad_request(web, query):
    answer = web.http.get(f"{web.base_url}/studies?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


def test_a_warning_that_names_what_was_asked_cannot_add_a_header(web):
    answer = web.http.get(f"{web.base_url}/studies?fuzzymatching=true&Modality=CT%0D%0AX-Evil:%201")
    assert "x-evil" not in answer.headers
    assert all("\n" not in warning for warning in answer.headers.get_list("warning"))


def test_a_slash_at_the_end_makes_no_difference(web, studies):
    answer = web.http.get(f"{web.base_url}/studies/", params={"PatientID": "GT-008800"})
    assert (answer.status_code, len(answer.json())) == (200, 12)


@pytest.mark.parametrize(
    ("headers", "root"),
    [
        ({"Host": "pacs.example:8443"}, "http://pacs.example:8443"),
        (
            {"Host": "inner", "Forwarded": 'for="[::1]";proto=https;host="pacs.example"'},
            "https://pacs.example",
        ),
        ({"Forwarded": "host=[2001:db8::1]:80, host=second"}, "http://[2001:db8::1]:80"),
        (
            {
                "X-Forwarded-Proto": "https",
                "X-Forwarded-Host": "a.example, b",
                "X-Forwarded-Prefix": "/pacs/",
            },
            "https://a.example/pacs",
        ),
    ],
)
def test_links_begin_with_the_base_that_the_proxy_names(web, studies, headers, root):
    ct, _ = studies[0]
    path = f"/studies/{ct.study_uid}"
    answer = web.http.get(
        web.base_url + "/studies", params={"StudyInstanceUID": ct.study_uid}, headers=headers
    )
    assert value(answer.json()[0], "00081190") == f"{root}/dicom-web{path}"
    metadata = web.http.get(f"{web.base_url}{path}/metadata", headers=headers)
    found = strict_json.read(metadata.content)
    assert all(
        document["7FE00010"]["BulkDataURI"].startswith(f"{root}/dicom-web/studies/") for document in found
    )
    assert b"127.0.0.1" not in metadata.content


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_links_have_the_port_that_was_called_though_the_client_left_it_out(web, studies, name):
    ct, _ = studies[0]
    port = urlsplit(web.base_url).port
    answer = web.http.get(f"{web.base_url}/studies/{ct.study_uid}/series", headers={"Host": name})
    assert value(answer.json()[0], "00081190").startswith(f"http://{name}:{port}/dicom-web/")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": 'evil"},{"'},
        {"Host": "a b"},
        {"Host": "user@evil"},
        {"Forwarded": 'host="x/../y?z"'},
        {"Forwarded": "proto=javascript"},
        {"X-Forwarded-Host": "<script>"},
        {"X-Forwarded-Prefix": '/"'},
    ],
)
def test_a_hostile_host_is_refused_and_never_quoted(web, headers):
    answer = web.http.get(f"{web.base_url}/studies", headers=headers)
    assert answer.status_code == 400
    for text in headers.values():
        assert text not in answer.text


def test_the_configured_base_wins(second_gateway, studies):
    _, root = second_gateway
    (ct, _), headers = studies[0], {"Host": "evil.example", "Forwarded": "host=evil.example"}
    answer = httpx.get(f"{root}/dicom-web/studies/{ct.study_uid}/metadata", headers=headers)
    assert b"evil" not in answer.content
    assert b'"https://pacs.example/archive/dicom-web/studies/' in answer.content


def next_of(answer):
    return answer.links["next"]["url"]


def test_a_page_links_to_the_next_one(web, studies):
    params = {"PatientID": "GT-008800", "limit": "5", "offset": "2"}
    first = web.http.get(web.base_url + "/studies", params=params)
    assert "offset" not in next_of(first)
    second = web.http.get(next_of(first))
    assert "next" not in second.links
    skipped, _ = search(web, "/studies", PatientID="GT-008800", limit=2)
    seen = [*uids(skipped, "0020000D"), *uids(first.json(), "0020000D"), *uids(second.json(), "0020000D")]
    assert len(seen) == len(set(seen)) == 12


@pytest.mark.parametrize(("path", "seed"), [("/studies", 8801), ("/series", 8802), ("/instances", 8803)])
def test_no_study_is_skipped_while_others_arrive_and_go(web, path, seed):
    patient = make_patient(seed)

    def store(number):
        (instance,) = generate_study(seed, "CT", number=number, patient=patient, size=SIZE)
        assert web.store([instance.data]).status == 200
        return instance.study_uid

    there = {store(number) for number in range(6)}
    url = f"{web.base_url}{path}?PatientID={patient.patient_id}&limit=2"
    seen = []
    for number in range(6, 12):
        answer = web.http.get(url)
        page = uids(answer.json(), "0020000D")
        seen += page
        # One that was shown goes and another comes: offsets would skip and repeat.
        assert web.http.delete(f"{web.base_url}/studies/{page[0]}").status_code in (202, 204)
        store(number)
        url = answer.links["next"]["url"] if "next" in answer.links else None
        if url is None:
            break
    assert there <= set(seen)
    assert len(seen) == len(set(seen))


def test_nothing_found_is_204_for_those_who_want_it(web):
    answer = web.http.get(f"{web.base_url}/studies?StudyInstanceUID=1.2.3&empty204=true")
    assert (answer.status_code, answer.content) == (204, b"")
    assert web.http.get(f"{web.base_url}/studies?empty204=maybe").status_code == 400


@pytest.mark.parametrize("token", ["abc", "WzEsMl0", "bnVsbA", "!", "x" * 3000])
def test_a_page_token_that_is_none_is_refused(web, token):
    assert web.http.get(f"{web.base_url}/studies", params={"pagetoken": token}).status_code == 400


def test_octets_that_are_no_utf8_are_refused(web):
    assert web.http.get(f"{web.base_url}/studies?PatientName=M%FCller").status_code == 400


def test_a_thousand_parameters_are_refused(web):
    assert web.http.get(f"{web.base_url}/studies?" + "a=1&" * 1000).status_code == 400


def rejecting(instance):
    """Return what makes a Key Object Selection a note that rejects ``instance``."""

    def amend(dataset):
        title, image, series, study = Dataset(), Dataset(), Dataset(), Dataset()
        title.CodeValue, title.CodingSchemeDesignator, title.CodeMeaning = "113037", "DCM", "Rejected"
        image.ReferencedSOPInstanceUID = instance.sop_uid
        series.ReferencedSOPSequence = [image]
        study.StudyInstanceUID, study.ReferencedSeriesSequence = instance.study_uid, [series]
        dataset.ConceptNameCodeSequence = [title]
        dataset.CurrentRequestedProcedureEvidenceSequence = [study]

    return amend


def test_what_a_note_rejects_is_hidden_whichever_comes_first_and_shown_when_the_note_goes(web):
    study = make_study(8810)
    image, kept = stream_series(make_series(study), "CT", instances=2, size=SIZE)
    (note,) = stream_series(make_series(make_study(8811)), "KO", amend=rejecting(image))
    here = {"StudyInstanceUID": study.study_uid}
    for file in (note.data, image.data):
        assert web.store([file]).status == 200
    assert search(web, "/studies", **here)[0] == []
    assert search(web, "/studies", StudyInstanceUID=note.study_uid)[0] == []
    assert len(search(web, "/studies", view="quality", **here)[0]) == 1
    assert web.store([kept.data]).status == 200
    for path in ("/studies", "/series", "/instances"):
        (found,), _ = search(web, path, **here)
        assert value(found, "00201208") == 1
    (found,), _ = search(web, f"/studies/{study.study_uid}/series")
    assert value(found, "00201209") == 1
    assert web.http.delete(f"{web.base_url}/studies/{note.study_uid}").status_code in (202, 204)
    assert len(search(web, "/instances", **here)[0]) == 2
    assert web.http.get(f"{web.base_url}/studies?view=all").status_code == 400
