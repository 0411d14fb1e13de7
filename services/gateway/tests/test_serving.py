"""The gateway as processes: two workers on one socket, what ends with what, and its own description."""

import json
import os
import re
import signal

import httpx
import psutil
from gantry_testing.synthetic import generate_study
from gantry_testing.waiting import wait_for
from gantry_testing.web import WebClient


def family_of(pid):
    return psutil.Process(pid).children(recursive=True)


def test_two_workers_store_with_their_own_verdicts_and_count_together(second_gateway):
    child, root = second_gateway
    for number in range(24):
        # A new connection each time, so that both workers get some.
        with WebClient(f"{root}/dicom-web") as web:
            (instance,) = generate_study(9100 + number, "CT", size=(64, 64))
            assert web.store([instance.data]).status == 200
            found = web.search("/studies", StudyInstanceUID=instance.study_uid)
            assert len(found) == 1, "stored and answered, so it can be found at once"
        text = httpx.get(f"{root}/metrics").text
    counted = re.search(
        r'gantry_http_requests_total\{method="POST",route="/dicom-web/studies",status="200"\} (\d+)', text
    )
    assert int(float(counted[1])) == 24
    serving = [one for one in family_of(child.pid) if one.net_connections(kind="tcp")]
    assert len(serving) == 2


def test_workers_and_their_pixel_workers_end_with_a_gateway_that_is_killed(second_gateway):
    child, root = second_gateway
    (instance,) = generate_study(9200, "CT", size=(64, 64))
    with WebClient(f"{root}/dicom-web") as web:
        assert web.store([instance.data]).status == 200
        path = f"/studies/{instance.study_uid}/series/{instance.series_uid}/instances/{instance.sop_uid}"
        assert web.get(f"{path}/rendered", "image/png").status_code == 200
    family = family_of(child.pid)
    assert len(family) > 2
    os.kill(child.pid, signal.SIGKILL)
    wait_for(lambda: not any(_lives(one) for one in family), "the end of every worker")


def test_pixel_workers_end_with_a_gateway_that_is_told_to_stop(second_gateway):
    child, root = second_gateway
    (instance,) = generate_study(9201, "CT", size=(64, 64))
    with WebClient(f"{root}/dicom-web") as web:
        assert web.store([instance.data]).status == 200
        assert web.get(f"/studies/{instance.study_uid}/thumbnail").status_code == 200
    family = family_of(child.pid)
    child.stop()
    assert child.exit_code() == 0
    wait_for(lambda: not any(_lives(one) for one in family), "the end of every worker")


def _lives(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_path_that_is_none_is_not_found_in_problem_details(web):
    answer = web.http.get(web.base_url + "/patients")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_the_openapi_document_lists_what_is_answered(web):
    root = web.base_url.removesuffix("/dicom-web")
    document = web.http.get(f"{root}/openapi.json").json()
    assert len(document["paths"]) > 40
    for path, methods in document["paths"].items():
        answer = web.http.request("OPTIONS", root + re.sub(r"\{\w+\}", "1", path))
        allowed = {method.lower() for method in answer.headers["allow"].split(", ")} - {"head", "options"}
        assert allowed == set(methods), path


def test_the_openapi_document_says_what_each_status_comes_with(web):
    root = web.base_url.removesuffix("/dicom-web")
    document = web.http.get(f"{root}/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            responses = operation["responses"]
            assert {"400", "401", "403", "404", "503"} <= set(responses), path
            assert {"200", "201"} & set(responses) or method == "delete"
            assert "application/problem+json" in responses["404"]["content"]
    found = web.http.get(f"{web.base_url}/studies", params={"limit": 1})
    search = document["paths"]["/dicom-web/studies"]["get"]
    assert found.headers["content-type"] in search["responses"]["200"]["content"]


def test_every_reference_in_the_openapi_document_leads_somewhere(web):
    text = web.http.get(f"{web.base_url.removesuffix('/dicom-web')}/openapi.json").text
    references = set(re.findall(r'"\$ref":"#/components/schemas/(\w+)"', text))
    assert references
    assert references <= set(json.loads(text)["components"]["schemas"])
