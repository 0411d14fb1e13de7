"""The viewer's package: verified, told where it lives, and no reason for the archive not to start."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from gantry_cli import exits, viewer_package
from gantry_cli.__main__ import main
from gantry_cli.lifecycle import describe
from gantry_cli.options import StackFacts
from gantry_cli.viewer import find_viewer
from gantry_cli.viewer_package import ARCHIVE, NAME, VERSION, NotFetched, fetch, prepare, verify
from gantry_dicom.errors import CannotProcess

BUNDLE = "app.bundle.0f6159c501addfe9.js"
FILES = {
    "index.html": '<meta content="/assets/a.png"><script>window.PUBLIC_URL="/"</script>'
    '<link href="/app.bundle.css"><script src="/app.js"></script><a href="https://example.org/">',
    BUNDLE: "__webpack_require__.p = \"/\";\nbrowserImportFunction('/dicom-microscopy-viewer/x.js')"
    + " " * 2000,
    f"{BUNDLE}.map": "{}",
    "app.bundle.css": "@font-face { src: url(/a34f9d1faa5f3315.woff2) }",
    "manifest.json": '{"src": "/assets/icon.png"}',
    "app-config.js": "window.config = {}",
    "sw.js": "caches the root",
    "ort/ort.wasm": "learns",
    "5130ccb17e3f3f5b.wasm": "decodes",
}


def archive_of(folder: Path, files: dict[str, str], inside: str = "package/dist/") -> Path:
    archive = folder / ARCHIVE
    with tarfile.open(archive, "w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(inside + name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return archive


def sha512_of(archive: Path) -> str:
    return base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put an npm of ours on an otherwise empty PATH; returns what gives it its script."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")

    def say(script: str) -> None:
        file = programs / "npm"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    return say


def test_files_are_at_home_under_the_viewers_address(tmp_path: Path):
    prepare(archive_of(tmp_path, FILES), tmp_path / "ready")
    page = (tmp_path / "ready/index.html").read_text()
    assert page == (
        '<meta content="/viewer/assets/a.png"><script>window.PUBLIC_URL="/viewer/"</script>'
        '<link href="/viewer/app.bundle.css"><script src="/viewer/app.js"></script><a href="https://example.org/">'
    )
    bundle = (tmp_path / "ready" / BUNDLE).read_text()
    assert bundle.startswith('__webpack_require__.p = "/viewer/";')
    assert "'/viewer/dicom-microscopy-viewer/x.js'" in bundle
    assert "url(/viewer/a34f9d1faa5f3315.woff2)" in (tmp_path / "ready/app.bundle.css").read_text()
    assert '"/viewer/assets/icon.png"' in (tmp_path / "ready/manifest.json").read_text()


def test_only_what_is_asked_for_is_unpacked(tmp_path: Path):
    prepare(archive_of(tmp_path, FILES), tmp_path / "ready")
    found = {str(file.relative_to(tmp_path / "ready")) for file in (tmp_path / "ready").rglob("*")}
    assert found == {
        "index.html",
        BUNDLE,
        f"{BUNDLE}.gz",
        "app.bundle.css",
        "manifest.json",
        "5130ccb17e3f3f5b.wasm",
    }


def test_the_compressed_form_is_the_same_file(tmp_path: Path):
    prepare(archive_of(tmp_path, FILES), tmp_path / "ready")
    compressed = (tmp_path / "ready" / f"{BUNDLE}.gz").read_bytes()
    assert gzip.decompress(compressed) == (tmp_path / "ready" / BUNDLE).read_bytes()


def test_nothing_is_written_out_of_the_folder(tmp_path: Path):
    prepare(
        archive_of(tmp_path, FILES | {"../../../escaped.js": "x", "a/../../b.js": "x"}), tmp_path / "ready"
    )
    assert not list(tmp_path.rglob("escaped.js"))
    assert not list(tmp_path.rglob("b.js"))


def test_a_package_that_names_its_root_otherwise_is_refused(tmp_path: Path):
    with pytest.raises(CannotProcess, match="does not name its root"):
        prepare(archive_of(tmp_path, FILES | {BUNDLE: "no public path"}), tmp_path / "ready")


def test_an_archive_with_other_bytes_is_refused(tmp_path: Path):
    archive = archive_of(tmp_path, FILES)
    verify(archive.read_bytes(), sha512_of(archive))
    with pytest.raises(CannotProcess, match="is not the archive that was tried"):
        verify(archive.read_bytes() + b"\0", sha512_of(archive))


def test_a_fetched_viewer_is_found_and_not_fetched_again(
    tmp_path: Path, npm, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "registry").mkdir()
    archive = archive_of(tmp_path / "registry", FILES)
    monkeypatch.setattr(viewer_package, "SHA512", sha512_of(archive))
    npm(f'echo "$@" >> {tmp_path}/asked; cp {archive} "$5"')
    tools = tmp_path / "tools"
    assert find_viewer(tools) is None
    folder = fetch(tools, lambda _: None)
    assert find_viewer(tools) == folder
    assert fetch(tools, lambda _: None) == folder
    (asked,) = (tmp_path / "asked").read_text().splitlines()
    assert asked.endswith(f" {NAME}@{VERSION}")
    assert [file.name for file in tools.iterdir()] == [folder.name]


def test_an_archive_that_is_not_the_pinned_one_leaves_nothing(tmp_path: Path, npm):
    (tmp_path / "registry").mkdir()
    archive = archive_of(tmp_path / "registry", FILES)
    npm(f'cp {archive} "$5"')
    with pytest.raises(CannotProcess, match="SHA-512"):
        fetch(tmp_path / "tools", lambda _: None)
    assert list((tmp_path / "tools").iterdir()) == []


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'npm error network is unreachable' >&2; exit 1", "npm error network is unreachable"),
        ("exit 7", "exit code 7"),
        ("exit 0", f"npm left no {ARCHIVE}"),
    ],
)
def test_without_a_network_the_reason_is_said(tmp_path: Path, npm, script: str, said: str):
    npm(script)
    with pytest.raises(NotFetched) as refused:
        fetch(tmp_path / "tools", lambda _: None)
    assert said in refused.value.detail


def test_set_up_goes_on_without_a_viewer(tmp_path: Path, npm, capsys: pytest.CaptureFixture[str]):
    npm("echo offline >&2; exit 1")
    arguments = ["viewer", "fetch", "--tools", str(tmp_path / "tools")]
    assert main([*arguments, "--optional"]) == exits.OK
    told = capsys.readouterr().out
    assert "No viewer: npm did not succeed: offline." in told
    assert "Gantry runs without it" in told
    assert main(arguments) == exits.FAILED
    assert "offline" in capsys.readouterr().err


def test_a_folder_without_a_viewer_is_refused_before_anything_starts(tmp_path: Path, capsys):
    assert main(["up", "--state", str(tmp_path / "state"), "--viewer", str(tmp_path)]) == exits.FAILED
    assert "holds no viewer" in capsys.readouterr().err
    assert not (tmp_path / "state").exists()


def test_a_stack_without_a_viewer_says_how_to_get_one():
    facts = {"dicomweb_url": "http://a/dicom-web", "dimse_host": "a", "dimse_port": 1, "ae_title": "A"}
    without = list(describe(StackFacts(**facts, store="file")))
    assert any("Viewer" in line and "gantry viewer fetch" in line for line in without)
    within = list(describe(StackFacts(**facts, store="file", viewer_url="http://a/viewer/")))
    assert "  Viewer    http://a/viewer/" in within
