"""What a service's code imports, through the libraries too, its own requirements hold."""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
SERVICES = sorted(path.parent.name for path in (ROOT / "services").glob("*/pyproject.toml"))
# Top-level packages of ours, and the folder that each lies in.
OURS = {
    path.name: path.parent
    for pattern in ("libs/*/*", "services/*/*")
    for path in ROOT.glob(pattern)
    if path.is_dir() and (path.name == "gantry" or path.name.startswith("gantry_"))
}


def files_of(module: str) -> list[Path]:
    """Return the files that an import of ``module`` runs: the packages above it, and itself."""
    parts = module.split(".")
    folder = OURS[parts[0]]
    found = []
    for end in range(1, len(parts) + 1):
        path = folder.joinpath(*parts[:end])
        found += [file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()]
    return found


@cache
def imports_of(file: Path) -> frozenset[str]:
    """Return every module that a file imports, also within its functions, but not for types alone."""
    names = set()
    waiting: list[ast.AST] = [ast.parse(file.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{file} imports relatively"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        waiting += ast.iter_child_nodes(node)
    return frozenset(names)


def closure(service: str) -> dict[str, Path]:
    """Return the foreign top-level packages that a service can come to import, and which file does."""
    package = ROOT / "services" / service / f"gantry_{service}"
    waiting = list(package.rglob("*.py"))
    seen: set[Path] = set()
    foreign: dict[str, Path] = {}
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        for module in imports_of(file):
            top = module.partition(".")[0]
            if top in OURS:
                waiting += files_of(module)
            elif top not in sys.stdlib_module_names:
                foreign.setdefault(top, file.relative_to(ROOT))
    return foreign


def pinned(service: str) -> set[str]:
    text = (ROOT / "requirements" / f"{service}.txt").read_text()
    return {
        canonicalize_name(name)
        for name in re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==", text, re.MULTILINE)
    }


@pytest.mark.parametrize("service", SERVICES)
def test_everything_a_service_can_import_is_in_its_requirements(service):
    distributions = packages_distributions()
    held = pinned(service)
    missing = {
        module: str(file)
        for module, file in closure(service).items()
        # A package that several distributions share (opentelemetry) is there with any of them.
        if not held & {canonicalize_name(name) for name in distributions.get(module, ())}
    }
    assert missing == {}


def test_the_closure_goes_through_the_libraries_and_into_functions():
    assert {"joserfc", "starlette", "redis"} <= set(closure("gateway"))
    assert {"asyncpg", "joserfc"} <= set(closure("ingest"))
    assert "pynetdicom" not in closure("gateway")
