"""Sending, and writing down what was sent and answered: what the auditor asks about."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from gantry_testing.auditor import Answer, SentInstance, content_of
from gantry_testing.dimse import NotAssociated, Outgoing, Peer, Sender
from gantry_testing.synthetic.values import Instance
from gantry_testing.web import BadAnswer, WebClient

# Success, and B000: stored, and something about it was noticed (PS3.4 Table B.2-1).
STORED_STATUSES = frozenset({0x0000, 0xB000, 0xB006, 0xB007})


def outgoing(instance: Instance) -> Outgoing:
    """Return what a C-STORE of ``instance`` carries."""
    return Outgoing(instance.sop_class_uid, instance.sop_uid, instance.transfer_syntax_uid, instance.data_set)


@dataclass(slots=True)
class Recorder:
    """What was sent so far and what came back; threads may share it.

    Nothing here raises for a lost connection: that is an answer too, ``UNANSWERED``.
    """

    sent: list[SentInstance] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, answer: Answer) -> int:
        """Return how many got this answer."""
        with self._lock:
            return sum(item.answer is answer for item in self.sent)

    def stow(self, web: WebClient, instances: Sequence[Instance], partition: str = "main") -> list[Answer]:
        """Store by STOW-RS in one request and return the answers."""
        told = ""
        begun = time.monotonic()
        try:
            answer = web.store([instance.data for instance in instances])
        except (httpx.HTTPError, BadAnswer) as error:
            answers = [Answer.UNANSWERED for _ in instances]
            told = f"{time.monotonic() - begun:.0f} s: {error!r}"
        else:
            told = f"{answer.status} {answer.failed} {answer.other_failures}"
            answers = [
                Answer.ACKNOWLEDGED if instance.sop_uid in answer.stored else Answer.REFUSED
                for instance in instances
            ]
        for instance, outcome in zip(instances, answers, strict=True):
            self._note(instance, outcome, partition, told, whole=True)
        return answers

    def c_store(self, peer: Peer, instances: Sequence[Instance], partition: str = "main") -> list[Answer]:
        """Store by C-STORE over one association and return the answers.

        What could not be sent because the association had ended counts as not sent.
        """
        answers: list[Answer] = []
        items = [outgoing(instance) for instance in instances]
        try:
            with Sender(peer, [item.context for item in items]) as sender:
                for instance, item in zip(instances, items, strict=True):
                    answers.append(self._c_store_one(sender, instance, item, partition))
                    if answers[-1] is Answer.UNANSWERED:
                        break
        except NotAssociated:
            return answers
        return answers

    def _c_store_one(self, sender: Sender, instance: Instance, item: Outgoing, partition: str) -> Answer:
        begun = time.monotonic()
        try:
            status = sender.store(item)
        except NotAssociated:
            outcome = Answer.UNANSWERED
            told = f"{time.monotonic() - begun:.0f} s: no answer to {len(item.data_set)} bytes"
        else:
            outcome = Answer.ACKNOWLEDGED if status in STORED_STATUSES else Answer.REFUSED
            told = f"{status:04X}"
        self._note(instance, outcome, partition, told, whole=False)
        return outcome

    def _note(self, instance: Instance, answer: Answer, partition: str, told: str, *, whole: bool) -> None:
        content = content_of(instance.data)
        noted = SentInstance(
            partition=partition,
            study_uid=instance.study_uid,
            series_uid=instance.series_uid,
            sop_uid=instance.sop_uid,
            data_set_sha256=content.data_set_sha256,
            answer=answer,
            file_sha256=content.file_sha256 if whole else None,
            told=told,
        )
        with self._lock:
            self.sent.append(noted)
