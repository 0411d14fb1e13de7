"""``make clients``: clients that others have written, against an archive with login; a line for each.

The scripts that drive them are no part of this project. They lie in a folder beside it or where
``--scripts`` says; their ``setup.sh`` installs the clients into a work folder, once.

With ``--record`` what each asks is written to ``recorded/``, for ``test_recorded.py`` to ask again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from recording import Exchange, entries_of, names_of, write_recording
from token_proxy import token_proxy

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT.parent / "shared/bench/clients"
RECORDED = Path(__file__).parent / "recorded"
CLIENT_SECONDS = 300
# Longer than a run lasts: most of these clients are given one token and keep it.
TOKEN_SECONDS = "3600"
# Where a page of another origin comes from in `ohif_open_study.py --cross-origin`.
OTHER_ORIGIN = "http://127.0.0.1:18101"
# Titles that the scripts call by, and those that they listen as.
CALLERS = ("DCMTKSCU", "PYSCU", "ODIL", "PIXELMED")
DESTINATIONS = {"DCMTKDST": 14255, "PYSCP": 14245, "DCMQRSCP": 14244}
WEB_LIBRARIES = ("jsclient", "dwv", "microscopy", "cornerstone", "niivue")
SAID = re.compile(r"\d+ passed, \d+ failed.*|\d+ generated.*|.*-> (?:NOT )?RENDERED|filter requests.*")
FLAWS = re.compile(r"(?:FAIL|--- image load errors|---.*answered with an error).*")


@dataclass(frozen=True)
class Archive:
    """The archive under test."""

    base: str
    host: str
    port: int
    title: str
    token: str
    # The same with the token added, for clients that cannot be given one.
    open_base: str


@dataclass(frozen=True)
class Client:
    """One client: its name, and how to run it in the work folder."""

    name: str
    command: Sequence[str]
    # It sends all that this other client sends, and more.
    beyond: str = ""
    # Whether it is a program whose requests are worth keeping.
    recorded: bool = True


def clients(scripts: Path, work: Path, archive: Archive) -> list[Client]:
    """Return every client, each with the token in the way that it takes one."""
    python, base, there = str(work / "venv/bin/python"), archive.base, archive.open_base
    header = f"Authorization: Bearer {archive.token}"
    dimse = [archive.host, str(archive.port), archive.title, "data"]
    manifest = json.loads((work / "data/manifest.json").read_text())

    def script(name: str, *arguments: str) -> list[str]:
        return [python, str(scripts / name), *arguments]

    def ohif(kind: str, *arguments: str) -> list[str]:
        picture = f"out/ohif-{kind}.png"
        wanted = ["--header", header, *arguments, "--wait", "30"]
        return script("ohif_open_study.py", base, manifest[kind]["study"], picture, *wanted)

    schemathesis = [str(work / "venv/bin/schemathesis"), "run", str(scripts / "dicomweb_openapi.json")]
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    fuzzing = ["--max-examples", "25", "--phases", "fuzzing", "--seed", "1", "--checks", checks]
    python_client = script("python_client.py", base, "data", "--token", archive.token)
    libraries = ["data", "out", "--modules", "npm/node_modules"]
    return [
        Client("python", [*python_client, "--store"]),
        Client("wsidicom", [*python_client, "--wsidicom"], beyond="python"),
        Client("dcmtk", ["bash", str(scripts / "dcmtk_roundtrip.sh"), *dimse], recorded=False),
        Client("pynetdicom", script("pynetdicom_client.py", *dimse), recorded=False),
        Client("odil-pixelmed", ["bash", str(scripts / "dimse_extra.sh"), *dimse], recorded=False),
        *(
            Client(f"web-{name}", script("web_viewers.py", there, *libraries, "--only", name))
            for name in WEB_LIBRARIES
        ),
        *(
            Client(f"ohif-{kind}", ohif(kind))
            for kind in ("ct", "ct_j2k", "ct_jls", "ct_rle", "ct_names", "us_mf")
        ),
        Client("ohif-mpr", ohif("ct", "--query", "hangingprotocolId=mpr")),
        Client("ohif-seg", ohif("ct", "--dblclick", "SEG of CT")),
        Client("ohif-slide", ohif("wsi", "--mode", "microscopy")),
        Client("ohif-pdf", ohif("pdf", "--expect", "pdf")),
        Client("ohif-cross-origin", ohif("ct", "--cross-origin")),
        Client("ohif-thumbnail", ohif("ct", "--set", 'thumbnailRendering="thumbnail"', "--strict")),
        Client("ohif-upload", script("ohif_list_upload.py", there, "data/ct_001.dcm", "out/ohif-list.png")),
        Client("schemathesis", [*schemathesis, "--url", base, "-H", header, *fuzzing], recorded=False),
    ]


def main() -> int:
    """Run what was asked for and return 0 when all of it went well."""
    parser = argparse.ArgumentParser(prog="clients", description=__doc__)
    parser.add_argument("--scripts", type=Path, default=SCRIPTS, metavar="DIR", help="default: %(default)s")
    parser.add_argument("--work", type=Path, default=ROOT / ".gantry-tools/clients", metavar="DIR")
    parser.add_argument("--only", default="", metavar="REGEX", help="clients whose name matches")
    parser.add_argument("--record", action="store_true", help="write down what the clients ask")
    options = parser.parse_args()
    scripts, work = options.scripts.resolve(), options.work.resolve()
    if not (scripts / "setup.sh").is_file():
        print(f"There are no clients' scripts in {scripts}; --scripts names another folder.")
        return 1
    if not (work / "data/manifest.json").is_file():
        print(f"Installing the clients in {work} (once; some minutes)", flush=True)
        subprocess.run(["bash", str(scripts / "setup.sh"), str(work)], check=True)
    (work / "out").mkdir(exist_ok=True)
    seen: list[Exchange] = []
    with running_archive(seen.append if options.record else None) as archive:
        chosen = [one for one in clients(scripts, work, archive) if re.search(options.only, one.name)]
        failed = run_all(chosen, work, seen)
    print(f"{len(chosen) - len(failed)} of {len(chosen)} clients went well; logs in {work / 'out'}")
    return 1 if failed else 0


def run_all(chosen: Sequence[Client], work: Path, seen: list[Exchange]) -> list[str]:
    """Run clients and return the names of those that failed; record those whose requests are ``seen``."""
    names = names_of(json.loads((work / "data/manifest.json").read_text()))
    failed, recorded = [], {}
    for client in chosen:
        seen.clear()
        if not run(client, work):
            failed.append(client.name)
        if seen and client.recorded:
            entries = entries_of(seen, names)
            recorded[client.name] = entries
            others = recorded.get(client.beyond, [])
            entries = [entry for entry in entries if entry not in others]
            write_recording(RECORDED / f"{client.name}.json", client.name, entries)
    return failed


def run(client: Client, work: Path) -> bool:
    """Run a client, print a line and what it found wrong; whether it went well."""
    log, begun = work / f"out/{client.name}.log", time.monotonic()
    with log.open("wb") as stream:
        try:
            code = subprocess.run(
                client.command,
                cwd=work,
                stdout=stream,
                stderr=subprocess.STDOUT,
                timeout=CLIENT_SECONDS,
                check=False,
                env=os.environ | {"PY": str(work / "venv/bin/python")},
            ).returncode
        except subprocess.TimeoutExpired:
            code = -1
    lines = log.read_text(errors="replace").splitlines()
    said = [line for line in lines if SAID.search(line)]
    verdict = "ok" if code == 0 else "FAIL"
    took = time.monotonic() - begun
    print(f"{verdict:<5}{client.name:<20}{took:>4.0f} s  {said[-1][:100] if said else ''}", flush=True)
    for line in lines if code else ():
        if FLAWS.match(line):
            print(f"       {line[:200]}", flush=True)
    return code == 0


@contextmanager
def running_archive(note: Callable[[Exchange], object] | None = None) -> Iterator[Archive]:
    """Run an archive with login whose operator has registered every title of the scripts.

    Where requests are to be noted, its address is that of a proxy which does so.
    """
    with tempfile.TemporaryDirectory(prefix="gantry-clients-") as folder:
        state = Path(folder) / "state"
        environment = {"GANTRY_ACCESS_TOKEN_SECONDS": TOKEN_SECONDS, "GANTRY_CORS_ORIGINS": OTHER_ORIGIN}
        gantry(state, "up", "--detach", "--store", "file", **environment)
        try:
            for title in (*CALLERS, *DESTINATIONS):
                port = DESTINATIONS.get(title)
                listens = ["--host", "127.0.0.1", "--port", str(port)] if port else []
                rights = ["--may", "store", "--may", "find", "--may", "move", "--from", "127.0.0.1"]
                gantry(state, "ae", "add", title, *rights, *listens)
            facts = json.loads((state / "supervisor.json").read_text())["facts"]
            token = gantry(state, "token").strip()
            with token_proxy(facts["dicomweb_url"], token, note or (lambda _exchange: None)) as open_base:
                yield Archive(
                    open_base if note else facts["dicomweb_url"],
                    facts["dimse_host"],
                    facts["dimse_port"],
                    facts["ae_title"],
                    token,
                    open_base,
                )
        finally:
            gantry(state, "down")


def gantry(state: Path, *arguments: str, **environment: str) -> str:
    """Run a command of the operator and return what it prints."""
    command = [sys.executable, "-P", "-m", "gantry_cli", *arguments, "--state", str(state)]
    done = subprocess.run(
        command, check=True, env=os.environ | environment, stdout=subprocess.PIPE, text=True, timeout=240
    )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
