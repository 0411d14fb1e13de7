"""What arrives is sent on by rules: to where, by which protocol, through failures and restarts."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys

import httpx
import pytest
from gantry.routing.v1.routing_pb2 import JOB_STATE_DONE, JOB_STATE_WAITING
from gantry_cli.__main__ import main
from gantry_embedded.ports import free_port
from gantry_routing.ledger import JobLedger
from gantry_testing.dimse import Outgoing, store_all
from gantry_testing.stack import Stack
from gantry_testing.synthetic import generate_study
from gantry_testing.waiting import wait_for
from gantry_testing.web import uids

SECONDS = 60.0


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """An archive that is also where things are sent: each destination is a partition of it."""
    folder = tmp_path_factory.mktemp("routing")
    with Stack(folder, partitions={"AI": "ai"}) as running:
        yield running


@pytest.fixture
def route(stack, tmp_path):
    """Run the router with some routes; returns its process."""
    routers = []

    def start(routes, *, ready=True):
        file = tmp_path / "routes.json"
        file.write_text(json.dumps({"quiet_seconds": 1.0} | routes))
        port = free_port()
        environment = stack.environment(port) | {
            "GANTRY_ROUTES_FILE": str(file),
            "GANTRY_ROUTES_SECONDS": "0.3",
        }
        router = subprocess.Popen(
            [sys.executable, "-P", "-m", "gantry_ingest", "route"], env=os.environ | environment
        )
        routers.append(router)
        # The router listens from its start on; what ended before would be waited out.
        if ready:
            wait_for(lambda: is_ready(port), "the router", SECONDS)
        return router

    yield start
    for router in routers:
        if router.poll() is None:
            router.terminate()
            assert router.wait(30) == 0


def is_ready(port):
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def by_dimse(stack, port=None):
    return {"kind": "dimse", "ae_title": "AI", "host": "127.0.0.1", "port": port or stack.peer.port}


def rule(name, send_to, partition, **when):
    return {"name": name, "send_to": send_to, "partition": partition, "when": when}


def store(stack, partition, *studies):
    with stack.web(partition) as web:
        for study in studies:
            assert web.store([instance.data for instance in study]).status == 200


def found_in(stack, partition):
    with stack.web(partition) as web:
        return set(uids(web.search("/instances", limit=1000), "00080018"))


def sops(*studies):
    return {instance.sop_uid for study in studies for instance in study}


def jobs(stack, partition):
    async def read():
        objects = stack.open_store()
        found = await JobLedger(objects, stack.sealer).jobs(partition, 100)
        await objects.close()
        return found

    return asyncio.run(read())


def test_studies_go_where_their_rules_say_and_the_job_tells_why(stack, route, capsys):
    ct, mr = generate_study(1, "CT", instances=3, size=(64, 64)), generate_study(2, "MR", instances=2)
    route(
        {
            "destinations": {
                "ai": by_dimse(stack),
                "copy": {"kind": "stow", "url": stack.base_url("copy")},
            },
            "rules": [
                rule("ct-to-ai", "ai", "source", modalities=["CT"]),
                rule("all-to-copy", "copy", "source"),
            ],
        }
    )
    store(stack, "source", ct, mr)
    wait_for(lambda: found_in(stack, "ai") == sops(ct), "the CT by C-STORE", SECONDS)
    wait_for(lambda: found_in(stack, "copy") == sops(ct, mr), "both by STOW-RS", SECONDS)
    wait_for(lambda: {job.state for job in jobs(stack, "source")} == {JOB_STATE_DONE}, "the jobs", SECONDS)
    [job] = [job for job in jobs(stack, "source") if job.rule == "ct-to-ai"]
    assert (job.instances, set(job.sent_sop_instance_uids)) == (3, sops(ct))
    assert (job.completion.instances, job.completion.quiet_us > 1_000_000) == (3, True)
    capsys.readouterr()
    root = stack.base_url().removesuffix("/dicom-web")
    assert main(["route", "jobs", "--url", root, "--partition", "source", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {(one["rule"], one["state"], one["sent"]) for one in shown} == {
        ("ct-to-ai", "done", 3),
        ("all-to-copy", "done", 3),
        ("all-to-copy", "done", 2),
    }


def test_a_released_association_makes_its_study_complete_sooner(stack, route):
    study = generate_study(5, "SC", instances=2)
    route(
        {
            "quiet_seconds": 600.0,
            "released_quiet_seconds": 1.0,
            "destinations": {"copy": {"kind": "stow", "url": stack.base_url("sooner")}},
            "rules": [rule("to-copy", "copy", "ai", modalities=["OT"])],
        }
    )
    items = [
        Outgoing(each.sop_class_uid, each.sop_uid, each.transfer_syntax_uid, each.data_set) for each in study
    ]
    assert store_all(stack.peer_of("AI"), items) == [0, 0]
    wait_for(lambda: found_in(stack, "sooner") == sops(study), "the study", SECONDS)
    [job] = [job for job in jobs(stack, "ai") if job.rule == "to-copy"]
    assert job.completion.associations_released


def test_a_router_that_is_killed_goes_on_where_it_was(stack, route):
    study = generate_study(3, "SC", instances=150)
    routes = {
        "destinations": {"copy": {"kind": "stow", "url": stack.base_url("resumed")}},
        "rules": [rule("to-copy", "copy", "resuming")],
    }
    router = route(routes)
    store(stack, "resuming", study)
    wait_for(lambda: jobs(stack, "resuming"), "the job", SECONDS)
    router.send_signal(signal.SIGKILL)
    router.wait(30)
    route(routes)
    wait_for(lambda: found_in(stack, "resumed") == sops(study), "all of it", SECONDS)
    wait_for(lambda: jobs(stack, "resuming")[0].state == JOB_STATE_DONE, "the job's end", SECONDS)
    assert len(jobs(stack, "resuming")) == 1


def test_a_destination_that_is_away_is_tried_again_and_holds_up_no_other(stack, route):
    study = generate_study(4, "SC", instances=2)
    away = free_port()
    route(
        {
            "destinations": {
                "away": by_dimse(stack, away),
                "copy": {"kind": "stow", "url": stack.base_url("beside")},
            },
            "rules": [rule("to-away", "away", "waiting"), rule("to-copy", "copy", "waiting")],
        }
    )
    store(stack, "waiting", study)
    wait_for(lambda: found_in(stack, "beside") == sops(study), "the other destination", SECONDS)

    def put_off():
        return [job for job in jobs(stack, "waiting") if job.rule == "to-away" and job.attempts]

    [job] = wait_for(put_off, "the attempt that fails", SECONDS)
    assert job.state == JOB_STATE_WAITING
    assert job.last_trouble
    assert job.next_attempt_at_us > job.changed_at_us


def test_routes_that_are_wrong_stop_the_router_with_a_word(stack, route, capfd):
    router = route({"destinations": {}, "rules": [{"name": "r", "send_to": "nowhere"}]}, ready=False)
    assert router.wait(30) != 0
    assert "which is no destination" in capfd.readouterr().err
