"""Write what the chart says of its values, out of values.schema.json and the settings of the services.

Usage: python tools/chart_documents.py [--check]   (--check fails when a file would change)

- values.schema.json: names and descriptions of the settings that a service may be given by name
- values.yaml: the comments
- README.md: the tables, in README.template.md
"""

from __future__ import annotations

import ast
import json
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "charts" / "gantry"
SCHEMA = CHART / "values.schema.json"
VALUES = CHART / "values.yaml"
README = CHART / "README.md"
TEMPLATE = CHART / "README.template.md"

SERVICES = ("auth", "gateway", "indexer", "ingest", "storage")
PREFIX = "GANTRY_"
_WIDTH = 100
# Fault injection belongs in no deployment.
_NOT_FOR_DEPLOYMENTS = re.compile(r"GANTRY_FAULT(S|_.*)")
_DEFINITION = "#/definitions/"

Json = dict[str, Any]


def settings_of(service: str) -> dict[str, str]:
    """Return the settings of a service by the names of its environment, with what their comments say."""
    source = (ROOT / "services" / service / f"gantry_{service}" / "settings.py").read_text()
    lines = source.splitlines()
    settings = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "BaseSettings" for base in node.bases):
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    settings[PREFIX + field.target.id.upper()] = _comment_above(lines, field.lineno - 1)
    return settings


def _comment_above(lines: list[str], row: int) -> str:
    """Return the comment of the field in this row; one above several fields is that of each."""
    while row and lines[row - 1].strip() and not lines[row - 1].strip().startswith("#"):
        row -= 1
    comment: list[str] = []
    while row and lines[row - 1].strip().startswith("#"):
        row -= 1
        comment.insert(0, lines[row].strip().removeprefix("#").strip())
    return " ".join(comment)


def set_by_templates() -> set[str]:
    """Return the settings that the chart makes of its values."""
    templates = (CHART / "templates").rglob("*.*")
    return {name for path in templates for name in re.findall(rf'"({PREFIX}[A-Z0-9_]+)"', path.read_text())}


def schema_text() -> str:
    """Return the schema with the settings of each service."""
    schema: Json = json.loads(SCHEMA.read_text())
    ours = set_by_templates()
    for service in SERVICES:
        schema["definitions"][f"{service}Settings"]["properties"] = {
            name: {
                "type": ["string", "number", "boolean"],
                "description": said or "See settings.py of the service.",
            }
            for name, said in settings_of(service).items()
            if name not in ours and not _NOT_FOR_DEPLOYMENTS.fullmatch(name)
        }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def described(schema: Json, node: Json) -> tuple[Json, str]:
    """Return what a reference leads to, and the description of the place or of that."""
    target = node
    if reference := node.get("$ref"):
        target = schema["definitions"][reference.removeprefix(_DEFINITION)]
    return target, node.get("description") or target.get("description", "")


def values_text(schema: Json) -> str:
    """Return values.yaml with the descriptions as comments; those of a shared shape where it is first met."""
    header, _, body = VALUES.read_text().partition("\n\n")
    lines = [line for line in body.splitlines() if not line.lstrip().startswith("#")]
    above: dict[int, list[str]] = {}
    seen: set[str] = set()

    def walk(node: yaml.Node, place: Json) -> None:
        target, _ = described(schema, place)
        reference = place.get("$ref", "")
        if reference in seen or not isinstance(node, yaml.MappingNode):
            return
        seen.update({reference} - {""})
        for key, value in node.value:
            inner = target.get("properties", {}).get(key.value)
            if inner is None:
                continue
            mark = key.start_mark
            _, said = described(schema, inner)
            prefix = " " * mark.column + "# "
            above[mark.line] = textwrap.wrap(
                said,
                _WIDTH,
                initial_indent=prefix,
                subsequent_indent=prefix,
                break_on_hyphens=False,
                break_long_words=False,
            )
            walk(value, inner)

    root = yaml.compose("\n".join(lines))
    walk(root, schema)
    commented = [text for row, line in enumerate(lines) for text in (*above.get(row, ()), line)]
    return header + "\n\n" + "\n".join(commented) + "\n"


def readme_text(schema: Json) -> str:
    """Return the README: the template with tables of all values."""
    defaults: Json = yaml.safe_load(VALUES.read_text())
    return (
        TEMPLATE.read_text()
        .replace("{{values}}", "\n".join(_sections(schema, defaults)))
        .replace("{{shapes}}", "\n".join(_shapes(schema)))
    )


def _sections(schema: Json, defaults: Json) -> Iterator[str]:
    single = {
        name: place for name, place in schema["properties"].items() if not _inner(described(schema, place)[0])
    }
    yield from _table(_rows(schema, single, defaults, ""))
    for name, place in schema["properties"].items():
        if name in single or name == "pod":
            continue
        target, said = described(schema, place)
        yield from (f"\n### {name}\n", f"{said}\n")
        yield from _table(_rows(schema, _inner(target), defaults[name], f"{name}."))


def _shapes(schema: Json) -> Iterator[str]:
    for name, shape in schema["definitions"].items():
        if _inner(shape) and not name.endswith("Settings"):
            yield from (f"\n### {name}\n", f"{shape['description']}\n")
            yield from _table(_rows(schema, _inner(shape), None, ""), defaults=False)


def _inner(place: Json) -> Mapping[str, Json]:
    properties: Mapping[str, Json] = place.get("properties", {})
    return properties


def _rows(schema: Json, places: Mapping[str, Json], defaults: Json | None, path: str) -> Iterator[list[str]]:
    for name, place in places.items():
        if defaults is not None and name not in defaults:
            continue
        default = None if defaults is None else defaults[name]
        target, said = described(schema, place)
        if _inner(target) and "$ref" not in place and isinstance(default, dict):
            yield from _rows(schema, _inner(target), default, f"{path}{name}.")
            continue
        allowed = " ".join(f"`{each}`" for each in target.get("enum", ()))
        yield [
            f"`{path}{name}`",
            f"`{json.dumps(default, ensure_ascii=False)}`",
            said + (f" ({allowed})" if allowed else ""),
        ]


def _table(rows: Iterable[list[str]], *, defaults: bool = True) -> Iterator[str]:
    heads = ["value", "default", "what it is"]
    for row in (heads, ["---"] * 3, *rows):
        cells = row if defaults else [row[0], row[2]]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def documents() -> Iterator[tuple[Path, str]]:
    """Yield each file and what it should hold, in the order in which they depend on each other."""
    text = schema_text()
    yield SCHEMA, text
    schema = json.loads(text)
    yield VALUES, values_text(schema)
    yield README, readme_text(schema)


def main() -> int:
    """Write the files, or say which of them would change."""
    check = "--check" in sys.argv[1:]
    stale = []
    for path, text in documents():
        if not path.exists() or path.read_text() != text:
            stale.append(path.name)
            if not check:
                path.write_text(text)
    if check and stale:
        print(f"run python tools/chart_documents.py: {', '.join(stale)} would change")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
