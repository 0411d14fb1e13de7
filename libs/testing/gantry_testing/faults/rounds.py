"""The course of a round: load, strikes, everything up again, everything decided, the auditor's questions."""

from __future__ import annotations

import heapq
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from gantry_testing.auditor import Answer, Finding, SentInstance, Target, audit_now
from gantry_testing.faults.load import Load
from gantry_testing.faults.plan import LOAD_SECONDS, Plan
from gantry_testing.faults.scene import TICK_SECONDS, Scene
from gantry_testing.stack import SEAL_KEYS, Stack
from gantry_testing.waiting import TimedOut

# How long the end of everything may take: strikes undone, senders answered, batches decided.
CALM_SECONDS = 120.0
SETTLE_SECONDS = 150.0
# Journal entry and object are put at once, so a process killed between the two leaves an object
# that nothing leads to and nobody was answered for.
ORPHAN_AGE = timedelta(days=1)
# Events that say a mistake was caught that should not have been made.
SUSPICIOUS_EVENTS = frozenset(
    {"unexpected_error", "internal_error", "turn_failed", "task_failed", "index_publisher_failed"}
)


@dataclass(frozen=True, slots=True)
class RoundResult:
    """What a round was and what came of it; times in seconds."""

    number: int
    strikes: tuple[str, ...]
    told: tuple[str, ...]
    answers: dict[str, int]
    restarts: int
    calm_seconds: float
    settle_seconds: float
    audit_seconds: float
    findings: tuple[Finding, ...]
    # Log events that a person should look at, and how often.
    suspicious: dict[str, int]
    # How those who got no answer lost it, and how many each way.
    unanswered: dict[str, int]

    @property
    def ok(self) -> bool:
        """Whether every invariant held."""
        return not self.findings


@dataclass(slots=True)
class Course:
    """What rounds on one stack share."""

    stack: Stack
    # Manifests whose objects have been read in an earlier round.
    known_manifests: set[str] = field(default_factory=set)
    sent: list[SentInstance] = field(default_factory=list)
    log_ends: dict[Path, int] = field(default_factory=dict)


def run_round(course: Course, scene: Scene, plan: Plan, number: int, seed: str) -> RoundResult:
    """Run one round on a stack that is up; afterwards it is up again."""
    load = Load(course.stack, number, seed, plan.with_poison)
    load.start()
    _let_strike(scene, plan, load)
    findings = list(_calm(scene, load))
    calm = time.monotonic()
    findings += _operate(scene)
    findings += _settle(scene)
    settled = time.monotonic()
    course.sent += load.recorder.sent
    report = audit_now(
        load.recorder.sent, _target(course.stack), orphan_age=ORPHAN_AGE, known=course.known_manifests
    )
    course.known_manifests |= set(course.stack.list_keys("m/"))
    answers = Counter(item.answer for item in load.recorder.sent)
    return RoundResult(
        number=number,
        strikes=tuple(plan.names),
        told=tuple(scene.told),
        answers={answer.value: answers[answer] for answer in Answer},
        restarts=scene.restarts,
        calm_seconds=round(calm - scene.begun - LOAD_SECONDS, 1),
        settle_seconds=round(settled - calm, 1),
        audit_seconds=round(time.monotonic() - settled, 1),
        findings=(*findings, *report.findings),
        suspicious=_suspicious(course),
        unanswered=dict(
            Counter(item.told for item in load.recorder.sent if item.answer is Answer.UNANSWERED)
        ),
    )


def audit_everything(course: Course) -> tuple[Finding, ...]:
    """Ask about everything that was sent to a stack, in all its rounds, reading every object."""
    return audit_now(course.sent, _target(course.stack), orphan_age=ORPHAN_AGE).findings


def _target(stack: Stack) -> Target:
    return Target(
        stack.store_url, SEAL_KEYS, stack.index_dsn, stack.health_url("gateway"), stack.store_settings
    )


def _let_strike(scene: Scene, plan: Plan, load: Load) -> None:
    """Take every strike's steps at their times; returns when the load and every strike are over."""
    numbers = itertools.count()
    due: list[tuple[float, int, Iterator[float]]] = [
        (scene.begun + blow.at, next(numbers), blow.kind.strike(scene, blow.target)) for blow in plan.blows
    ]
    heapq.heapify(due)
    while due or not scene.ending:
        if not scene.ending and time.monotonic() - scene.begun > LOAD_SECONDS:
            load.stop()
            scene.ending = True
        while due and due[0][0] <= time.monotonic():
            _, _, strike = heapq.heappop(due)
            pause = next(strike, None)
            if pause is not None:
                heapq.heappush(due, (time.monotonic() + pause, next(numbers), strike))
        scene.supervise()
        time.sleep(TICK_SECONDS)


def _wait(scene: Scene, probe: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > deadline:
            return False
        scene.supervise()
        time.sleep(2 * TICK_SECONDS)
    return True


def _calm(scene: Scene, load: Load) -> Iterator[Finding]:
    if not _wait(scene, lambda: load.is_over, CALM_SECONDS):
        yield Finding("answered", "load", f"a sender still waits after {CALM_SECONDS:g} s")
    if not _wait(scene, scene.are_ready, CALM_SECONDS):
        names = ", ".join(name for name in scene.stack.services if not scene.stack.says_ready(name))
        yield Finding("up-again", names, f"not ready after {CALM_SECONDS:g} s")


def _operate(scene: Scene) -> Iterator[Finding]:
    for action in scene.afterwards:
        try:
            action()
        except (ValueError, OSError, TimedOut) as error:
            yield Finding("operation", "afterwards", str(error)[-500:])


def _settle(scene: Scene) -> Iterator[Finding]:
    if not _wait(scene, lambda: not scene.stack.list_keys("j/"), SETTLE_SECONDS):
        keys = scene.stack.list_keys("j/")
        yield Finding(
            "settled", f"{len(keys)} journal entries", f"left after {SETTLE_SECONDS:g} s: {keys[:3]}"
        )


def _suspicious(course: Course) -> dict[str, int]:
    """Count suspicious events in what the services have written since the last round."""
    found: Counter[str] = Counter()
    for file in course.stack.logs.glob("*.log"):
        begin = course.log_ends.get(file, 0)
        with file.open("rb") as log:
            log.seek(begin)
            lines = log.read().splitlines(keepends=True)
        course.log_ends[file] = begin + sum(map(len, lines))
        for line in lines:
            found.update(_events(file.stem, line))
    return dict(found)


def _events(service: str, line: bytes) -> Iterator[str]:
    if line.startswith(b"Traceback"):
        yield f"{service}: a traceback outside the log"
    if not line.startswith(b"{"):
        return
    try:
        record = json.loads(line)
    except ValueError:
        return  # cut off by a kill
    if record.get("event") in SUSPICIOUS_EVENTS:
        yield f"{service}: {record['event']}"
