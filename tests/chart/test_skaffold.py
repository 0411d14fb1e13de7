"""skaffold.yaml, the Dockerfiles and the chart are of one another."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SERVICES = {path.parent.name for path in ROOT.glob("services/*/Dockerfile")}


@pytest.fixture(scope="module")
def skaffold():
    return yaml.safe_load((ROOT / "skaffold.yaml").read_text())


@pytest.fixture(scope="module")
def release(skaffold):
    (release,) = skaffold["deploy"]["helm"]["releases"]
    return release


def test_it_is_a_skaffold_file(skaffold):
    assert re.fullmatch(r"skaffold/v\d+(beta\d+)?", skaffold["apiVersion"])
    assert skaffold["kind"] == "Config"
    assert skaffold.keys() == {"apiVersion", "kind", "metadata", "build", "deploy", "portForward"}


def test_every_service_is_built_from_its_dockerfile(skaffold):
    built = {}
    for artifact in skaffold["build"]["artifacts"]:
        dockerfile = ROOT / artifact["context"] / artifact["docker"]["dockerfile"]
        assert dockerfile.is_file()
        # What the Dockerfile copies lies in the context.
        for source in re.findall(r"^COPY (?!--from)(.+)$", dockerfile.read_text(), re.MULTILINE):
            for each in source.split()[:-1]:
                assert (ROOT / artifact["context"] / each).exists(), f"{dockerfile}: {each}"
        built[artifact["image"]] = dockerfile.parent.name
    assert built == {f"gantry-{service}": service for service in SERVICES}


def test_every_image_reaches_the_chart(skaffold, release):
    def template(image):
        return "{{.IMAGE_FULLY_QUALIFIED_" + image.replace("-", "_") + "}}"

    assert release["setValueTemplates"] == {
        f"image.references.{artifact['image'].removeprefix('gantry-')}": template(artifact["image"])
        for artifact in skaffold["build"]["artifacts"]
    }


def test_chart_and_values_are_there(release):
    assert (ROOT / release["chartPath"] / "Chart.yaml").is_file()
    assert all((ROOT / file).is_file() for file in release["valuesFiles"])


def test_the_chart_runs_what_was_built(helm, release, skaffold):
    values = {"image": {"references": {service: f"built/{service}:now" for service in SERVICES}}}
    files = [word for file in release["valuesFiles"] for word in ("--values", str(ROOT / file))]
    code, output, errors = helm.run(
        "template", release["name"], str(ROOT / release["chartPath"]), *files, values=values
    )
    assert code == 0, errors
    objects = [each for each in yaml.safe_load_all(output) if each]
    images = set(re.findall(r"built/[a-z]+:now", output))
    assert images == {f"built/{service}:now" for service in SERVICES}
    services = {
        each["metadata"]["name"]: {port["port"] for port in each["spec"]["ports"]}
        for each in objects
        if each["kind"] == "Service"
    }
    for forward in skaffold["portForward"]:
        assert forward["resourceType"] == "service"
        assert forward["port"] in services[forward["resourceName"]]


def test_ports_and_users_are_those_of_the_images(renderings):
    """What the Dockerfiles expose, and whom they run as."""
    for pod in renderings["defaults"].pods():
        if pod.owner["kind"] not in {"Deployment", "StatefulSet"}:
            continue
        service = pod.container["name"]
        text = (ROOT / "services" / service / "Dockerfile").read_text()
        user, group = re.findall(r"^USER (\d+):(\d+)$", text, re.MULTILINE)[-1]
        assert pod.spec["securityContext"]["runAsUser"] == int(user)
        assert pod.spec["securityContext"]["runAsGroup"] == int(group)
        assert f'"-m", "gantry_{service}"' in text
