"""Print a CycloneDX bill of materials of the environment and the system this runs in.

Run by the build of an image, with the image's own Python and nothing but its standard library:
``python sbom.py NAME``. The same parts give the same bytes.
"""

from __future__ import annotations

import json
import os
import re
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path
from urllib.parse import quote

DPKG_STATUS = Path("/var/lib/dpkg/status")
OS_RELEASE = Path("/etc/os-release")

Component = dict[str, object]


def python_component(distribution: Distribution) -> Component:
    """Return the component of an installed Python distribution."""
    metadata = distribution.metadata
    name = re.sub(r"[-_.]+", "-", metadata["Name"]).lower()
    purl = f"pkg:pypi/{name}@{quote(distribution.version)}"
    component: Component = {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": distribution.version,
        "purl": purl,
    }
    expression = metadata.get("License-Expression")
    classified = [
        value.rpartition(" :: ")[2]
        for value in metadata.get_all("Classifier") or []
        if value.startswith("License :: ") and value != "License :: OSI Approved"
    ]
    if expression:
        component["licenses"] = [{"expression": expression}]
    elif classified:
        component["licenses"] = [{"license": {"name": value}} for value in classified]
    return component


def python_components() -> Iterator[Component]:
    """Yield the distributions that Python finds here."""
    for distribution in distributions():
        yield python_component(distribution)


def debian_components(status: str, release: str) -> Iterator[Component]:
    """Yield the packages of a dpkg status file; ``release`` is like ``debian-12``."""
    for paragraph in status.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", paragraph, re.MULTILINE))
        if not fields.get("Status", "").endswith(" installed"):
            continue
        name, version, machine = fields["Package"], fields["Version"], fields["Architecture"]
        purl = f"pkg:deb/debian/{name}@{quote(version)}?arch={machine}&distro={release}"
        yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def release_of(text: str) -> str:
    """Return name and version of a system from its os-release file."""
    fields = dict(re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', text, re.MULTILINE))
    return f"{fields.get('ID', 'linux')}-{fields.get('VERSION_ID', 'unknown')}"


def document(name: str, components: list[Component], epoch: int) -> dict[str, object]:
    """Return the document of an image that holds ``components``."""
    unique = {str(component["bom-ref"]): component for component in components}
    parts = [unique[reference] for reference in sorted(unique)]
    version = next((str(part["version"]) for part in parts if part["name"] == name), "unknown")
    contents = json.dumps(parts, sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_OID, name + contents).urn,
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).isoformat(),
            "component": {"type": "container", "bom-ref": name, "name": name, "version": version},
        },
        "components": parts,
    }


def main(name: str) -> None:
    """Print the document of this environment."""
    components = list(python_components())
    if DPKG_STATUS.exists():
        release = release_of(OS_RELEASE.read_text())
        components += debian_components(DPKG_STATUS.read_text(), release)
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    print(json.dumps(document(name, components, epoch), indent=1, sort_keys=True))


if __name__ == "__main__":
    main(sys.argv[1])
