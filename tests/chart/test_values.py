"""The schema refuses what would fail later, and says what each value is; the documents say the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from jsonschema.validators import Draft7Validator

CHART = Path(__file__).resolve().parents[2] / "charts" / "gantry"
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())

REFUSED = {
    "an unknown value": {"gatway": {}},
    "an unknown value of a service": {"gateway": {"replica": 3}},
    "an unknown value of a shared shape": {"auth": {"resources": {"limit": {}}}},
    "a setting that is none": {"gateway": {"settings": {"GANTRY_NO_SUCH_THING": 1}}},
    "a setting of another service": {"auth": {"settings": {"GANTRY_STOW_BODY_BYTES": 1}}},
    "a setting that the chart makes": {"gateway": {"settings": {"GANTRY_STORE_URL": "s3://x"}}},
    "fault injection": {"indexer": {"settings": {"GANTRY_FAULTS": True}}},
    "a number as text": {"gateway": {"replicas": "2"}},
    "fewer pods than none": {"ingest": {"replicas": -1}},
    "a word as a switch": {"ingress": {"enabled": "yes"}},
    "an unknown policy": {"access": {"policy": "rule"}},
    "an AE title that is too long": {"ingest": {"aeTitle": "SEVENTEEN-LETTERS"}},
    "an AE title with a backslash": {"ingest": {"aeTitle": "A\\B"}},
    "an AE title that is empty": {"ingest": {"aeTitle": ""}},
    "a partition with capitals": {"ingest": {"partitions": {"A": "North"}}},
    "a URL with a path": {"publicUrl": "https://pacs.example.org/pacs"},
    "a URL that is none": {"publicUrl": "pacs.example.org"},
    "a size without meaning": {"access": {"log": {"size": "2 GB"}}},
    "a digest that is too short": {"image": {"digests": {"auth": "sha256:12"}}},
    "a tag with a space": {"image": {"tag": "a b"}},
    "a port beyond the last": {"ingest": {"service": {"port": 65536}}},
    "a bucket with capitals": {"objectStore": {"s3": {"bucket": "Images"}}},
    "an endpoint with a query": {"objectStore": {"s3": {"endpoint": "https://s3/?x=1"}}},
    "a secret by a name that none can have": {"redis": {"name": "Redis_Secret"}},
    "a label that none can be": {"commonLabels": {"team": "a b"}},
    "an issuer without encryption": {
        "access": {
            "federatedIssuers": [{"issuer": "http://x", "audience": "a", "role_claim": "r", "grants": {}}]
        }
    },
    "a peer that is none": {"networkPolicy": {"devices": [{"cidr": "10.0.0.0/8"}]}},
    "a network that is none": {"ingress": {"trustedProxies": ["everybody"]}},
    "root": {"security": {"runAsUser": 0}},
}
# What no schema can say: (values, what the refusal must name).
CONTRADICTIONS = [
    ({"ingest": {"tls": {"enabled": True}}}, "secretName"),
    ({"ingest": {"tls": {"enabled": True, "certManager": {"enabled": True}}}}, "issuer.name"),
    ({"ingest": {"tls": {"enabled": True, "secretName": "x", "clients": "required"}}}, "clientAuthority"),
    ({"bundled": {"s3": {"enabled": True}}, "objectStore": {"kind": "file"}}, "objectStore.kind"),
    ({"router": {"enabled": True}}, "router.routes"),
]


def merged(base, over):
    """Return values as Helm lays one set over another."""
    if isinstance(base, dict) and isinstance(over, dict):
        return base | {key: merged(base.get(key), value) for key, value in over.items()}
    return over


@pytest.mark.parametrize("reason", REFUSED)
def test_the_schema_refuses(reason):
    assert not Draft7Validator(SCHEMA).is_valid(merged(VALUES, REFUSED[reason]))


def test_the_schema_is_one_and_takes_the_defaults():
    Draft7Validator.check_schema(SCHEMA)
    error = next(Draft7Validator(SCHEMA).iter_errors(VALUES), None)
    assert error is None, error


def test_helm_refuses_by_the_schema(helm):
    code, _, errors = helm.run("template", "x", str(CHART), values={"gatway": {}})
    assert code != 0
    assert "gatway" in errors


@pytest.mark.parametrize(("values", "named"), CONTRADICTIONS)
def test_contradictions_are_refused_with_their_reason(helm, values, named):
    code, _, errors = helm.run("template", "x", str(CHART), values=values)
    assert code != 0
    assert named in errors


def places(node, path=()):
    """Yield every property in the schema with where it is."""
    for name, inner in node.get("properties", {}).items():
        yield (*path, name), inner
        yield from places(inner, (*path, name))
    if isinstance(items := node.get("items"), dict):
        yield from places(items, (*path, "[]"))


def everything():
    yield from places(SCHEMA)
    for name, definition in SCHEMA["definitions"].items():
        yield (name,), definition
        yield from places(definition, (name,))


def test_every_value_is_described_in_prose():
    for path, place in everything():
        if path[0] == "networkPolicy" and "[]" in path:
            continue  # a peer, as Kubernetes has it
        said = (
            place.get("description") or SCHEMA["definitions"][place["$ref"].rpartition("/")[2]]["description"]
        )
        assert said.endswith((".", ")", "`", "?")) or said[0].islower(), f"{path}: {said}"


def test_nothing_is_let_in_by_accident():
    for path, place in everything():
        if "properties" in place and path[-1] != "[]":
            assert place["additionalProperties"] is False, path


def test_every_value_of_the_schema_has_a_default():
    """So that values.yaml shows all there is."""

    def compare(place, defaults, path):
        for name, inner in place.get("properties", {}).items():
            if path or name != "global":
                assert name in defaults, (*path, name)
                if "$ref" not in inner and isinstance(defaults[name], dict):
                    compare(inner, defaults[name], (*path, name))

    compare(SCHEMA, VALUES, ())


def test_documents_say_what_the_schema_says(documents):
    stale = [path.name for path, text in documents.documents() if path.read_text() != text]
    assert not stale, f"run `python tools/chart_documents.py`: {stale} would change"


def test_settings_may_be_given_by_every_name_that_the_chart_leaves_free(documents):
    ours = documents.set_by_templates()
    for service in documents.SERVICES:
        offered = SCHEMA["definitions"][f"{service}Settings"]["properties"].keys()
        assert offered | ours >= {
            name for name in documents.settings_of(service) if not name.startswith("GANTRY_FAULT")
        }
        assert not offered & ours
