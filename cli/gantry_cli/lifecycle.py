"""``gantry status`` and ``gantry down``: what another shell can see and do of a running stack."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from gantry_dicom.errors import Unavailable
from gantry_embedded.process import is_alive
from gantry_embedded.state import StackState, end_leftovers, is_running, read_state

from gantry_cli.exits import FAILED, NOT_RUNNING, OK
from gantry_cli.options import StackFacts
from gantry_cli.terminal import complain, say
from gantry_cli.viewer import NO_VIEWER

DOWN_SECONDS = 60.0
POLL_SECONDS = 0.05
ADMINISTRATOR = "admin"
PAGE_CACHE_NOTE = (
    "Note: SeaweedFS acknowledges from the page cache. Instances survive killed processes, "
    "not a power failure; --store file syncs before it acknowledges."
)


def down(state: Path) -> int:
    """Stop the stack of a state folder; that it does not run is no error."""
    current = read_state(state)
    if current is None or not is_running(state):
        leftovers = end_leftovers(current) if current is not None else []
        say("Not running." + (f" Ended what was left over: {', '.join(leftovers)}." if leftovers else ""))
        return OK
    os.kill(current.pid, signal.SIGTERM)
    deadline = time.monotonic() + DOWN_SECONDS
    while is_running(state) or is_alive(current.pid):
        if time.monotonic() > deadline:
            complain("the supervisor does not stop; killing it")
            os.kill(current.pid, signal.SIGKILL)
            end_leftovers(read_state(state) or current)
            return FAILED
        time.sleep(POLL_SECONDS)
    say("Stopped.")
    return OK


def status(state: Path) -> int:
    """Print what runs; the exit code is 0 when all is ready, 3 when not."""
    current = read_state(state)
    if current is None or not is_running(state):
        say(f"Not running in {state}")
        return NOT_RUNNING
    for child in current.children:
        restarts = f", restarted {child.restarts} times" if child.restarts else ""
        say(f"  {child.name:<16}{child.state}, pid {child.pid}{restarts}")
    if current.ready:
        for line in describe(facts_of(state)):
            say(line)
    return OK if _all_ready(current) else NOT_RUNNING


def _all_ready(state: StackState) -> bool:
    return state.ready and all(child.state == "ready" for child in state.children)


def facts_of(state: Path) -> StackFacts:
    """Return how to reach the running stack. Raises ``Unavailable``."""
    current = read_state(state)
    if current is None or not current.ready or not is_running(state):
        raise Unavailable(f"no stack is running in {state}; start one with `gantry up`")
    return StackFacts(**current.facts)


def describe(facts: StackFacts, new_password: str = "") -> Iterator[str]:
    """Yield where the stack can be reached, and who may; a password only when it was just made."""
    yield f"  DICOMweb  {facts.dicomweb_url}"
    yield f"  Viewer    {facts.viewer_url or NO_VIEWER}"
    yield f"  DIMSE     {facts.ae_title} at {facts.dimse_host}, port {facts.dimse_port}"
    yield f"  Store     {facts.store}"
    if not facts.issuer:
        yield "  Login     none: whoever reaches this machine's loopback may read and store"
    elif new_password:
        yield f"  Login     {ADMINISTRATOR}, password {new_password} (kept in {facts.password_file})"
    else:
        yield f"  Login     {ADMINISTRATOR}, password in {facts.password_file}"
    if facts.store == "s3":
        yield PAGE_CACHE_NOTE
