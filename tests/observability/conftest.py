"""An archive with login as a person starts it, and what people and devices do with it all day."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from gantry_dicom.errors import GantryError
from gantry_embedded.ports import free_port
from gantry_testing.dimse import Peer, echo, store_all
from gantry_testing.recording import outgoing
from gantry_testing.synthetic import generate_study
from gantry_testing.web import encode_multipart
from pydicom import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, build_role, evt

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "charts" / "gantry" / "files"
GET = "1.2.840.10008.5.1.4.1.2.2.3"
COMMITMENT = "1.2.840.10008.1.20.1"
COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
ENVIRONMENT = {
    # Everything that comes about by itself comes about soon.
    "GANTRY_SCRUB_EVERY_DAYS": "0",
    "GANTRY_SCRUB_SECONDS": "2",
    "GANTRY_CAPACITY_SECONDS": "2",
    "GANTRY_SWEEP_SECONDS": "2",
    "GANTRY_AUDIT_INDEX_SECONDS": "1",
    "GANTRY_POLICY_GOOD_FOR_SECONDS": "60",
    "GANTRY_POLICY_PUBLISH_SECONDS": "5",
    # Nobody listens there: spans are lost, and exemplars are kept all the same.
    "GANTRY_OTLP_ENDPOINT": "http://127.0.0.1:1",
}


def gantry(*arguments, **environment):
    command = [sys.executable, "-P", "-m", "gantry_cli", *map(str, arguments)]
    return subprocess.run(
        command, check=True, timeout=240, capture_output=True, text=True, env=os.environ | environment
    ).stdout


ALLOWED = ("--may", "store", "--may", "find", "--may", "move")


class Archive:
    """An archive with login, started as a person would, and a router beside it."""

    def __init__(self, folder):
        self.state = folder / "state"
        gantry("up", "--detach", "--store", "file", "--state", self.state, **ENVIRONMENT)
        self.facts = json.loads((self.state / "supervisor.json").read_text())["facts"]
        self.ports = json.loads((self.state / "ports.json").read_text()) | {"router": free_port()}
        self.ports.pop("dimse")
        self.router = self.start_router(folder)
        for title in ("CT1", "WS1"):
            gantry("ae", "add", title, *ALLOWED, "--state", self.state)
        # Where nobody listens: reports of commitments go there again and again.
        place = ("--host", "127.0.0.1", "--port", free_port())
        gantry("ae", "add", "DEAF", *ALLOWED, *place, "--state", self.state)

    def peer(self, title):
        """Return the listener, as ``title`` calls it."""
        facts = self.facts
        return Peer(facts["dimse_host"], facts["dimse_port"], facts["ae_title"], calling_ae_title=title)

    def pid(self, name):
        """Return the process id of a service."""
        children = json.loads((self.state / "supervisor.json").read_text())["children"]
        (pid,) = [child["pid"] for child in children if child["name"] == name]
        return pid

    def surroundings(self, name):
        """Return the environment that a service was started with."""
        pairs = Path("/proc", str(self.pid(name)), "environ").read_bytes().decode().split("\0")
        return dict(pair.split("=", 1) for pair in pairs if "=" in pair)

    def start_router(self, folder):
        """Start the router with the surroundings of the ingest that runs."""
        routes = folder / "routes.json"
        unreachable = {"kind": "dimse", "ae_title": "AI", "host": "127.0.0.1", "port": free_port()}
        rule = {"name": "to-ai", "send_to": "ai", "when": {"modalities": ["CT"]}}
        routes.write_text(
            # It gives up after seven seconds.
            json.dumps(
                {
                    "destinations": {"ai": unreachable},
                    "rules": [rule],
                    "quiet_seconds": 1,
                    "give_up_hours": 0.002,
                }
            )
        )
        surroundings = self.surroundings("ingest") | {
            "GANTRY_ROUTES_FILE": str(routes),
            "GANTRY_ROUTES_SECONDS": "1",
            "GANTRY_HTTP_PORT": str(self.ports["router"]),
        }
        with (folder / "router.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "gantry_ingest", "route"], env=surroundings, stderr=log
            )

    def stop(self):
        self.router.send_signal(signal.SIGTERM)
        self.router.wait(30)
        gantry("down", "--state", self.state)


class Load:
    """What people and devices do all day, once a round."""

    def __init__(self, archive):
        self.archive = archive
        token = gantry("token", "--state", archive.state).strip()
        self.web = httpx.Client(
            base_url=archive.facts["dicomweb_url"],
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
        )
        self.numbers = iter(range(5000, 9000))

    def round(self):
        number = next(self.numbers)
        for modality in ("CT", "MR"):
            sent = generate_study(number, modality, instances=2, size=(64, 64))
            store_all(self.archive.peer("CT1"), [outgoing(instance) for instance in sent])
        (one,) = generate_study(next(self.numbers), "US", instances=1, size=(64, 64))
        content_type, body = encode_multipart([one.data])
        self.web.post("/studies", content=body, headers={"Content-Type": content_type})
        study = f"/studies/{one.study_uid}"
        instance = f"{study}/series/{one.series_uid}/instances/{one.sop_uid}"
        for path in ("/studies", f"{study}/metadata", f"{instance}/frames/1", f"{instance}/rendered"):
            for _ in range(2):
                self.web.get(path)
        self.web.get(
            f"{instance}/frames/1",
            headers={"Accept": "multipart/related; type=image/jls; transfer-syntax=1.2.840.10008.1.2.4.80"},
        )
        self.web.get(f"{study}/thumbnail")
        self.get(one)
        self.commit(one)
        self.try_what_is_not_allowed()

    def get(self, instance):
        """Query and retrieve by DIMSE."""
        key = Dataset()
        key.QueryRetrieveLevel = "STUDY"
        key.StudyInstanceUID = instance.study_uid
        entity = AE("WS1")
        entity.add_requested_context(GET)
        entity.add_requested_context(instance.sop_class_uid)
        association = self.associate(
            entity,
            [build_role(instance.sop_class_uid, scp_role=True)],
            [(evt.EVT_C_STORE, lambda _: 0)],
        )
        list(association.send_c_get(key, GET))
        association.release()

    def commit(self, instance, title="CT1"):
        """Ask for the commitment of an instance."""
        asked, item = Dataset(), Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = instance.sop_class_uid, instance.sop_uid
        asked.TransactionUID = generate_uid()
        asked.ReferencedSOPSequence = [item]
        entity = AE(title)
        entity.add_requested_context(COMMITMENT)
        association = self.associate(entity)
        association.send_n_action(asked, 1, COMMITMENT, COMMITMENT_INSTANCE)
        association.release()

    def associate(self, entity, roles=(), handlers=()):
        peer = self.archive.peer(entity.ae_title)
        return entity.associate(
            peer.host,
            peer.port,
            ae_title=peer.called_ae_title,
            ext_neg=list(roles),
            evt_handlers=list(handlers),
        )

    def try_what_is_not_allowed(self):
        httpx.get(self.archive.facts["dicomweb_url"] + "/studies")
        with suppress(GantryError):
            echo(self.archive.peer("STRANGER"))
        # A health check of a load balancer.
        facts = self.archive.facts
        socket.create_connection((facts["dimse_host"], facts["dimse_port"]), 5).close()
        self.guess_a_password()

    def guess_a_password(self):
        login = self.archive.facts["issuer"] + "/login"
        with httpx.Client(headers={"Sec-Fetch-Site": "same-origin"}) as browser:
            key = re.search(r'name="key" value="([^"]+)"', browser.get(login).text)[1]
            form = {"key": key, "name": "admin", "password": "a guess", "next": "/"}
            browser.post(login, data=form)


@pytest.fixture(scope="session")
def rule_files():
    """Every rule file of the chart."""
    return sorted((FILES / "rules").glob("*.yaml"))


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """The archive; it is started once for all tests."""
    running = Archive(tmp_path_factory.mktemp("archive"))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def load(archive):
    """What people and devices do; each call of ``round`` is once all of it."""
    return Load(archive)
