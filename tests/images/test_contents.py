"""What is in the images, and what is not."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = [pytest.mark.slow, pytest.mark.images]

SERVICES = ("auth", "gateway", "indexer", "ingest", "storage")
SBOM = "/usr/share/gantry/sbom.cdx.json"
# Prints what a service could do that it never needs to do, as seen from inside.
LOOK = """
import importlib.util, json, os, shutil, stat, sys
from pathlib import Path
TOOLS = "pip pip3 gcc cc ld make apt-get curl wget git"
MODULES = "pip setuptools ensurepip hatchling pytest gantry_testing gantry_embedded"
def writable(folder):
    try:
        (folder / "probe").write_bytes(b"")
        return True
    except OSError:
        return False
roots = [Path("/usr/lib/python3.11"), Path("/opt/gantry/lib")]
files = [file for root in roots for file in root.rglob("*.pyc")]
everything = [Path(folder, name) for folder, _, names in os.walk("/usr") for name in names]
print(json.dumps({
    "ids": [os.getuid(), os.getgid(), *os.getgroups()],
    "writable": [str(f) for f in map(Path, ("/", "/opt/gantry", "/etc", "/var", "/tmp")) if writable(f)],
    "tools": [name for name in TOOLS.split() if shutil.which(name)],
    "modules": [name for name in MODULES.split() if importlib.util.find_spec(name)],
    "checked": [str(file) for file in files if file.read_bytes()[4:8] != bytes((1, 0, 0, 0))],
    "compiled": len(files),
    "privileged": [str(f) for f in everything if not f.is_symlink() and f.stat().st_mode & 0o6000],
    "path": sys.path,
}))
"""


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_no_rights_and_no_tools(containers, service):
    seen = json.loads(containers.run(service, "python", "-P", "-c", LOOK))
    assert set(seen["ids"]) == {10001}
    assert seen["writable"] == ["/tmp"]
    assert (seen["tools"], seen["modules"], seen["privileged"]) == ([], [], [])
    assert "/tmp" not in seen["path"]


@pytest.mark.parametrize("service", SERVICES)
def test_byte_code_is_there_and_needs_no_check_against_files_times(containers, service):
    seen = json.loads(containers.run(service, "python", "-P", "-c", LOOK))
    assert seen["compiled"] > 1000
    assert seen["checked"] == []


@pytest.mark.parametrize("service", SERVICES)
def test_the_bill_of_materials_names_what_is_pinned_and_the_system(containers, builder, service):
    document = json.loads(containers.run(service, "cat", SBOM))
    found = {component["purl"].partition("?")[0] for component in document["components"]}
    text = (builder.ROOT / "requirements" / f"{service}.txt").read_text()
    pinned = {Requirement(entry.splitlines()[0].rstrip("\\ ")) for entry in builder.for_base(text)}
    python = {f"pkg:pypi/{canonicalize_name(pin.name)}@{next(iter(pin.specifier)).version}" for pin in pinned}
    own = {f"pkg:pypi/{name}@{builder.version()}" for name in ("gantry-libs", f"gantry-{service}")}
    assert {purl for purl in found if purl.startswith("pkg:pypi/")} == python | own
    debian = {purl.split("/")[2].partition("@")[0] for purl in found if purl.startswith("pkg:deb/")}
    assert {"libc6", "libssl3", "python3.11"} <= debian
    assert "perl-modules-5.36" not in debian
    assert document["metadata"]["component"]["version"] == builder.version()


@pytest.mark.parametrize("service", SERVICES)
def test_the_image_says_who_runs_in_it_and_out_of_which_commit(image_of, builder, service):
    configuration = image_of(service)["Config"]
    assert configuration["User"] == "10001:10001"
    labels = {name.rpartition(".")[2]: value for name, value in configuration["Labels"].items()}
    assert (labels["title"], labels["version"]) == (f"gantry-{service}", builder.version())
    assert len(labels["revision"].partition("-")[0]) == 40
    assert labels["created"].endswith("Z")


def test_no_service_was_left_out(services):
    assert services == SERVICES


def test_a_second_build_makes_equal_layers(image_of, builder):
    tool = str(builder.ROOT / "tools/images/build.py")
    subprocess.run([sys.executable, tool, "--fresh", "--tag", "again", "indexer"], check=True)
    first, second = image_of("indexer"), image_of("indexer", "again")
    assert second["RootFS"]["Layers"] == first["RootFS"]["Layers"]
    builder.buildah("rmi", "localhost/gantry-indexer:again", capture=True)
