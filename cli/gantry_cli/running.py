"""``gantry up``: the stack in this process until Ctrl-C, or in a process of its own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from gantry_dicom.errors import Unavailable
from gantry_embedded.errors import NotReady
from gantry_embedded.files import private_folder
from gantry_embedded.process import last_lines
from gantry_embedded.state import read_state
from gantry_embedded.supervisor import Supervisor

from gantry_cli.exits import FAILED, OK
from gantry_cli.lifecycle import POLL_SECONDS, describe, facts_of
from gantry_cli.options import StackFacts, StackOptions
from gantry_cli.stack import ADMIN_PASSWORD, running_stack
from gantry_cli.terminal import complain, say

DETACH_SECONDS = 180.0
SUPERVISOR_LOG = "supervisor.log"


class Interrupted(Unavailable):
    """The user asked to stop while something was under way."""


def up(options: StackOptions, *, detach: bool) -> int:
    """Start the stack; in the foreground until Ctrl-C, or in the background."""
    if detach:
        return up_detached(options)
    return run_stack(options, lambda _facts, _stopping: None)


def run_stack(options: StackOptions, beside: Callable[[StackFacts, Callable[[], bool]], None]) -> int:
    """Run the stack in this process until a signal.

    ``beside`` runs in a thread once all is ready, because the supervision needs the main one; it gets a
    function that tells whether to give up. When it fails, the stack stops and its error is raised.
    """
    begun = time.monotonic()
    supervisor = Supervisor(options.state, say)
    future: Future[None] | None = None

    def work(facts: StackFacts) -> None:
        try:
            beside(facts, supervisor.is_stopping)
        except BaseException:
            supervisor.ask_to_stop()
            raise
        say("Ctrl-C stops everything.")

    had_password = (options.state / ADMIN_PASSWORD).exists()
    say(f"Starting Gantry in {supervisor.folder}")
    try:
        with ThreadPoolExecutor(1) as pool, running_stack(options, supervisor) as facts:
            say(f"Ready after {time.monotonic() - begun:.1f} s.")
            quiet = had_password or options.in_background
            for line in describe(facts, "" if quiet else _password(facts)):
                say(line)
            future = pool.submit(work, facts)
            supervisor.watch()
            say("Stopping.")
    except NotReady:
        if not supervisor.is_stopping():
            raise
    if future is not None:
        with contextlib.suppress(Interrupted):
            future.result()
    say("Stopped.")
    return OK


def up_detached(options: StackOptions) -> int:
    """Start the stack in a process of its own and return when it is ready."""
    state = options.state
    log_file = private_folder(state / "logs") / SUPERVISOR_LOG
    had_password = (state / ADMIN_PASSWORD).exists()
    arguments = ["up", "--in-background", "--state", str(state)]
    arguments += ["--store", options.store] if options.store else []
    arguments += ["--http-port", str(options.http_port), "--dimse-port", str(options.dimse_port)]
    arguments += ["--viewer", str(options.viewer)] if options.viewer is not None else []
    if options.login is not None:
        arguments += ["--login" if options.login else "--no-login"]
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
            return FAILED
        if time.monotonic() > deadline:
            process.terminate()
            complain(f"not ready after {DETACH_SECONDS:.0f} s: {last_lines(log_file)}")
            return FAILED
        time.sleep(POLL_SECONDS)
    facts = facts_of(state)
    for line in describe(facts, "" if had_password else _password(facts)):
        say(line)
    say(f"Running in the background; `gantry down --state {state}` stops it.")
    return OK


def _password(facts: StackFacts) -> str:
    """Return the administrator's generated password, empty without login."""
    return Path(facts.password_file).read_text().strip() if facts.password_file else ""
