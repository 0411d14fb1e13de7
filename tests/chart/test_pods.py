"""What pods may do, what they are told, and how they end."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest
from gantry_messaging.celery_app import HARD_LIMIT
from gantry_web.serve import DRAIN_SECONDS

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "auth": "AuthSettings",
    "gateway": "GatewaySettings",
    "indexer": "IndexerSettings",
    "ingest": "IngestSettings",
    "storage": "StorageSettings",
}
# Read by uvicorn, not by our settings.
OTHERS = {"FORWARDED_ALLOW_IPS"}
# What stands in for what Secrets hold.
SECRETS = {
    "GANTRY_SEAL_KEYS": f"k1:{'0' * 64}",
    "GANTRY_REDIS_URL": "redis://:secret@redis:6379/0",
    "GANTRY_INDEX_DSN": "postgresql://gantry:secret@postgres/index",
    "GANTRY_CORE_DSN": "postgresql://gantry:secret@postgres/core",
    "GANTRY_S3_ACCESS_KEY": "access",
    "GANTRY_S3_SECRET_KEY": "secret",
}
# Of the listener, beyond what its workers take to drain (entrypoints/listener.py).
LISTENER_MARGIN = 10


def service_of(pod):
    return re.sub(r"@.*|:[^/]*$", "", pod.container["image"]).rpartition("/")[2]


def services(rendered):
    """Return the pods that run a service for ever."""
    return [
        pod for pod in rendered.pods() if pod.is_ours and pod.owner["kind"] in {"Deployment", "StatefulSet"}
    ]


def values_of(pod):
    """Return the environment of a pod, with stand-ins for what is secret."""
    return {
        name: entry["value"] if "value" in entry else SECRETS[name]
        for name, entry in pod.environment().items()
    }


def test_containers_can_do_nothing_but_their_work(rendered):
    for pod in rendered.pods():
        security = pod.container["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["privileged"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod.spec["securityContext"]["runAsNonRoot"] is True
        assert pod.spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod.spec["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & pod.spec.keys()
        assert not any("hostPath" in volume for volume in pod.spec["volumes"])


def test_no_variable_of_a_service_is_mistaken_for_a_setting(rendered):
    # A Service called gantry-http would give GANTRY_HTTP_PORT=tcp://...
    assert all(pod.spec["enableServiceLinks"] is False for pod in rendered.pods())


def test_users_are_numbers_of_ordinary_users(renderings):
    for name in ("defaults", "everything-on", "hostile-texts"):
        for pod in renderings[name].pods():
            security = pod.spec["securityContext"]
            assert all(security[key] >= 999 for key in ("runAsUser", "runAsGroup", "fsGroup"))


def test_a_cluster_may_choose_the_users(renderings):
    for pod in renderings["everything-off"].pods():
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & pod.spec["securityContext"].keys()


def test_containers_have_bounds(renderings):
    for name, rendered in renderings.items():
        if name == "everything-off":
            continue
        for pod in rendered.pods():
            resources = pod.container["resources"]
            assert {"cpu", "memory"} <= resources["requests"].keys(), pod.name
            assert "memory" in resources["limits"], pod.name


def test_temporary_folders_are_bounded_and_never_memory(rendered):
    for pod in rendered.pods():
        for volume in pod.spec["volumes"]:
            if "emptyDir" in volume:
                assert "sizeLimit" in volume["emptyDir"], f"{pod.name} {volume['name']}"
                assert "medium" not in volume["emptyDir"]


def test_probes_ask_what_the_services_answer(rendered):
    for pod in services(rendered):
        container = pod.container
        assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "http"}
        assert container["startupProbe"]["httpGet"] == {"path": "/livez", "port": "http"}
        assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
        assert pod.ports()["http"] == int(pod.environment()["GANTRY_HTTP_PORT"]["value"])


def test_probes_and_scrapes_reach_what_listens(rendered):
    for pod in services(rendered):
        environment = pod.environment()
        assert environment["GANTRY_HTTP_HOST"]["value"] in {"0.0.0.0", "::"}
        if pod.component == "ingest":
            assert environment["GANTRY_DIMSE_HOST"] == environment["GANTRY_HTTP_HOST"] | {
                "name": "GANTRY_DIMSE_HOST"
            }
            assert int(environment["GANTRY_DIMSE_PORT"]["value"]) == pod.ports()["dimse"]
            if "dimse-tls" in pod.ports():
                assert int(environment["GANTRY_DIMSE_TLS_PORT"]["value"]) == pod.ports()["dimse-tls"]
            else:
                assert "GANTRY_DIMSE_TLS_PORT" not in environment


def test_every_port_names_its_protocol(rendered):
    # Server-side apply on older servers merges ports by number and protocol.
    ports = [port for pod in rendered.pods() for port in pod.container.get("ports", [])]
    ports += [port for service in rendered.kind("Service") for port in service["spec"]["ports"]]
    assert ports
    assert all(port["protocol"] == "TCP" for port in ports)


def test_every_variable_is_a_setting_of_its_service(rendered, documents):
    for pod in services(rendered):
        real = documents.settings_of(service_of(pod)).keys() | OTHERS
        assert pod.environment().keys() <= real, pod.name


def test_services_start_with_what_they_are_told(rendered, monkeypatch):
    """The settings are read by the very classes that the services read them by."""
    for pod in services(rendered):
        service = service_of(pod)
        with monkeypatch.context() as environment:
            for name, value in values_of(pod).items():
                environment.setenv(name, value)
            settings = getattr(importlib.import_module(f"gantry_{service}.settings"), SETTINGS[service])()
        assert settings.http_port == 8080
        if pod.component == "ingest":
            assert settings.partitions()[settings.ae_title] == "main"


def test_what_was_set_arrives(renderings, monkeypatch):
    """Large numbers, lists and odd characters among it."""
    from gantry_auth.settings import AuthSettings
    from gantry_gateway.settings import GatewaySettings
    from gantry_ingest.settings import IngestSettings

    def read(name, component, settings):
        (pod,) = [pod for pod in services(renderings[name]) if pod.component == component]
        with monkeypatch.context() as environment:
            for key, value in values_of(pod).items():
                environment.setenv(key, value)
            return settings()

    gateway = read("everything-on", "gateway", GatewaySettings)
    assert gateway.stow_body_bytes == 274877906944
    assert gateway.search_empty_204 is True
    assert gateway.spool_bytes * gateway.http_workers < 40 << 30
    (issuer,) = read("everything-on", "auth", AuthSettings).federated_issuers
    assert issuer.grants == {"radiologists": ["clinician@main"]}
    ingest = read("hostile-texts", "ingest", IngestSettings)
    assert ingest.ae_title == "A'B\"C: #{{x}} -"
    assert ingest.partitions() == {ingest.ae_title: "main", "*&!": "p-1", "{}": "p2", "- x": "p3", "yes": "n"}
    assert ingest.named_destinations() == {"A B": ("fd00::3", 104), "null": ("station.example", 11112)}
    assert "é 日本" in read("hostile-texts", "gateway", GatewaySettings).cors_origins


def test_the_store_is_where_it_was_said_to_be(renderings):
    from gantry_objectstore.store import open_store

    def store_of(name):
        (pod,) = [pod for pod in services(renderings[name]) if pod.component == "storage"]
        url = pod.environment()["GANTRY_STORE_URL"]["value"]
        return url if url.startswith("file:") else open_store(url)

    hostile = store_of("hostile-texts")
    assert (hostile.bucket, hostile.prefix) == ("a.b-c", "x/y")
    assert hostile.endpoint == "https://[fd00::2]:9000"
    assert hostile.virtual_hosts
    assert store_of("trial").endpoint == "http://gantry-s3:8333"
    assert store_of("defaults").endpoint == ""
    assert store_of("small-clinic") == "file:///var/lib/gantry/objects"


def test_credentials_come_from_secrets_only(rendered):
    for pod in rendered.pods():
        for name, entry in pod.environment().items():
            if re.search(r"SECRET|PASSWORD|KEY|DSN|REDIS_URL", name):
                assert entry.keys() == {"name", "valueFrom"} or name.endswith(
                    ("TLS_KEY", "TLS_CERTIFICATE")
                ), name


def test_only_storage_has_the_credentials_that_delete(renderings):
    users = {
        pod.component
        for pod in services(renderings["network"])
        if pod.environment()["GANTRY_S3_SECRET_KEY"]["valueFrom"]["secretKeyRef"]["name"]
        == "gantry-object-store-administration"
    }
    assert users == {"storage"}


def test_leases_and_stores_agree(rendered):
    """Reception and sweeper must mean the same lease; records name the same store."""
    for name in ("GANTRY_LEASE_SECONDS", "GANTRY_STORE_ID", "GANTRY_STORE_URL", "GANTRY_POLICY"):
        said = {pod.environment()[name]["value"] for pod in services(rendered) if name in pod.environment()}
        assert len(said) == 1, f"{name}: {said}"


def grace(pod):
    return pod.spec["terminationGracePeriodSeconds"]


def pause(pod):
    command = pod.container["lifecycle"]["preStop"]["exec"]["command"][-1]
    return int(re.fullmatch(r"import time; time\.sleep\((\d+)\)", command)[1])


def test_pods_live_until_what_is_in_hand_is_done(rendered):
    for pod in services(rendered):
        if pod.component in {"gateway", "auth"}:
            assert grace(pod) >= pause(pod) + DRAIN_SECONDS + 20
        elif pod.component == "ingest":
            drain = float(pod.environment()["GANTRY_DRAIN_SECONDS"]["value"])
            assert grace(pod) >= pause(pod) + drain + LISTENER_MARGIN + 20
        elif pod.component == "indexer-worker":
            assert grace(pod) > HARD_LIMIT
        else:
            assert grace(pod) >= 45


def test_the_margin_of_the_listener_is_what_it_says():
    source = (ROOT / "services/ingest/gantry_ingest/entrypoints/listener.py").read_text()
    assert f"settings.drain_seconds + {LISTENER_MARGIN}.0" in source


@pytest.mark.parametrize("component", ["storage", "router"])
def test_there_are_never_two_of_a_singleton(renderings, component):
    (pod,) = [pod for pod in services(renderings["everything-on"]) if pod.component == component]
    assert pod.owner["kind"] == "Deployment"
    assert pod.owner["spec"]["replicas"] == 1
    assert pod.owner["spec"]["strategy"] == {"type": "Recreate"}


def test_arguments_are_commands_of_the_services(rendered):
    """``consume``, ``worker``, ``route``, ``migrate``: words that the entry points know."""
    for pod in rendered.pods():
        words = pod.container.get("args", [])
        command = pod.container.get("command", [])
        if not pod.is_ours or pod.component == "test":
            continue
        if command:
            assert command[:3] == ["python", "-P", "-m"]
            module, words = command[3], command[4:]
        else:
            module = f"gantry_{service_of(pod)}"
        source = next(ROOT.glob(f"*/*/{module}/__main__.py")).read_text()
        constants = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
        assert set(words) <= constants, f"{module} {words}"


def test_migrations_run_before_an_upgrade(renderings):
    for name, rendered in renderings.items():
        jobs = {job["metadata"]["name"]: job["metadata"]["annotations"] for job in rendered.kind("Job")}
        if name == "everything-off":
            assert not jobs
            continue
        assert jobs
        for said in jobs.values():
            assert "pre-upgrade" in said["helm.sh/hook"]
            assert said["helm.sh/hook-delete-policy"] == "before-hook-creation"


def test_a_bundled_database_is_migrated_once_it_is_there(renderings):
    for name, first in (("trial", "post-install"), ("hospital", "pre-install")):
        for each in renderings[name].kind("Job"):
            assert each["metadata"]["annotations"]["helm.sh/hook"] == f"{first},pre-upgrade"


def test_access_records_outlive_the_pod_where_they_are_to(renderings):
    recording = {"auth", "gateway", "ingest"}
    kinds = {pod.component: pod.owner["kind"] for pod in services(renderings["defaults"])}
    assert {component for component, kind in kinds.items() if kind == "StatefulSet"} == recording
    kinds = {pod.component: pod.owner["kind"] for pod in services(renderings["trial"])}
    assert set(kinds.values()) == {"Deployment"}
    for rendered in renderings.values():
        for pod in services(rendered):
            if folder := pod.environment().get("GANTRY_ACCESS_LOG_FOLDER"):
                assert folder["value"] in [mount["mountPath"] for mount in pod.container["volumeMounts"]]


def test_the_chart_restarts_what_read_a_file_once(helm):
    from chart_value_sets import VALUE_SETS, ValueSet

    def checksum(description):
        rule = {"name": "r", "send_to": "ai", "when": {"study_description": description}}
        values = VALUE_SETS["everything-on"].values
        routes = values["router"]["routes"] | {"rules": [rule]}
        rendered = helm.render(
            ValueSet(values=values | {"router": values["router"] | {"routes": routes}}),
            "--show-only",
            "templates/router/workload.yaml",
        )
        (pod,) = rendered.pods()
        return pod.owner["spec"]["template"]["metadata"]["annotations"]["gantry/checksum"]

    assert checksum("a") == checksum("a")
    assert checksum("a") != checksum("b")
