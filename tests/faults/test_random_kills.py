"""Services and servers killed at random moments under load; then the auditor's questions."""

from __future__ import annotations

import itertools
import random
import threading
from datetime import timedelta

import pytest
from gantry_testing.auditor import Answer
from gantry_testing.synthetic import generate_study

SERVICES = ("ingest", "gateway", "indexer", "indexer-worker", "storage")


def load(stack, recorder, seed, stop, way):
    """Store one small study after the other until told to stop."""
    for number in itertools.count():
        if stop.is_set():
            return
        instances = generate_study(seed, "MR", number=number, instances=3, size=(64, 64))
        if way == "c-store":
            recorder.c_store(stack.peer, instances)
        else:
            with stack.web(timeout=15) as web:
                recorder.stow(web, instances)


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_acknowledged_is_lost_whatever_is_killed_when(stack, recorder, settle_and_audit, seed):
    dice = random.Random(seed)
    stop = threading.Event()
    senders = [
        threading.Thread(target=load, args=(stack, recorder, 1000 * seed + n, stop, way))
        for n, way in enumerate(("c-store", "stow", "c-store", "stow"))
    ]
    for sender in senders:
        sender.start()
    try:
        for _ in range(8):
            stop.wait(dice.uniform(0.2, 1.2))
            kill_and_restart(stack, dice)
    finally:
        stop.set()
        for sender in senders:
            sender.join(120)
    assert recorder.count(Answer.ACKNOWLEDGED) > 0
    acknowledged = {item.sop_uid for item in recorder.sent if item.answer is Answer.ACKNOWLEDGED}
    stack.wait_indexed(len(acknowledged), seconds=120)
    # An unanswered object may have been put an instant before its batch's journal entry: the
    # invariant that a manifest names every object is asked of what is older than a day.
    report = settle_and_audit(stack, recorder.sent, seconds=120, orphan_age=timedelta(days=1))
    assert report.ok, str(report)


def kill_and_restart(stack, dice):
    victim = dice.choice((*SERVICES, "valkey", "postgres"))
    if victim == "valkey":
        stack.valkey.kill()
        stack.valkey.start()
    elif victim == "postgres":
        stack.restart_postgres()
    else:
        stack.kill(victim)
        stack.start_service(victim)
