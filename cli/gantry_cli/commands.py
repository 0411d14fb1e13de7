"""What each command does."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
from gantry_dicom.errors import Unavailable
from gantry_embedded.errors import NotReady
from gantry_embedded.files import private_folder
from gantry_embedded.process import last_lines
from gantry_embedded.state import StackState, end_leftovers, is_running, read_state
from gantry_embedded.supervisor import Supervisor

from gantry_cli import demo as demonstration
from gantry_cli.importer import store_all
from gantry_cli.options import StackFacts, StackOptions
from gantry_cli.sources import Skipped, files_under, is_url, parts_of_url
from gantry_cli.stack import running_stack
from gantry_cli.terminal import Progress, complain, say

EXIT_OK, EXIT_FAILED, EXIT_NOT_RUNNING = 0, 1, 3
DETACH_SECONDS = 180.0
DOWN_SECONDS = 60.0
POLL_SECONDS = 0.1
SUPERVISOR_LOG = "supervisor.log"
PAGE_CACHE_NOTE = (
    "Note: SeaweedFS acknowledges from the page cache. Instances survive killed processes, "
    "not a power failure; --store file syncs before it acknowledges."
)


def up(options: StackOptions, *, detach: bool) -> int:
    """Start the stack; in the foreground until Ctrl-C, or in the background."""
    if detach:
        return _up_detached(options)
    return _run(options, lambda _facts, _supervisor: None)


def demo(options: StackOptions, *, detach: bool) -> int:
    """Start the stack (unless it runs already), store the demonstration, say what to look at."""
    if not is_running(options.state) and not detach:
        return _run(options, lambda facts, supervisor: _demonstrate(options, facts, supervisor.is_stopping))
    if not is_running(options.state) and (code := _up_detached(options)) != EXIT_OK:
        return code
    _demonstrate(options, _facts(options.state), lambda: False)
    return EXIT_OK


def _demonstrate(options: StackOptions, facts: StackFacts, stopping: Callable[[], bool]) -> None:
    loaded = demonstration.load(options.state, facts, stopping)
    for line in demonstration.describe(facts, loaded):
        say(line)


def _run(options: StackOptions, then: Callable[[StackFacts, Supervisor], None]) -> int:
    """Run the stack in this process. ``then`` runs beside the supervision, which needs the main thread."""
    begun = time.monotonic()
    supervisor = Supervisor(options.state, say)
    beside: Future[None] | None = None

    def work(facts: StackFacts) -> None:
        try:
            then(facts, supervisor)
        except BaseException:
            supervisor.ask_to_stop()
            raise
        say("Ctrl-C stops everything.")

    say(f"Starting Gantry in {supervisor.folder}")
    try:
        with ThreadPoolExecutor(1) as pool, running_stack(options, supervisor) as facts:
            say(f"Ready after {time.monotonic() - begun:.1f} s.")
            for line in describe(facts):
                say(line)
            beside = pool.submit(work, facts)
            supervisor.watch()
            say("Stopping.")
    except NotReady:
        if not supervisor.is_stopping():
            raise
    if beside is not None:
        with contextlib.suppress(demonstration.Interrupted):
            beside.result()
    say("Stopped.")
    return EXIT_OK


def describe(facts: StackFacts) -> Iterator[str]:
    """Yield where the stack can be reached."""
    yield f"  DICOMweb  {facts.dicomweb_url}"
    yield f"  DIMSE     {facts.ae_title} at {facts.dimse_host}, port {facts.dimse_port}"
    yield f"  Store     {facts.store}"
    if facts.store == "s3":
        yield PAGE_CACHE_NOTE


def _up_detached(options: StackOptions) -> int:
    state = options.state.absolute()
    log_file = private_folder(state / "logs") / SUPERVISOR_LOG
    arguments = ["up", "--state", str(state)]
    arguments += ["--store", options.store] if options.store else []
    arguments += ["--http-port", str(options.http_port), "--dimse-port", str(options.dimse_port)]
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "gantry_cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + DETACH_SECONDS
    while not ((current := read_state(state)) and current.pid == process.pid and current.ready):
        if process.poll() is not None:
            complain(last_lines(log_file))
            return EXIT_FAILED
        if time.monotonic() > deadline:
            process.terminate()
            complain(f"not ready after {DETACH_SECONDS:.0f} s: {last_lines(log_file)}")
            return EXIT_FAILED
        time.sleep(POLL_SECONDS)
    for line in describe(_facts(state)):
        say(line)
    say(f"Running in the background; `gantry down --state {options.state}` stops it.")
    return EXIT_OK


def down(state: Path) -> int:
    """Stop the stack of a state folder; that it does not run is no error."""
    current = read_state(state)
    if current is None or not is_running(state):
        leftovers = end_leftovers(current) if current is not None else []
        say("Not running." + (f" Ended what was left over: {', '.join(leftovers)}." if leftovers else ""))
        return EXIT_OK
    os.kill(current.pid, signal.SIGTERM)
    deadline = time.monotonic() + DOWN_SECONDS
    while is_running(state):
        if time.monotonic() > deadline:
            complain("the supervisor does not stop; killing it")
            os.kill(current.pid, signal.SIGKILL)
            end_leftovers(read_state(state) or current)
            return EXIT_FAILED
        time.sleep(POLL_SECONDS)
    say("Stopped.")
    return EXIT_OK


def status(state: Path) -> int:
    """Print what runs; the exit code is 0 when all is ready, 3 when not."""
    current = read_state(state)
    if current is None or not is_running(state):
        say(f"Not running in {state}")
        return EXIT_NOT_RUNNING
    for child in current.children:
        restarts = f", restarted {child.restarts} times" if child.restarts else ""
        say(f"  {child.name:<16}{child.state}, pid {child.pid}{restarts}")
    if current.ready:
        for line in describe(_facts(state)):
            say(line)
    return EXIT_OK if _all_ready(current) else EXIT_NOT_RUNNING


def _all_ready(state: StackState) -> bool:
    return state.ready and all(child.state == "ready" for child in state.children)


def _facts(state: Path) -> StackFacts:
    """Return how to reach the running stack. Raises ``Unavailable``."""
    current = read_state(state)
    if current is None or not current.ready or not is_running(state):
        raise Unavailable(f"no stack is running in {state}; start one with `gantry up`")
    return StackFacts(**current.facts)


def import_(state: Path, source: str, target: str | None) -> int:
    """Send everything at ``source`` to the running stack, or to the DICOMweb base ``target``."""
    url = (target or _facts(state).dicomweb_url).rstrip("/")
    skipped = Skipped()
    with (
        httpx.Client(timeout=120.0) as client,
        tempfile.TemporaryDirectory(prefix="gantry-import-") as folder,
    ):
        parts = (
            parts_of_url(source, client, Path(folder))
            if is_url(source)
            else files_under(Path(source), skipped)
        )
        summary = store_all(client, url, parts, Progress("STOW-RS"))
    for line in (*summary.lines(), *skipped.lines()):
        say(line)
    return EXIT_FAILED if summary.refused or skipped.unreadable else EXIT_OK
