"""What the chart is rendered with: the profiles, and values and names that somebody will come up with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ValueSet:
    """One installation: profiles first, values over them."""

    profile: str = ""
    values: Values = field(default_factory=dict)
    release: str = "gantry"
    namespace: str = "pacs"
    kube_version: str = "1.32.0"


SERVICES = ("auth", "gateway", "indexer", "ingest", "storage")
# As long as Helm lets a release be called, with what a Service may not be called.
LONG_RELEASE = "7.tesla-" + "a-very-long-name-of-a-department.of-radiology"
QUOTES = """it's "quoted": {{ .Release.Name }} #$(HOME) `id` \\ é 日本"""
SCALING = {"enabled": True, "minReplicas": 1, "maxReplicas": 3}
NOTHING: Values = {"resources": {}, "pod": {}}

EVERYTHING_ON: Values = {
    "commonLabels": {"team": "imaging"},
    "access": {
        "openRegistration": True,
        "federatedIssuers": [
            {
                "issuer": "https://login.example.org",
                "audience": "pacs",
                "role_claim": "roles",
                "grants": {"radiologists": ["clinician@main"]},
            }
        ],
    },
    "trust": {"secretName": "site-ca"},
    "tracing": {"otlpEndpoint": "http://collector.tracing:4318", "share": 0.01},
    "image": {
        "registry": "registry.example.org:5000",
        "tag": "1.2.3",
        "digests": {"ingest": "sha256:" + "0a" * 32},
        "pullSecrets": ["registry"],
    },
    "pod": {
        "annotations": {"site/note": "all"},
        "nodeSelector": {"pool": "pacs"},
        "tolerations": [{"key": "pacs", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "priorityClassName": "high",
    },
    "gateway": {
        "autoscaling": SCALING,
        "viewer": {"existingClaim": "viewer"},
        "service": {"type": "LoadBalancer", "nodePort": 30080, "annotations": {"a/b": "c"}},
        "spool": {"storageClass": "fast"},
        "workers": 4,
        "settings": {"GANTRY_STOW_BODY_BYTES": 274877906944, "GANTRY_SEARCH_EMPTY_204": True},
    },
    "ingest": {
        "partitions": {"SECOND": "second"},
        "moveDestinations": {"STATION": "10.0.0.1:104"},
        "userIdentityRequired": True,
        "service": {"nodePort": 31112, "tlsNodePort": 31762, "loadBalancerSourceRanges": ["10.0.0.0/8"]},
        "tls": {
            "enabled": True,
            "secretName": "dimse",
            "clients": "optional",
            "clientAuthority": {"secretName": "devices-ca"},
        },
        "autoscaling": SCALING | {"associations": {"metric": "gantry_dimse_associations", "target": 50}},
    },
    "indexer": {
        "replacingSources": ["WORKSTATION", "client:corrector"],
        "consume": {
            "autoscaling": SCALING | {"queueDepth": {"metric": "gantry_index_stream_depth", "target": 500}}
        },
        "worker": {"autoscaling": SCALING},
    },
    "router": {
        "enabled": True,
        "routes": {
            "destinations": {
                "ai": {"kind": "dimse", "ae_title": "AI", "host": "10.0.0.9", "port": 104},
                "vna": {
                    "kind": "stow",
                    "url": "https://vna.example/dicom-web",
                    "token_file": "/run/gantry/route-tokens/vna",
                },
            },
            "rules": [{"name": "ct", "send_to": "ai", "when": {"modalities": ["CT"]}}],
        },
        "tokensSecret": "route-tokens",
    },
    "bundled": {
        "postgresql": {"enabled": True, "storageClass": "fast"},
        "valkey": {"enabled": True},
        "s3": {"enabled": True},
    },
    "ingress": {"className": "nginx", "tls": {"certManager": {"clusterIssuer": "public"}}},
    "networkPolicy": {"clients": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]},
    "monitoring": {
        "serviceMonitors": {"enabled": True, "labels": {"release": "prometheus"}},
        "rules": {"enabled": True, "labels": {"release": "prometheus"}},
        "dashboards": {"enabled": True, "annotations": {"folder": "Gantry"}},
    },
}

EVERYTHING_OFF: Values = {
    "access": {"policy": "closed", "log": {"persistent": False}},
    "security": {"runAsUser": None, "runAsGroup": None, "fsGroup": None},
    "objectStore": {"s3": {"secret": {"name": ""}}},
    "topologySpread": [],
    "disruptionBudgets": {"enabled": False},
    "gateway": NOTHING | {"replicas": 0, "settings": {}},
    "ingest": NOTHING | {"replicas": 0, "service": {"type": "ClusterIP"}, "tls": {"enabled": False}},
    "indexer": {"consume": NOTHING | {"replicas": 0}, "worker": NOTHING | {"replicas": 0}},
    "storage": NOTHING,
    "migrations": {"enabled": False},
    "ingress": {"enabled": False, "annotations": {}, "trustedProxies": []},
    "networkPolicy": {"enabled": False},
    "tests": {"enabled": False},
}

HOSTILE_TEXTS: Values = {
    "nameOverride": "x-ray",
    "commonLabels": {"app.kubernetes.io/name": "taken-over", "a.b/c": "", "team": "9"},
    "publicUrl": "https://PACS-1.example.org:8443/",
    "image": {"registry": "[fd00::1]:5000", "repository": "a/b/c", "references": {"auth": "other/auth:1"}},
    "objectStore": {
        "s3": {"bucket": "a.b-c", "prefix": "/x/y/", "endpoint": "https://[fd00::2]:9000", "style": "virtual"}
    },
    "pod": {"annotations": {"note": QUOTES, "lines": "a: 1\n# b\n---\nc"}},
    "gateway": {
        "pod": {
            "annotations": {"note": "true"},
            "labels": {"app.kubernetes.io/component": "ingest", "n": "1"},
        },
        "settings": {"GANTRY_CORS_ORIGINS": QUOTES},
    },
    "ingest": {
        "aeTitle": "A'B\"C: #{{x}} -",
        "partitions": {"*&!": "p-1", "{}": "p2", "- x": "p3", "yes": "n"},
        "moveDestinations": {"A B": "[fd00::3]:104", "null": "station.example:11112"},
        "service": {"annotations": {"note": QUOTES}, "type": "NodePort"},
    },
    "indexer": {"replacingSources": ["client:é", "A B", "https://idp.example#7"]},
    "router": {
        "enabled": True,
        "routes": {
            "destinations": {"d": {"kind": "dimse", "ae_title": "D", "host": "d", "port": 104}},
            "rules": [{"name": QUOTES, "send_to": "d", "when": {"study_description": QUOTES}}],
        },
    },
    "ingress": {"annotations": {"snippet": 'if ($host = "x") {\n  return 403;\n}\n', "empty": ""}},
}

VALUE_SETS = {
    "defaults": ValueSet(),
    "trial": ValueSet("trial"),
    "small-clinic": ValueSet("small-clinic"),
    "hospital": ValueSet("hospital"),
    "network": ValueSet("network"),
    "everything-on": ValueSet(values=EVERYTHING_ON),
    "everything-off": ValueSet(values=EVERYTHING_OFF),
    "long-release": ValueSet("hospital", release=LONG_RELEASE[:53], namespace="n" * 63),
    "hostile-texts": ValueSet(values=HOSTILE_TEXTS, release="0"),
    "open-ipv6": ValueSet(
        "small-clinic",
        {
            "listenHost": "::",
            "access": {"policy": "open"},
            "fullnameOverride": "archive-of-the-radiological-department-x",
            "objectStore": {"file": {"existingClaim": "images", "accessMode": "ReadWriteMany"}},
            "gateway": {"service": {"type": "NodePort"}},
        },
    ),
    "oldest-kubernetes": ValueSet("network", kube_version="1.20.2"),
}
