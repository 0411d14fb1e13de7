"""Every value set gives objects that Kubernetes takes, by its own schemas and by the rules for names."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

import pytest
from jsonschema.validators import Draft202012Validator
from kubernetes_validate.utils import schema_contents
from referencing import Registry, Resource

CHART = Path(__file__).resolve().parents[2] / "charts" / "gantry"
# The oldest release with schemas, one in the middle, the newest.
VERSIONS = ("1.25.0", "1.31.0", "1.37.0")
# Defined by operators: Kubernetes has no schema of theirs.
CUSTOM = {"ServiceMonitor", "PrometheusRule", "Certificate"}
DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
# What the controllers add to the names of pods, revisions and jobs must have room in a label.
LONGEST = {"StatefulSet": 52, "Deployment": 52, "Job": 63 - 6}


@functools.cache
def validator(kind, api_version, version):
    """Return the strict validator of a kind: what is not in the schema is refused."""
    versions = [path.name for path in schemas().iterdir() if path.name.startswith(f"v{version[:4]}")]
    folder = next(name for name in versions if name.endswith("-strict"))
    group, _, name = api_version.rpartition("/")
    file = f"{kind.lower()}-{group.partition('.')[0] + '-' if group else ''}{name}.json"
    schema = schema_contents(f"kubernetes-json-schema/{folder}/{file}", version)
    registry = Resource.from_contents(schema) @ Registry()
    registry = definitions(folder, version) @ registry
    return Draft202012Validator(schema, registry=registry)


@functools.cache
def definitions(folder, version):
    return Resource.from_contents(
        schema_contents(f"kubernetes-json-schema/{folder}/_definitions.json", version)
    )


def schemas():
    import kubernetes_validate

    return Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"


@pytest.mark.parametrize("profile", [None, "trial", "small-clinic", "hospital", "network"])
def test_lint_has_nothing_to_say(helm, profile):
    values = [] if profile is None else ["--values", str(CHART / "profiles" / f"{profile}.yaml")]
    code, output, errors = helm.run("lint", "--strict", "--quiet", str(CHART), *values)
    assert code == 0, output + errors


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid(renderings, version):
    seen = set()
    for name, rendered in renderings.items():
        if name == "oldest-kubernetes":
            continue
        for each in rendered.objects:
            text = json.dumps(each, sort_keys=True)
            if each["kind"] in CUSTOM or text in seen:
                continue
            seen.add(text)
            error = next(validator(each["kind"], each["apiVersion"], version).iter_errors(each), None)
            assert error is None, f"{name}: {each['kind']}/{each['metadata']['name']}: {error}"
    assert len(seen) > 200


def test_names_and_labels_are_legal(rendered):
    for each in rendered.objects:
        name = each["metadata"]["name"]
        assert DNS_LABEL.fullmatch(name), name
        assert len(name) <= LONGEST.get(each["kind"], 63), f"{each['kind']} {name}"
        labels = dict(each["metadata"]["labels"])
        for pod in rendered.pods():
            labels |= pod.labels
        for key, value in labels.items():
            assert LABEL_VALUE.fullmatch(value), f"{key}={value}"
            assert len(value) <= 63


def test_no_object_is_there_twice(rendered):
    places = [(each["kind"], each["metadata"]["name"]) for each in rendered.objects]
    assert len(set(places)) == len(places)


def test_every_object_belongs_to_the_release(rendered, helm):
    for each in rendered.objects:
        labels = each["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert labels["app.kubernetes.io/part-of"] == "gantry"
        assert each["metadata"]["namespace"]


def test_two_long_releases_do_not_share_names(helm, renderings):
    from chart_value_sets import LONG_RELEASE, ValueSet

    other = helm.render(ValueSet("hospital", release=LONG_RELEASE[:52] + "x", namespace="n" * 63))
    ours = renderings["long-release"]
    assert ours.names("Service", "StatefulSet").isdisjoint(other.names("Service", "StatefulSet"))


def test_older_clusters_get_the_versions_they_know(renderings):
    versions = {each["kind"]: each["apiVersion"] for each in renderings["oldest-kubernetes"].objects}
    assert versions["PodDisruptionBudget"] == "policy/v1beta1"
    assert versions["HorizontalPodAutoscaler"] == "autoscaling/v2beta2"
    versions = {each["kind"]: each["apiVersion"] for each in renderings["network"].objects}
    assert versions["PodDisruptionBudget"] == "policy/v1"
    assert versions["HorizontalPodAutoscaler"] == "autoscaling/v2"


def test_rendering_twice_gives_the_same(helm, renderings):
    from chart_value_sets import VALUE_SETS

    assert helm.render(VALUE_SETS["network"]).objects == renderings["network"].objects


def test_notes_say_how_to_begin(helm):
    code, output, errors = helm.run(
        "install", "gantry", str(CHART), "--dry-run=client", "--namespace", "pacs"
    )
    assert code == 0, errors
    notes = output.partition("NOTES:")[2]
    assert "exec statefulset/gantry-auth -- python -P -m gantry_auth bootstrap-admin" in notes
    assert "publicUrl is still the example's" in notes
