"""The policies let through what the services need, both ends of it, and nothing else."""

from __future__ import annotations

import pytest


def policies_of(rendered, pod):
    return [
        policy["spec"]
        for policy in rendered.kind("NetworkPolicy")
        if policy["spec"]["podSelector"]["matchLabels"].items() <= pod.labels.items()
    ]


def rules_of(rendered, pod, direction):
    return [rule for policy in policies_of(rendered, pod) for rule in policy.get(direction, [])]


def allows(rule, direction, pod, port):
    """Whether a rule lets this pod at the other end, at this port."""
    numbers = [each["port"] for each in rule.get("ports", [])]
    if numbers and port not in numbers:
        return False
    peers = rule.get("from" if direction == "ingress" else "to")
    return not peers or any(
        peer.get("podSelector", {"matchLabels": {"": ""}})["matchLabels"].items() <= pod.labels.items()
        and "namespaceSelector" not in peer
        for peer in peers
    )


def may_connect(rendered, client, server, port):
    """Whether both ends allow it."""
    out = any(allows(rule, "egress", server, port) for rule in rules_of(rendered, client, "egress"))
    return out and any(
        allows(rule, "ingress", client, port) for rule in rules_of(rendered, server, "ingress")
    )


def pods_by_component(rendered):
    return {pod.component: pod for pod in rendered.pods()}


def test_everything_is_denied_that_is_not_allowed(rendered, renderings):
    policies = rendered.kind("NetworkPolicy")
    if rendered is renderings["everything-off"]:
        assert not policies
        return
    assert all(policy["spec"]["policyTypes"] == ["Ingress", "Egress"] for policy in policies)
    for pod in rendered.pods():
        specs = policies_of(rendered, pod)
        assert any("ingress" not in spec and "egress" not in spec for spec in specs), "no default deny"
        assert len(specs) == 2, f"{pod.name} has no policy of its own, or several"


def test_every_policy_is_of_pods(rendered):
    for policy in rendered.kind("NetworkPolicy"):
        assert rendered.selected(policy["spec"]["podSelector"]["matchLabels"]), policy["metadata"]["name"]


def test_ports_that_are_opened_are_ports_of_the_pods(rendered):
    for pod in rendered.pods():
        for rule in rules_of(rendered, pod, "ingress"):
            assert {port["port"] for port in rule["ports"]} <= set(pod.ports().values()), pod.name
            assert all(port["protocol"] == "TCP" for port in rule["ports"])


def test_every_port_of_a_pod_is_opened_to_somebody(renderings):
    for name in ("defaults", "everything-on", "network"):
        rendered = renderings[name]
        for pod in rendered.pods():
            opened = {port["port"] for rule in rules_of(rendered, pod, "ingress") for port in rule["ports"]}
            assert opened == set(pod.ports().values()), pod.name


def test_everybody_may_resolve_names(rendered):
    for pod in rendered.pods():
        rules = rules_of(rendered, pod, "egress")
        protocols = {
            port["protocol"] for rule in rules for port in rule.get("ports", []) if port["port"] == 53
        }
        if rules:
            assert protocols == {"UDP", "TCP"}


STORE, DATABASE, QUEUE = ("s3", 8333), ("postgresql", 5432), ("valkey", 6379)
NEEDS = {
    "auth": {STORE, DATABASE, QUEUE},
    "gateway": {STORE, DATABASE, QUEUE, ("auth", 8080)},
    "ingest": {STORE, DATABASE, QUEUE, ("auth", 8080)},
    "indexer": {STORE, DATABASE, QUEUE},
    "indexer-worker": {STORE, DATABASE, QUEUE},
    "storage": {STORE, DATABASE, QUEUE},
    "router": {STORE, DATABASE, QUEUE},
    "migrations": {DATABASE},
    "test": {
        ("auth", 8080),
        ("gateway", 8080),
        ("ingest", 8080),
        ("ingest", 11112),
        ("indexer", 8080),
        ("indexer-worker", 8080),
        ("storage", 8080),
        ("router", 8080),
    },
    "postgresql": set(),
    "valkey": set(),
    "s3": set(),
}


def test_components_reach_what_they_need_and_no_more(renderings):
    rendered = renderings["everything-on"]
    pods = pods_by_component(rendered)
    assert pods.keys() == NEEDS.keys()
    for client in pods.values():
        reached = {
            (server.component, port)
            for server in pods.values()
            for port in server.ports().values()
            if may_connect(rendered, client, server, port)
        }
        # Devices are anybody by default: a router's destination may be this archive's own listener.
        assert reached - {("ingest", 11112), ("ingest", 2762)} == NEEDS[client.component] - {
            ("ingest", 11112)
        }, client.component


def test_servers_of_the_site_are_reached_at_their_ports(renderings):
    pods = pods_by_component(renderings["defaults"])
    for component in ("auth", "gateway", "ingest", "indexer", "indexer-worker", "storage"):
        ports = {
            port["port"]
            for rule in rules_of(renderings["defaults"], pods[component], "egress")
            for port in rule.get("ports", [])
        }
        assert {53, 443, 5432, 6379} <= ports, component


def test_migrations_may_reach_the_database_before_anything_else_is_installed(renderings):
    """Their policy and account are made before them, in the same phase."""
    for rendered in (renderings["defaults"], renderings["trial"]):
        hooks = {
            each["kind"]: each["metadata"]["annotations"]
            for each in rendered.objects
            if each["metadata"]["labels"]["app.kubernetes.io/component"] == "migrations"
        }
        assert hooks.keys() == {"Job", "ServiceAccount", "NetworkPolicy"}
        assert len({said["helm.sh/hook"] for said in hooks.values()}) == 1
        weights = {kind: int(said["helm.sh/hook-weight"]) for kind, said in hooks.items()}
        assert weights["NetworkPolicy"] < weights["Job"]
        assert weights["ServiceAccount"] < weights["Job"]


@pytest.mark.parametrize("component", ["gateway", "auth", "ingest", "indexer", "indexer-worker", "storage"])
def test_prometheus_may_scrape(renderings, component):
    rendered = renderings["defaults"]
    rules = rules_of(rendered, pods_by_component(rendered)[component], "ingress")
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert any(monitoring in rule.get("from", []) and rule["ports"][0]["port"] == 8080 for rule in rules)


def test_traces_may_leave_where_they_are_sent(renderings):
    pods = pods_by_component(renderings["everything-on"])
    rules = rules_of(renderings["everything-on"], pods["gateway"], "egress")
    assert any({"port": 4318, "protocol": "TCP"} in rule.get("ports", []) for rule in rules)
