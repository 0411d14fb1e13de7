"""The load of a round: small and huge instances, duplicates and conflicts, by STOW-RS and C-STORE at once."""

from __future__ import annotations

import itertools
import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gantry_testing.auditor import Answer
from gantry_testing.builders import with_other_bytes, with_other_meta
from gantry_testing.recording import Recorder
from gantry_testing.stack import Stack
from gantry_testing.synthetic import Instance, generate_study

SECOND_TITLE, SECOND_PARTITION = "SECOND", "second"
# Called AE title and partition of each sender, and how it sends.
SENDERS = (
    ("GANTRY", "main", "c-store"),
    ("GANTRY", "main", "stow"),
    (SECOND_TITLE, SECOND_PARTITION, "stow"),
    ("GANTRY", "main", "c-store"),
)
# Of what is sent, the shares that somebody has sent before: the same data set, and other bytes.
DUPLICATES, CONFLICTS = 0.2, 0.15
REMEMBERED = 16
# Above the size up to which an object goes in one request (16 MB).
HUGE_FRAMES, HUGE_SIZE = 20, (768, 768)
# What one sender sends in a second at most: a machine that is busy with its own load shows little.
PAUSE_SECONDS = 0.05
# A sender that gets no answer for so long has none.
PATIENCE_SECONDS = 20.0
_SEEDS_A_ROUND = 10


def poison(number: int) -> Instance:
    """Return the instance of round ``number`` that kills whoever derives it (``GANTRY_FAULTS``)."""
    (instance,) = generate_study(_seed(number, len(SENDERS)), "SC", number=1)
    return instance


def _seed(number: int, sender: int) -> int:
    return 100_000 + number * _SEEDS_A_ROUND + sender


@dataclass(slots=True)
class Load:
    """The senders of one round; ``start``, ``stop``, and what came back in ``recorder``."""

    stack: Stack
    number: int
    seed: str
    with_poison: bool
    recorder: Recorder = field(default_factory=Recorder)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    # What was sent a moment ago, by partition, for others to send again.
    _recent: dict[str, deque[Instance]] = field(default_factory=dict)

    def start(self) -> None:
        """Let every sender begin."""
        jobs: list[Callable[[], None]] = [
            self._sender(sender, *SENDERS[sender]) for sender in range(len(SENDERS))
        ]
        jobs.append(self._send_huge)
        if self.with_poison:
            jobs.append(lambda: self._send_one("GANTRY", "main", "stow", [poison(self.number)]))
        for job in jobs:
            thread = threading.Thread(target=job, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Let every sender finish what it is sending."""
        self._stop.set()

    @property
    def is_over(self) -> bool:
        """Whether every sender has finished."""
        return not any(thread.is_alive() for thread in self._threads)

    def _sender(self, sender: int, title: str, partition: str, way: str) -> Callable[[], None]:
        dice = random.Random(f"{self.seed} sender {sender}")  # noqa: S311 - must repeat, not surprise
        recent = self._recent.setdefault(partition, deque(maxlen=REMEMBERED))

        def send() -> None:
            for number in itertools.count():
                if self._stop.wait(PAUSE_SECONDS):
                    return
                instances = self._next(dice, recent, sender, number)
                self._send_one(title, partition, way, instances)
                recent.extend(instances)

        return send

    def _next(
        self, dice: random.Random, recent: deque[Instance], sender: int, number: int
    ) -> Sequence[Instance]:
        drawn = dice.random()
        if recent and drawn < DUPLICATES:
            return [with_other_meta(dice.choice(list(recent)))]
        if recent and drawn < DUPLICATES + CONFLICTS:
            return [with_other_bytes(dice.choice(list(recent)), number + 1)]
        kind = dice.choice(("MR", "CT", "SC"))
        seed = _seed(self.number, sender)
        return generate_study(seed, kind, number=number, instances=dice.randint(1, 5), size=(64, 64))

    def _send_huge(self) -> None:
        """Send one huge object, and again when nobody answered, as a modality would."""
        seed = _seed(self.number, len(SENDERS) + 1)
        instances = generate_study(seed, "ENHANCED_CT", frames=HUGE_FRAMES, size=HUGE_SIZE)
        for way in ("stow", "c-store") if self.number % 2 else ("c-store", "stow"):
            self._send_one("GANTRY", "main", way, instances)
            if self.recorder.count(Answer.ACKNOWLEDGED) and self._stop.is_set():
                return

    def _send_one(self, title: str, partition: str, way: str, instances: Sequence[Instance]) -> None:
        if way == "c-store":
            self.recorder.c_store(self.stack.peer_of(title), instances, partition)
            return
        with self.stack.web(partition, timeout=PATIENCE_SECONDS) as web:
            self.recorder.stow(web, instances, partition)
