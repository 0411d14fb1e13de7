"""Each value set is rendered once a session; the tests look at what came out."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from gantry_testing.datapack import everything_required

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "gantry"


def load(path):
    """Import a file that lies in no package."""
    spec = importlib.util.spec_from_file_location(f"chart_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


objects = load(Path(__file__).with_name("objects.py"))
sets = load(Path(__file__).with_name("value_sets.py"))


class StrictLoader(yaml.CSafeLoader):
    """Refuses what YAML parsers disagree about: a key that is there twice."""

    def construct_mapping(self, node, deep=False):
        """Return the mapping."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(set(keys)) == len(keys), f"a key is there twice: {keys}"
        return super().construct_mapping(node, deep)


# `=` is a string to everybody but YAML 1.1.
StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:value"]
    for first, resolvers in StrictLoader.yaml_implicit_resolvers.items()
}


class Helm:
    """The real program."""

    def __init__(self, program):
        self._program = program

    def run(self, *arguments, values=None):
        """Run a command, with values on its standard input; returns (exit code, output, errors)."""
        options = [] if values is None else ["--values", "-"]
        done = subprocess.run(
            [self._program, *arguments, *options],
            input=None if values is None else json.dumps(values),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.returncode, done.stdout, done.stderr

    def render(self, value_set, *more):
        """Return the objects of a value set, hooks and tests among them."""
        profile = ["--values", str(CHART / "profiles" / f"{value_set.profile}.yaml")]
        code, output, errors = self.run(
            "template",
            value_set.release,
            str(CHART),
            *(profile if value_set.profile else []),
            "--namespace",
            value_set.namespace,
            "--kube-version",
            value_set.kube_version,
            *more,
            values=value_set.values,
        )
        assert code == 0, errors
        return objects.Rendered([each for each in yaml.load_all(output, StrictLoader) if each])


@pytest.fixture(scope="session")
def helm():
    """Helm, laid down by tools/chart_tools.py."""
    tools = load(ROOT / "tools" / "chart_tools.py")
    try:
        return Helm(str(tools.laid_down() / "helm"))
    except subprocess.CalledProcessError as error:
        reason = f"helm cannot be fetched: {error.stderr.strip().splitlines()[-1:]}"
        if everything_required():
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def renderings(helm):
    """Every value set, rendered."""
    return {name: helm.render(value_set) for name, value_set in sets.VALUE_SETS.items()}


@pytest.fixture(scope="session")
def value_sets():
    """What each rendering was made with."""
    return sets.VALUE_SETS


@pytest.fixture(params=sets.VALUE_SETS)
def rendered(renderings, request):
    """The objects of one value set after the other."""
    return renderings[request.param]


@pytest.fixture(scope="session")
def documents():
    """The module that writes the chart's documents."""
    return load(ROOT / "tools" / "chart_documents.py")


@pytest.fixture(scope="session")
def documented():
    """Names of the Secrets, claims and so on that values.yaml says must be there."""
    return set(re.findall(r": ([a-z][a-z0-9-]*)$", (CHART / "values.yaml").read_text(), re.MULTILINE))
