"""What the operations guide and the plan for disasters tell people to run and to read is there."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest
from gantry_cli.arguments import parser

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (
    "docs/operations.md",
    "docs/disaster-recovery.md",
    "docs/runbooks/restore-from-backup.md",
    "docs/runbooks/bucket-settings.md",
)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(#[^)]*)?\)")
# In backquotes, or a line of a block of code.
INLINE, BLOCK = re.compile(r"`([^`\n]+)`"), re.compile(r"```\n(.*?)```", re.DOTALL)
TARGET = re.compile(r"make ([a-z-]+)")
STORAGE = re.compile(r"python -m gantry_storage ([a-z]+)((?: --[a-z-]+)*)")


def said(document):
    """Return every piece of code in a document, without comments."""
    text = (ROOT / document).read_text()
    blocks = [line for block in BLOCK.findall(text) for line in block.splitlines()]
    return [re.sub(r"\s+#.*", "", piece) for piece in [*blocks, *INLINE.findall(BLOCK.sub("", text))]]


def commands(document):
    """Return the words of every ``gantry`` command in a document."""
    found = [piece.removeprefix(".venv/bin/") for piece in said(document)]
    return [shlex.split(piece)[1:] for piece in found if piece.startswith("gantry ")]


def known(words):
    """Return whether a command line is one: its words, its options, and a value for each that takes one.

    A document may leave out what is required, and say it in words of its own.
    """
    current: argparse.ArgumentParser = parser()
    rest = list(words)
    while rest:
        choices = next((a for a in current._actions if isinstance(a, argparse._SubParsersAction)), None)
        if choices is None or rest[0].startswith("-"):
            break
        if rest[0] not in choices.choices:
            return False
        current = choices.choices[rest.pop(0)]
    options = {name for action in current._actions for name in action.option_strings}
    return all(word in options for word in rest if word.startswith("--"))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_of_ours_can_be_given(document):
    found = commands(document)
    assert found, "a guide without commands"
    assert [words for words in found if not known(words)] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_relative_link_leads_somewhere(document):
    links = [link for link, _ in LINK.findall((ROOT / document).read_text())]
    assert links
    here = (ROOT / document).parent
    assert [link for link in links if "://" not in link and not (here / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_target_of_make_exists(document):
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert {name for piece in said(document) for name in TARGET.findall(piece)} <= targets


def test_every_command_of_the_storage_service_exists():
    source = (ROOT / "services/storage/gantry_storage/__main__.py").read_text()
    found = {match for document in DOCUMENTS for piece in said(document) for match in STORAGE.findall(piece)}
    assert {command for command, _ in found} >= {"bucket", "replay", "scrub"}
    for command, options in found:
        assert f'"{command}"' in source
        for option in options.split():
            assert f'"{option}"' in source


def test_every_dashboard_and_profile_that_is_named_is_in_the_chart():
    text = (ROOT / "docs/operations.md").read_text()
    for name in ("overview", "ingest", "dicomweb", "indexing", "storage", "database", "security", "site"):
        assert (ROOT / f"charts/gantry/files/dashboards/gantry-{name}.json").exists()
        assert name in text.lower()
    for profile in (ROOT / "charts/gantry/profiles").glob("*.yaml"):
        assert f"`{profile.stem}`" in text


def test_a_wrong_command_would_be_found():
    assert known(shlex.split("backup create --with-index"))
    assert not known(shlex.split("backup create --with-everything"))
    assert not known(shlex.split("backup recreate"))
    assert not known(shlex.split("bakcup"))


def test_the_guide_is_found_from_the_readme():
    text = (ROOT / "README.md").read_text()
    assert "docs/operations.md" in text
    assert "docs/disaster-recovery.md" in text
