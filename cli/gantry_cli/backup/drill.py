"""``gantry backup drill``: a backup is worth what a restore of it has proved.

A stack of its own folder and ports is restored and started; what it answers, who may do what in it, its
access records and every byte that it holds are compared with what was there. It has no errands: notes of
commitments to report and of studies to send on are not taken over.
"""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gantry_access.audit_chain import verify
from gantry_dicom.errors import Unavailable
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.settings import StoreSettings
from gantry_objectstore.store import open_store

from gantry_cli.access import AccessOptions
from gantry_cli.backup.create import INDEX, WITNESS
from gantry_cli.backup.objects import last_copied
from gantry_cli.backup.repository import read_document
from gantry_cli.backup.restore import Source, Target, restore_stack
from gantry_cli.backup.wal import last_archived
from gantry_cli.backup.witness import Answer, Question, Witness
from gantry_cli.lifecycle import down
from gantry_cli.options import CHOICES_FILE
from gantry_cli.rebuild import local_surroundings, run_storage


@dataclass(slots=True)
class DrillReport:
    """What was restored, how long it took, and what is not as it was."""

    backup: str
    index: str = ""
    # Seconds of work that a disaster now would have cost: databases, and the copy of the bucket.
    rpo_databases: float = 0.0
    backup_age: float = 0.0
    rpo_objects: float | None = None
    restore_seconds: float = 0.0
    start_seconds: float = 0.0
    answers: int = 0
    # Answers that say nothing: the archive itself does not give them any more.
    changed: int = 0
    audit_records: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def rto(self) -> float:
        """Seconds from an empty folder to an archive that answers."""
        return self.restore_seconds + self.start_seconds


def drill(
    runner: asyncio.Runner, source: Source, document: dict[str, Any], target: Target, live: Witness | None
) -> DrillReport:
    """Restore into ``target.state``, which is left as a stopped stack, and compare.

    ``live`` is the archive that was backed up, where it runs.

    Raises what a restore raises; that something differs is in the report.
    """
    manifest = source.manifest
    report = DrillReport(manifest.id, index="rebuilt from the bucket")
    now = datetime.now(UTC)
    safe_until = datetime.fromisoformat(manifest.moment)
    report.backup_age = (now - safe_until).total_seconds()
    if manifest.base and (archived := runner.run(last_archived(source.repository, manifest.base.system))):
        safe_until = max(safe_until, archived)
    report.rpo_databases = (now - safe_until).total_seconds()
    if target.objects is not None:
        copied = runner.run(last_copied(target.objects))
        report.rpo_objects = (now - copied).total_seconds() if copied else None
    if target.until or target.latest:
        report.index = "recovered with the cluster, then replayed"
    elif manifest.part(INDEX) is not None:
        report.index = "restored from its dump, then replayed"
    begun = time.monotonic()
    restore_stack(runner, source, _as_folder_store(document), target)
    report.restore_seconds = time.monotonic() - begun
    begun = time.monotonic()
    _gantry("up", "--detach", "--state", str(target.state))
    try:
        report.start_seconds = time.monotonic() - begun
        answers = runner.run(read_document(source.repository, manifest, WITNESS, source.keys))
        _compare_answers(report, target.state, [Answer(**answer) for answer in answers], live)
        _compare_bytes(report, target.state)
    finally:
        down(target.state)
    _check_audit(runner, report, target.state)
    return report


def describe(report: DrillReport) -> Iterator[str]:
    """Yield the report as lines."""
    yield f"Backup {report.backup}; index {report.index}"
    changed = f" ({report.changed} have changed in the archive since)" if report.changed else ""
    compared = f"{report.answers} answers{changed}, {report.audit_records} access records"
    yield f"  compared: {compared}, every object's digests"
    yield f"  RPO of the databases: {report.rpo_databases:.0f} s (by dumps alone {report.backup_age:.0f} s)"
    if report.rpo_objects is None:
        yield "  RPO of the objects: 0 s as long as the bucket is there; no copy of it was used"
    else:
        yield f"  RPO of the objects: {report.rpo_objects:.0f} s (the age of the copy)"
    parts = f"{report.restore_seconds:.1f} s to restore, {report.start_seconds:.1f} s to start"
    yield f"  RTO: {report.rto:.1f} s ({parts})"
    for difference in report.differences:
        yield f"  DIFFERENT {difference}"
    yield "Not all is as it was." if report.differences else "All is as it was."


def as_json(report: DrillReport) -> str:
    """Return the report for programs."""
    return json.dumps({**asdict(report), "rto": report.rto}, indent=1)


def _as_folder_store(document: dict[str, Any]) -> dict[str, Any]:
    """Let the scratch stack keep its objects in a folder, whatever the archive does: links need no room."""
    choices = json.loads(base64.b64decode(document["files"][CHOICES_FILE]))
    text = json.dumps({**choices, "store": "file"}).encode()
    return {**document, "files": {**document["files"], CHOICES_FILE: base64.b64encode(text).decode()}}


def _gantry(*arguments: str) -> None:
    command = [sys.executable, "-P", "-m", "gantry_cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"the restored stack does not start: {done.stderr.strip()}")


def _compare_answers(report: DrillReport, state: Path, expected: list[Answer], live: Witness | None) -> None:
    """Ask again. What the archive itself answers differently by now was not to be restored."""
    witness = Witness(AccessOptions(state))
    for answer in expected:
        question = Question(answer.path, answer.accept)
        found = witness.ask(question)
        report.answers += 1
        if found == answer:
            continue
        if live is not None and live.ask(question) != answer:
            report.changed += 1
        else:
            report.differences.append(f"{answer.path}: {found.status}, was {answer.status}")


def _compare_bytes(report: DrillReport, state: Path) -> None:
    """Let the storage service read every object again and compare it with its sealed manifest."""
    if run_storage(local_surroundings(state), "scrub"):
        report.differences.append("objects: see the findings above")


def _check_audit(runner: asyncio.Runner, report: DrillReport, state: Path) -> None:
    environment = local_surroundings(state)
    store = open_store(environment["GANTRY_STORE_URL"], options=StoreSettings.from_environment(environment))
    found = runner.run(verify(store, Sealer.from_text(environment["GANTRY_SEAL_KEYS"])))
    runner.run(store.close())
    report.audit_records = found.records
    report.differences += [f"access records: {problem.key}: {problem.what}" for problem in found.problems]
