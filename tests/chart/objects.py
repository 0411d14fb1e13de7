"""What stands in Kubernetes objects, for tests to look at."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pod:
    """Pods that an object makes, or is."""

    owner: Json
    labels: Mapping[str, str]
    spec: Json

    @property
    def name(self) -> str:
        """Kind and name of what makes it."""
        return f"{self.owner['kind']}/{self.owner['metadata']['name']}"

    @property
    def component(self) -> str:
        """Which part of Gantry it is."""
        return self.labels["app.kubernetes.io/component"]

    @property
    def container(self) -> Json:
        """Its only container."""
        (container,) = self.spec["containers"]
        return container

    @property
    def is_ours(self) -> bool:
        """Whether it runs one of our services, and not a bundled server."""
        return self.component not in {"postgresql", "valkey", "s3"}

    def environment(self) -> dict[str, Json]:
        """Return the entries of its environment by name; none may be there twice."""
        entries = self.container.get("env", [])
        found = {entry["name"]: entry for entry in entries}
        assert len(found) == len(entries), f"{self.name} sets a variable twice"
        return found

    def ports(self) -> dict[str, int]:
        """Return its ports by name."""
        return {port["name"]: port["containerPort"] for port in self.container.get("ports", [])}


@dataclass(frozen=True, slots=True)
class Rendered:
    """All objects of one rendering."""

    objects: list[Json]

    def kind(self, *kinds: str) -> list[Json]:
        """Return the objects of these kinds."""
        return [each for each in self.objects if each["kind"] in kinds]

    def names(self, *kinds: str) -> set[str]:
        """Return the names of the objects of these kinds."""
        return {each["metadata"]["name"] for each in self.kind(*kinds)}

    def pods(self) -> list[Pod]:
        """Return everything that makes pods."""
        found = []
        for owner in self.kind("Deployment", "StatefulSet", "Job"):
            template = owner["spec"]["template"]
            found.append(Pod(owner, template["metadata"]["labels"], template["spec"]))
        found += [Pod(owner, owner["metadata"]["labels"], owner["spec"]) for owner in self.kind("Pod")]
        return found

    def selected(self, selector: Mapping[str, str]) -> list[Pod]:
        """Return the pods that have these labels."""
        return [pod for pod in self.pods() if selector.items() <= pod.labels.items()]


def texts(node: object) -> Iterator[str]:
    """Yield every string in a document."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from itertools.chain(texts(key), texts(value))
    elif isinstance(node, list):
        for value in node:
            yield from texts(value)
