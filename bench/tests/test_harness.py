"""The harness itself: the same bytes, true percentiles, checks that can fail, ratios the right way round."""

import io
import json

import pytest
from pydicom import dcmread

from bench import checks, generator, population, tables
from bench.connection import Answer
from bench.driving import Result, in_ms
from bench.generator import Kind
from bench.workloads.series import stow_request


def answer(body, content_type="application/dicom+json", status=200):
    return Answer(status, {"content-type": content_type}, len(body), 0.1, 0.05, body)


@pytest.mark.parametrize("kind", [Kind("ct"), Kind("sr"), Kind("small"), Kind("mf", frames=2, codec="rle")])
def test_the_same_numbers_give_the_same_file_with_their_uids(kind):
    made = b"".join(map(bytes, generator.instance(kind, 10, 7, 0, 3)))
    assert made == b"".join(map(bytes, generator.instance(kind, 10, 7, 0, 3)))
    data_set = dcmread(io.BytesIO(made))
    assert data_set.StudyInstanceUID == generator.study_uid(10, 7)
    assert data_set.SOPInstanceUID == data_set.file_meta.MediaStorageSOPInstanceUID
    assert data_set.SOPInstanceUID == generator.sop_uid(10, 7, 0, 3)
    assert data_set.InstanceNumber == 4


def test_the_population_holds_two_studies_a_patient():
    first, second, other = map(population.study, (4, 5, 6))
    assert first.patient_id == second.patient_id != other.patient_id
    assert dcmread(io.BytesIO(b"".join(map(bytes, population.instance(4))))).PatientID == first.patient_id


def test_a_request_to_store_announces_its_length():
    request = stow_request([generator.ct(10, 1, number) for number in range(3)])
    assert request.size == len(b"".join(map(bytes, request.body)))
    assert b"".join(map(bytes, request.body)).count(b"Content-Type: application/dicom\r\n") == 3


def test_a_part_must_be_the_very_bytes():
    check = checks.one_part(lambda _: b"abc")
    body = b"--B\r\nContent-Type: application/octet-stream\r\n\r\n%s\r\n--B--\r\n"
    kind = "multipart/related; boundary=B"
    assert check(0, answer(body % b"abc", kind)) == ""
    assert check(0, answer(body % b"abc\0", kind)) == ""
    assert "differs" in check(0, answer(body % b"abd", kind))
    assert "differs" in check(0, answer(b"", kind))


def test_a_store_must_name_every_instance():
    document = {"00081199": {"Value": [{}, {}]}}
    assert checks.stored(2)(0, answer(json.dumps(document).encode())) == ""
    assert checks.stored(3)(0, answer(json.dumps(document).encode()))
    failed = document | {"00081198": {"Value": [{}]}}
    assert checks.stored(2)(0, answer(json.dumps(failed).encode()))


def test_percentiles_are_of_the_sorted_times():
    seconds = [n / 1000 for n in range(100, 0, -1)]
    assert (in_ms(seconds, 50), in_ms(seconds, 99), in_ms([], 50)) == (51.0, 100.0, None)


def test_ratios_say_how_many_times_better_we_are():
    def result(workload, case, **values):
        return Result(workload, case, n=1, check="checked", **values).as_json()

    stow = "STOW ct 526 kB, 1/request, c=4"
    find = "C-FIND 500 instances of a series"
    mine = [result("W1", stow, items_s=600.0), result("W9", find, p50_ms=40.0)]
    theirs = [result("W1", stow, items_s=300.0), result("W9", find, p50_ms=80.0)]
    found = tables.ratios([mine], [theirs])
    assert found["STOW CT, 1 a request, c=4"] == {"ratio": 2.0, "goal": 1.5, "ours": 600.0, "theirs": 300.0}
    assert found["C-FIND 500 instances"]["ratio"] == 2.0
    assert found["thumbnail, c=8"]["ratio"] is None
    wrong = [mine[0] | {"check": "FAILED: 1 x stored 0 of 1"}]
    assert tables.ratios([wrong], [theirs])["STOW CT, 1 a request, c=4"]["ratio"] is None
