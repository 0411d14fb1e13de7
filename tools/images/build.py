"""Build the images of the services without a daemon: ``python tools/images/build.py [SERVICE ...]``.

The base images come out of Debian's packages (mmdebstrap), the images out of the services' Dockerfiles
(buildah, chroot isolation). Wheels are fetched before, with pip's ordinary settings and checked hashes, so
that the build itself asks no index. Everything lies under ``.gantry-tools/images``. Needs root, mmdebstrap
and buildah.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".gantry-tools" / "images"
SERVICES = tuple(sorted(path.parent.name for path in ROOT.glob("services/*/Dockerfile")))

# The time of every file in every layer: layers depend on their content alone, so what a release does not
# change is not fetched again. The image's label says when it was really made.
LAYER_EPOCH = 1577836800
DEBIAN = "bookworm"
# Of the release; `pip download` evaluates markers for the Python it runs on otherwise.
PYTHON = "3.11.2"
BASE = "localhost/gantry-base"
BUILD_BASE = "localhost/gantry-build-base"
BASE_PACKAGES = ("usr-is-merged", "python3", "libstdc++6", "tzdata")
BUILD_PACKAGES = (*BASE_PACKAGES, "python3-venv", "ca-certificates")
UNNEEDED = ("doc/*", "man/*", "info/*", "locale/*", "lintian/*")
# The conversion of old systems, for which usr-is-merged stands, and all of Perl, which it brings.
PURGE = (
    'chroot "$1" dpkg --purge usrmerge libfile-find-rule-perl libnumber-compare-perl libtext-glob-perl'
    " perl perl-modules-5.36 libperl5.36 libgdbm-compat4"
)
# Byte code of the system's Python is checked against files' times, which the layers do not keep.
COMPILE = (
    'PYTHONHASHSEED=0 chroot "$1" python3 -m compileall -qf'
    " --invalidation-mode unchecked-hash /usr/lib/python3.11"
)
# Logs and caches name the hour, or the machine, at which the packages were installed; nobody needs to
# become somebody else.
CLEAN = (
    'rm -rf "$1"/var/log/* "$1"/var/cache/* "$1"/var/lib/dpkg/*-old "$1"/etc/hostname "$1"/etc/resolv.conf'
    ' "$1"/etc/machine-id "$1"/var/lib/systemd; find "$1" -xdev -perm /6000 -type f -exec chmod ug-s {} +'
)


def main() -> None:
    """Build what the command line names."""
    parser = argparse.ArgumentParser(description="Build the images of the services.")
    parser.add_argument(
        "services", nargs="*", metavar="SERVICE", help=f"of {', '.join(SERVICES)}; all if none"
    )
    parser.add_argument("--tag", help="tag of the images; the project's version if not given")
    parser.add_argument("--fresh", action="store_true", help="use no layer of an earlier build")
    parser.add_argument(
        "--fresh-base", action="store_true", help="make the base images anew, with Debian's updates"
    )
    parser.add_argument("--archive", type=Path, help="also write OCI archives into this folder")
    options = parser.parse_args()
    unknown = set(options.services) - set(SERVICES)
    if unknown:
        parser.error(f"there is no service {', '.join(sorted(unknown))}")
    missing = [name for name in ("buildah", "mmdebstrap") if shutil.which(name) is None]
    if missing:
        parser.error(f"install {' and '.join(missing)} (Debian packages)")
    STATE.mkdir(parents=True, exist_ok=True)
    (STATE / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}\n')
    make_base(BUILD_BASE, BUILD_PACKAGES, fresh=options.fresh_base)
    make_base(BASE, BASE_PACKAGES, fresh=options.fresh_base)
    tag = options.tag or version()
    for service in options.services or SERVICES:
        fetch_wheels(service)
        image = f"localhost/gantry-{service}:{tag}"
        build(service, image, fresh=options.fresh)
        print(f"{image}  {size(image)}", flush=True)
        if options.archive:
            options.archive.mkdir(parents=True, exist_ok=True)
            buildah("push", "-q", image, f"oci-archive:{options.archive / f'gantry-{service}.tar'}:{tag}")


def make_base(image: str, packages: Sequence[str], *, fresh: bool) -> None:
    """Make an image of Debian's essential packages and ``packages``, if there is none."""
    if not fresh and buildah("images", "-q", "--filter", f"reference={image}", capture=True).strip():
        return
    print(f"{image}: {' '.join(packages)}", flush=True)
    with tempfile.TemporaryDirectory(dir=STATE) as folder:
        run(
            "mmdebstrap",
            "--quiet",
            "--variant=essential",
            f"--include={','.join(packages)}",
            *(f"--dpkgopt=path-exclude=/usr/share/{pattern}" for pattern in UNNEEDED),
            "--dpkgopt=path-include=/usr/share/doc/*/copyright",
            f"--customize-hook={PURGE}",
            f"--customize-hook={COMPILE}",
            f"--customize-hook={CLEAN}",
            DEBIAN,
            f"{folder}/root.tar",
            environment={"SOURCE_DATE_EPOCH": str(LAYER_EPOCH)},
        )
        Path(folder, "Dockerfile").write_text("FROM scratch\nADD root.tar /\n")
        buildah("bud", "-q", *BUD_OPTIONS, "--tag", image, folder, capture=True)


def fetch_wheels(service: str) -> None:
    """Fetch what a service and its build are pinned to, by pip's settings on this machine."""
    wanted = STATE / "requirements.txt"
    for name in ("build", service):
        wanted.write_text("\n".join(for_base((ROOT / "requirements" / f"{name}.txt").read_text())) + "\n")
        run(
            *(sys.executable, "-m", "pip", "download", "-qq", "--require-hashes", "--no-deps"),
            *("--only-binary=:all:", "--python-version", PYTHON, "--dest", str(STATE / "wheels")),
            *("-r", str(wanted)),
        )


def for_base(requirements: str) -> Iterator[str]:
    """Yield the entries that hold for the base image's Python, which need not be the one we run on."""
    environment = {"python_full_version": PYTHON, "python_version": PYTHON.rpartition(".")[0]}
    for entry in re.split(r"\n(?=\S)", requirements.strip()):
        first, newline, hashes = entry.partition("\n")
        requirement = Requirement(first.rstrip("\\ "))
        if requirement.marker is None or requirement.marker.evaluate(environment):
            requirement.marker = None
            yield f"{requirement} \\{newline}{hashes}"


def build(service: str, image: str, *, fresh: bool) -> None:
    """Build one image out of the wheels that are there; pip asks no index."""
    arguments = {
        "BASE": BASE,
        "BUILD_BASE": BUILD_BASE,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": "/wheels",
        "VERSION": version(),
        "REVISION": revision(),
        "CREATED": created(),
    }
    buildah(
        *("bud", "-q", *BUD_OPTIONS, "--layers"),
        *(["--no-cache"] if fresh else []),
        *("--volume", f"{STATE / 'wheels'}:/wheels:ro"),
        *(word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")),
        *("--tag", image, "--file", f"services/{service}/Dockerfile", "."),
        capture=True,
    )


def version() -> str:
    """Return the version of the project."""
    document = tomllib.loads((ROOT / "libs" / "pyproject.toml").read_text())
    return str(document["project"]["version"])


def revision() -> str:
    """Return the commit that is built, marked when the tree differs from it."""
    commit = run("git", "rev-parse", "HEAD", capture=True).strip()
    changed = run("git", "status", "--porcelain", "libs", "services", "requirements", "tools", capture=True)
    return f"{commit}-changed" if changed.strip() else commit


def created() -> str:
    """Return the time of the commit that is built."""
    seconds = int(run("git", "log", "-1", "--format=%ct", capture=True))
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def size(image: str) -> str:
    """Return how large an image's files are, for people."""
    return str(json.loads(buildah("images", "--json", image, capture=True))[0]["size"])


def buildah(*arguments: str, capture: bool = False) -> str:
    """Run buildah on the images of this tree alone."""
    stores = ("--root", str(STATE / "store"), "--runroot", str(STATE / "run"), "--storage-driver", "overlay")
    return run("buildah", *stores, *arguments, capture=capture)


def run(*command: str, capture: bool = False, environment: dict[str, str] | None = None) -> str:
    """Run a command in the tree's root, whose failure ends ours; return its output if it is captured."""
    result = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | (environment or {}),
        stdout=subprocess.PIPE if capture else None,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(command[:2])} failed ({result.returncode})\n{result.stdout or ''}")
    return result.stdout or ""


BUD_OPTIONS = (
    *("--isolation", "chroot", "--format", "oci", "--timestamp", str(LAYER_EPOCH)),
    *("--signature-policy", str(STATE / "policy.json")),
)

if __name__ == "__main__":
    main()
