"""``make fuzz``: search for inputs that break the parsers, then for requests that break the archive.

Each target of ``targets.py`` runs in a process of its own under atheris, with a limit of time and memory
for each input; what it learns is kept in the work folder. Then schemathesis asks a running archive all
that its OpenAPI document describes. Prints a line for each; inputs that broke something are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WORK = ROOT / ".gantry-tools/fuzz"
# Names of packages whose branches guide the search.
INSTRUMENTED = ("gantry_dicom", "gantry_gateway", "gantry_dimse", "python_multipart")
INPUT_BYTES, INPUT_SECONDS, MEMORY_MEGABYTES = 4096, 5, 1024
HTTP, SETTINGS = "schemathesis", HERE / "schemathesis.toml"


def main() -> int:
    """Run what was asked for and return 0 when nothing was found."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=180, help="for each target (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="NAMES", help="targets, with commas between")
    parser.add_argument("--examples", type=int, default=30, help="of requests for each operation")
    parser.add_argument("--url", default="", help="an archive to ask, instead of one of its own")
    parser.add_argument("--target", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.target:
        return search(options.target, options.seconds)
    sys.path.insert(0, str(HERE))
    from targets import TARGETS

    names = options.only.split(",") if options.only else [*TARGETS, HTTP]
    found = [name for name in names if name != HTTP and not searched(name, options.seconds)]
    if HTTP in names and not asked(options.url, options.examples):
        found.append(HTTP)
    print(f"found something: {', '.join(found)}" if found else "nothing found")
    return 1 if found else 0


def searched(name: str, seconds: int) -> bool:
    """Run a target in a process of its own; whether it held."""
    log = folder(name) / "log"
    command = [sys.executable, "-P", __file__, "--target", name, "--seconds", str(seconds)]
    with log.open("wb") as stream:
        code = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, check=False).returncode
    text = log.read_text(errors="replace")
    runs = [line.split()[1] for line in text.splitlines() if line.startswith("Done ")]
    print(
        f"{'ok' if code == 0 else 'FOUND':<6}{name:<16}{runs[0] if runs else '?'} inputs  {log}", flush=True
    )
    return code == 0


def search(name: str, seconds: int) -> int:
    """Be the process of a target; does not return, but ends with libFuzzer's code."""
    import atheris

    sys.path.insert(0, str(HERE))
    with atheris.instrument_imports(include=[*INSTRUMENTED, "targets"]):
        from seeds import SEEDS
        from targets import TARGETS
    corpus, begun = folder(name) / "corpus", folder(name) / "seeds"
    for place in (corpus, begun):
        place.mkdir(exist_ok=True)
    for number, seed in enumerate(SEEDS[name]):
        (begun / str(number)).write_bytes(seed)
    limits = [f"-max_len={INPUT_BYTES}", f"-timeout={INPUT_SECONDS}", f"-rss_limit_mb={MEMORY_MEGABYTES}"]
    time = [f"-max_total_time={seconds}", f"-artifact_prefix={folder(name)}/"]
    atheris.Setup([name, *limits, *time, str(corpus), str(begun)], TARGETS[name])
    atheris.Fuzz()
    return 0


def folder(name: str) -> Path:
    """Return the folder of a target, made if need be."""
    place = WORK / name
    place.mkdir(parents=True, exist_ok=True)
    return place


def asked(url: str, examples: int) -> bool:
    """Ask an archive, by default a fresh one, all that it describes; whether it answers as described."""
    if url:
        return ask(url, examples)
    with tempfile.TemporaryDirectory(prefix="gantry-fuzz-") as place:
        state = Path(place) / "state"
        gantry(state, "up", "--detach", "--store", "file", "--no-login")
        try:
            facts = json.loads((state / "supervisor.json").read_text())["facts"]
            base = facts["dicomweb_url"]
            root = base.removesuffix("/dicom-web")
            held = ask(root, examples)
            return ask(root, examples, about_a_study(base, Path(place))) and held
        finally:
            gantry(state, "down")


def about_a_study(base: str, place: Path) -> Path:
    """Store a study, and return settings by which requests are about it rather than about nothing."""
    from gantry_testing.recorded_requests import studies_to_ask_about
    from gantry_testing.web import WebClient

    (cine,) = studies_to_ask_about()["us_mf"]
    with WebClient(base) as web:
        web.store([cine.data])
    given = {
        "path.partition": "main",
        "path.study": cine.study_uid,
        "path.series": cine.series_uid,
        "path.instance": cine.sop_uid,
        "query.studyUID": cine.study_uid,
        "query.seriesUID": cine.series_uid,
        "query.objectUID": cine.sop_uid,
    }
    lines = (f'"{name}" = "{value}"' for name, value in given.items())
    settings = place / "about-a-study.toml"
    settings.write_text("\n".join(["[parameters]", *lines, "", SETTINGS.read_text()]))
    return settings


def ask(root: str, examples: int, settings: Path = SETTINGS) -> bool:
    """Ask the archive at ``root``, with every check that the settings leave.

    A study that is there is asked about by the rules of the document only, since a parameter of another
    representation than the chosen one may be anything; it has not every representation; it stays.
    """
    name = HTTP if settings == SETTINGS else f"{HTTP}, stored"
    log = folder(HTTP) / ("log" if settings == SETTINGS else "stored.log")
    program = Path(sys.executable).with_name("schemathesis")
    command = [str(program), "--config-file", str(settings), "run", f"{root}/openapi.json"]
    if settings != SETTINGS:
        command += ["--mode", "positive", "--exclude-method", "DELETE"]
        command += ["--exclude-checks", "positive_data_acceptance"]
    command += ["--url", root, "--max-examples", str(examples), "--no-color"]
    environment = os.environ | {"HYPOTHESIS_STORAGE_DIRECTORY": str(folder(HTTP) / "examples")}
    with log.open("wb") as stream:
        code = subprocess.run(
            command, stdout=stream, stderr=subprocess.STDOUT, check=False, cwd=folder(HTTP), env=environment
        ).returncode
    last = log.read_text(errors="replace").strip().splitlines()[-1]
    return said(name, code, f"{last.strip('= ')}, {log}")


def said(name: str, code: int, what: str) -> bool:
    """Print a line about a run that ended with ``code``; whether it found nothing."""
    print(f"{'ok' if code == 0 else 'FOUND':<6}{name:<22}{what}", flush=True)
    return code == 0


def gantry(state: Path, *arguments: str) -> None:
    """Run a command of the operator."""
    python = ROOT / ".venv/bin/python"
    command = [str(python), "-P", "-m", "gantry_cli", *arguments, "--state", str(state)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=240)


if __name__ == "__main__":
    sys.exit(main())
