"""What objects say of each other is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

CHART = Path(__file__).resolve().parents[2] / "charts" / "gantry"


def test_services_select_the_pods_they_are_for(rendered):
    for service in rendered.kind("Service"):
        pods = rendered.selected(service["spec"]["selector"])
        assert len(pods) == 1, f"{service['metadata']['name']} selects {[pod.name for pod in pods]}"
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in pods[0].ports()
        assert service["metadata"]["labels"]["app.kubernetes.io/component"] == pods[0].component


def test_components_select_their_own_pods_only(rendered):
    for owner in rendered.kind("Deployment", "StatefulSet", "PodDisruptionBudget"):
        selector = owner["spec"]["selector"]["matchLabels"]
        pods = rendered.selected(selector)
        assert [pod.component for pod in pods] == [owner["metadata"]["labels"]["app.kubernetes.io/component"]]


def test_pods_are_spread_among_their_own(rendered):
    for pod in rendered.pods():
        for constraint in pod.spec.get("topologySpreadConstraints", []):
            assert rendered.selected(constraint["labelSelector"]["matchLabels"]) == [pod]


def test_pods_of_a_component_are_spread_by_default(renderings):
    for pod in renderings["defaults"].pods():
        if pod.owner["kind"] in {"Deployment", "StatefulSet"} and pod.component != "storage":
            keys = {each["topologyKey"] for each in pod.spec["topologySpreadConstraints"]}
            assert keys == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}


def test_stateful_sets_name_a_service(rendered):
    for each in rendered.kind("StatefulSet"):
        assert each["spec"]["serviceName"] in rendered.names("Service")


def test_autoscalers_and_budgets_are_of_something(rendered):
    for autoscaler in rendered.kind("HorizontalPodAutoscaler"):
        target = autoscaler["spec"]["scaleTargetRef"]
        assert target["name"] in rendered.names(target["kind"])
        (owner,) = [
            each for each in rendered.kind(target["kind"]) if each["metadata"]["name"] == target["name"]
        ]
        # Who sets a number would undo what the autoscaler did at each upgrade.
        assert "replicas" not in owner["spec"]
        assert autoscaler["spec"]["metrics"]
        assert autoscaler["spec"]["minReplicas"] <= autoscaler["spec"]["maxReplicas"]


def test_budgets_let_a_node_be_drained(rendered):
    """No budget forbids the only pod to go."""
    for budget in rendered.kind("PodDisruptionBudget"):
        (pod,) = rendered.selected(budget["spec"]["selector"]["matchLabels"])
        assert budget["spec"]["maxUnavailable"] == 1
        assert pod.owner["spec"].get("replicas", 2) > 1


@pytest.mark.parametrize("name", ["defaults", "hospital", "network"])
def test_what_takes_connections_has_a_budget(renderings, name):
    components = {
        each["metadata"]["labels"]["app.kubernetes.io/component"]
        for each in renderings[name].kind("PodDisruptionBudget")
    }
    assert components == {"auth", "gateway", "ingest", "indexer", "indexer-worker"}


def test_service_accounts_are_there_and_have_no_rights(rendered):
    for pod in rendered.pods():
        if pod.is_ours:
            assert pod.spec["serviceAccountName"] in rendered.names("ServiceAccount")
    assert all(each["automountServiceAccountToken"] is False for each in rendered.kind("ServiceAccount"))
    assert not rendered.kind("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


def test_volumes_and_mounts_meet(rendered):
    for pod in rendered.pods():
        volumes = {volume["name"] for volume in pod.spec["volumes"]}
        volumes |= {claim["metadata"]["name"] for claim in pod.owner["spec"].get("volumeClaimTemplates", [])}
        mounts = pod.container["volumeMounts"]
        assert {mount["name"] for mount in mounts} == volumes, pod.name
        paths = [mount["mountPath"] for mount in mounts]
        assert len(set(paths)) == len(paths)
        assert "/tmp" in paths


def given_in(value_set, documented):
    """Return the names that values or profile say, and those that values.yaml documents."""
    words = json.dumps(value_set.values)
    if value_set.profile:
        words += (CHART / "profiles" / f"{value_set.profile}.yaml").read_text()
    return lambda name: name in documented or name in words


def secret_references(pod):
    """Yield (name, key) of each Secret a pod needs; key None is the whole of it."""
    for entry in pod.environment().values():
        if reference := entry.get("valueFrom", {}).get("secretKeyRef"):
            yield reference["name"], reference["key"]
    for volume in pod.spec["volumes"]:
        if "secret" in volume:
            yield volume["secret"]["secretName"], None
    for pull in pod.spec.get("imagePullSecrets", []):
        yield pull["name"], None


def test_secrets_are_made_here_or_known_to_be_given(renderings, value_sets, documented):
    for name, rendered in renderings.items():
        is_given = given_in(value_sets[name], documented)
        made = {
            each["metadata"]["name"]: each.get("data", {}) | each.get("stringData", {})
            for each in rendered.kind("Secret")
        }
        issued = {each["spec"]["secretName"] for each in rendered.kind("Certificate")}
        for pod in rendered.pods():
            for secret, key in secret_references(pod):
                if secret in made:
                    assert key is None or made[secret][key], f"{pod.name}: {secret}/{key}"
                else:
                    assert secret in issued or is_given(secret), f"{pod.name}: {secret}"


def test_files_of_secrets_are_keys_of_them(renderings):
    for rendered in renderings.values():
        made = {each["metadata"]["name"]: each.get("stringData", {}) for each in rendered.kind("Secret")}
        for pod in rendered.pods():
            volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
            for mount in pod.container["volumeMounts"]:
                secret = volumes.get(mount["name"], {}).get("secret", {}).get("secretName")
                if "subPath" in mount and secret in made:
                    assert mount["subPath"] in made[secret]


def test_config_maps_and_claims_are_there(renderings, value_sets, documented):
    for name, rendered in renderings.items():
        is_given = given_in(value_sets[name], documented)
        for pod in rendered.pods():
            for volume in pod.spec["volumes"]:
                if "configMap" in volume:
                    assert volume["configMap"]["name"] in rendered.names("ConfigMap")
                if claim := volume.get("persistentVolumeClaim"):
                    made = rendered.names("PersistentVolumeClaim")
                    assert claim["claimName"] in made or is_given(claim["claimName"])


def test_what_cannot_be_made_again_stays_when_the_release_goes(renderings):
    kept = renderings["trial"].kind("Secret") + renderings["small-clinic"].kind(
        "PersistentVolumeClaim", "Secret"
    )
    assert len(kept) == 4
    assert all(each["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for each in kept)


def test_bundled_connection_strings_lead_to_the_bundled_servers(renderings):
    from urllib.parse import urlsplit

    for rendered in (renderings["trial"], renderings["everything-on"]):
        (secret,) = [each for each in rendered.kind("Secret") if "index-dsn" in each.get("stringData", {})]
        data = secret["stringData"]
        ports = {
            each["metadata"]["name"]: each["spec"]["ports"][0]["port"] for each in rendered.kind("Service")
        }
        for key, password in (
            ("index-dsn", "postgres-password"),
            ("core-dsn", "postgres-password"),
            ("redis-url", "valkey-password"),
        ):
            parts = urlsplit(data[key])
            assert ports[parts.hostname] == parts.port
            assert parts.password == data[password]
        (identity,) = json.loads(data["s3.json"])["identities"]
        assert identity["credentials"] == [
            {"accessKey": data["s3-access-key"], "secretKey": data["s3-secret-key"]}
        ]
        assert f"requirepass {data['valkey-password']}" in data["valkey.conf"]


def test_devices_arrive_with_their_own_address(renderings):
    for rendered in renderings.values():
        (service,) = [
            each["spec"]
            for each in rendered.kind("Service")
            if any(port["name"] == "dimse" for port in each["spec"]["ports"])
        ]
        if service["type"] != "ClusterIP":
            assert service["externalTrafficPolicy"] == "Local"


def test_the_ingress_leads_to_services_and_shows_no_metrics(rendered):
    services = {each["metadata"]["name"]: each["spec"]["ports"] for each in rendered.kind("Service")}
    for ingress in rendered.kind("Ingress"):
        (rule,) = ingress["spec"]["rules"]
        for path in rule["http"]["paths"]:
            backend = path["backend"]["service"]
            assert backend["port"]["name"] in [port["name"] for port in services[backend["name"]]]
            for hidden in ("/metrics", "/livez", "/readyz"):
                assert not hidden.startswith(path["path"])


def test_the_ingress_leads_to_every_route_of_the_gateway(renderings, tmp_path):
    from gantry_gateway.app import create_app
    from gantry_gateway.settings import GatewaySettings

    (tmp_path / "index.html").write_text("<html></html>")
    app = create_app(
        GatewaySettings(
            store_url=f"file://{tmp_path}",
            index_dsn="postgresql://",
            redis_url="redis://",
            seal_keys=f"k1:{'0' * 64}",
            auth_url="http://auth",
            viewer_folder=tmp_path,
        )
    )
    first = {"/" + route.path.split("/")[1] for route in app.routes}
    (ingress,) = renderings["everything-on"].kind("Ingress")
    paths = {path["path"] for path in ingress["spec"]["rules"][0]["http"]["paths"]}
    assert first - {"/livez", "/readyz", "/metrics"} == paths


def test_the_host_is_that_of_the_public_url(renderings):
    (ingress,) = renderings["hostile-texts"].kind("Ingress")
    assert ingress["spec"]["rules"][0]["host"] == "pacs-1.example.org"
    assert ingress["spec"]["tls"][0]["hosts"] == ["pacs-1.example.org"]
