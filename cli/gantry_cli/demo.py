"""``gantry demo``: a synthetic patient stored by both protocols, and where to see it."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx
from gantry_dicom.errors import Conflict, Unavailable
from gantry_embedded.files import write_private
from gantry_embedded.state import is_running
from gantry_testing.synthetic.demo import PATIENT, demo_patient
from gantry_testing.synthetic.values import Instance

from gantry_cli.access import AccessOptions, administration, local_account
from gantry_cli.exits import OK
from gantry_cli.importer import store_all
from gantry_cli.lifecycle import facts_of
from gantry_cli.modality import Archive, is_let_in, send
from gantry_cli.options import DEFAULT_STATE, StackFacts, StackOptions
from gantry_cli.running import Interrupted, run_stack, up_detached
from gantry_cli.stow import Part
from gantry_cli.terminal import Progress, say
from gantry_cli.tokens import BearerAuth

REMEMBERED_FILE = "demo.json"
CALLING_AE_TITLE = "GANTRY-DEMO"
ACCOUNT, GRANTS = "demo", ("service@main",)
KNOWN_SECONDS = 30.0
SEARCHABLE_SECONDS = 120.0
POLL_SECONDS = 0.2
MIDDLE_SLICE = 24
STUDY_UID, STUDY_INSTANCES = "0020000D", "00201208"


@dataclass(slots=True)
class Loaded:
    """What the demonstration holds: instances a study, and one instance worth a look."""

    studies: dict[str, int] = field(default_factory=dict)
    picture: str = ""

    def add(self, instance: Instance) -> None:
        """Count an instance; the picture is one from the middle of the first series."""
        self.studies[instance.study_uid] = self.studies.get(instance.study_uid, 0) + 1
        series = f"studies/{instance.study_uid}/series/{instance.series_uid}/"
        if not self.picture or (self.picture.startswith(series) and instance.instance_number == MIDDLE_SLICE):
            self.picture = f"{series}instances/{instance.sop_uid}"


def demo(options: StackOptions, *, detach: bool) -> int:
    """Start the stack (unless it runs already), store the patient, say what to look at."""
    if not is_running(options.state) and not detach:
        return run_stack(options, lambda facts, stopping: _show(options, facts, stopping))
    if not is_running(options.state) and (code := up_detached(options)) != OK:
        return code
    _show(options, facts_of(options.state), lambda: False)
    return OK


def _show(options: StackOptions, facts: StackFacts, stopping: Callable[[], bool]) -> None:
    loaded = load(options.state, facts, stopping)
    for line in describe(facts, loaded, token_command(options.state)):
        say(line)


def load(state: Path, facts: StackFacts, stopping: Callable[[], bool]) -> Loaded:
    """Store the patient unless it is there already, and wait until it can be searched.

    Raises ``Unavailable`` when the stack does not take or find it, ``Interrupted`` when ``stopping``.
    """
    auth = BearerAuth(local_account(state, ACCOUNT, GRANTS)) if facts.issuer else None
    with httpx.Client(timeout=60.0, auth=auth) as client:
        earlier = _remembered(state / REMEMBERED_FILE)
        if earlier is not None and _found(client, facts.dicomweb_url) == earlier.studies:
            say(f"Found the demonstration's {sum(earlier.studies.values())} instances again.")
            return earlier
        if facts.issuer:
            _register_sender(state)
        say(f"Storing the synthetic patient {PATIENT.patient_name}:")
        loaded = _store(client, facts, stopping)
        _wait_until_searchable(client, facts.dicomweb_url, loaded, stopping)
    write_private(state / REMEMBERED_FILE, json.dumps({"studies": loaded.studies, "picture": loaded.picture}))
    return loaded


def _register_sender(state: Path) -> None:
    """Let the title that the demonstration sends by be registered, for this machine only."""
    entity = {"ae_title": CALLING_AE_TITLE, "may_store": True, "source_addresses": ["127.0.0.1"]}
    with suppress(Conflict):
        administration(AccessOptions(state)).ask("POST", "/application-entities", entity)


def _remembered(file: Path) -> Loaded | None:
    try:
        return Loaded(**json.loads(file.read_text()))
    except FileNotFoundError:
        return None


def _store(client: httpx.Client, facts: StackFacts, stopping: Callable[[], bool]) -> Loaded:
    """Send every other study by STOW-RS, the rest by C-STORE."""
    loaded = Loaded()
    studies = groupby(_noted(demo_patient(), loaded, stopping), key=lambda instance: instance.study_uid)
    for number, (_, instances) in enumerate(studies):
        if number % 2 == 0:
            _store_by_stow(client, facts, instances)
        else:
            _store_by_dimse(facts, list(instances), stopping)
    return loaded


def _noted(instances: Iterator[Instance], loaded: Loaded, stopping: Callable[[], bool]) -> Iterator[Instance]:
    for instance in instances:
        if stopping():
            raise Interrupted("stopped while storing")
        loaded.add(instance)
        yield instance


def _store_by_stow(client: httpx.Client, facts: StackFacts, instances: Iterator[Instance]) -> None:
    parts = (Part(instance.sop_uid, instance.data) for instance in instances)
    summary = store_all(client, facts.dicomweb_url, parts, Progress("STOW-RS"))
    if summary.refused:
        raise Unavailable("; ".join(summary.lines(limit=3)))


def _store_by_dimse(facts: StackFacts, instances: list[Instance], stopping: Callable[[], bool]) -> None:
    progress = Progress("C-STORE", len(instances))
    archive = Archive(facts.dimse_host, facts.dimse_port, facts.ae_title, CALLING_AE_TITLE)
    refused = f"{CALLING_AE_TITLE} may not associate"
    _wait(lambda: is_let_in(archive), KNOWN_SECONDS, stopping, refused)
    send(archive, instances, lambda instance: progress.advance(1, len(instance.data_set)))
    progress.finish()


def _found(client: httpx.Client, url: str) -> dict[str, int]:
    """Return how many instances of each of the patient's studies a search finds."""
    query = {"PatientID": PATIENT.patient_id, "includefield": STUDY_INSTANCES}
    try:
        answer = client.get(f"{url}/studies", params=query, headers={"Accept": "application/dicom+json"})
    except httpx.TransportError:
        return {}
    if answer.status_code != httpx.codes.OK:
        return {}
    return {_first(study, STUDY_UID): int(_first(study, STUDY_INSTANCES)) for study in answer.json()}


def _first(document: dict[str, Any], tag: str) -> Any:  # noqa: ANN401 - a JSON value
    return document[tag]["Value"][0]


def _wait_until_searchable(
    client: httpx.Client, url: str, loaded: Loaded, stopping: Callable[[], bool]
) -> None:
    begun = time.monotonic()
    wanted = sum(loaded.studies.values())
    _wait(
        lambda: _found(client, url) == loaded.studies,
        SEARCHABLE_SECONDS,
        stopping,
        f"the index does not find all {wanted} instances",
    )
    say(f"All of it can be searched ({time.monotonic() - begun:.1f} s after the last instance).")


def _wait(
    condition: Callable[[], bool], seconds: float, stopping: Callable[[], bool], otherwise: str
) -> None:
    """Wait until ``condition``. Raises ``Interrupted``, and ``Unavailable`` with ``otherwise``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if stopping():
            raise Interrupted("stopped while waiting")
        if time.monotonic() > deadline:
            raise Unavailable(f"{otherwise} after {seconds:.0f} s")
        time.sleep(POLL_SECONDS)


def token_command(state: Path) -> str:
    """Return what prints a token for that state folder, as typed where the user is."""
    program = Path(sys.executable).with_name("gantry")
    program = program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program
    named = "" if state == DEFAULT_STATE.absolute() else f" --state {shlex.quote(str(state))}"
    return f"{shlex.quote(str(program))} token{named}"


def describe(facts: StackFacts, loaded: Loaded, token: str) -> Iterator[str]:
    """Yield what to try, for the user."""
    base = facts.dicomweb_url
    shown = f'-H "Authorization: Bearer $({token})" ' if facts.issuer else ""
    yield "Try:"
    if facts.viewer_url:
        entering = " (log in as above)" if facts.issuer else ""
        yield f"  {facts.viewer_url} in a browser{entering}, or a study in it at once:"
        yield f"  {facts.viewer_url}viewer?StudyInstanceUIDs={next(iter(loaded.studies))}"
    yield f"  curl {shown}'{base}/studies?PatientID={PATIENT.patient_id}'"
    yield f"  curl {shown}-o slice.jpg -H 'Accept: image/jpeg' '{base}/{loaded.picture}/rendered'"
