"""The answer to A-RELEASE waits for the index, within bounds."""

import asyncio

from gantry_ingest.settling import Settling


class Association:
    """Only its identity matters."""


class Verdicts:
    def __init__(self, delays):
        self.delays = delays
        self.asked = []

    async def wait(self, object_key, timeout):
        self.asked.append(object_key)
        delay = self.delays.get(object_key)
        if delay is None:
            return None
        await asyncio.sleep(delay)
        return object()


def settling(verdicts, clock=lambda: 0.0):
    return Settling(verdicts, lambda: verdicts.asked.append("hurry"), seconds=0.3, clock=clock)


async def test_a_release_waits_for_everything_the_association_stored():
    verdicts = Verdicts({"a": 0.01, "b": 0.01})
    subject, association = settling(verdicts), Association()
    subject.note(association, "a")
    subject.note(association, "b")
    await subject.settle(association)
    assert verdicts.asked == ["hurry", "a", "b"]


async def test_another_associations_instances_are_not_waited_for():
    verdicts = Verdicts({"a": 0.01})
    subject, association, other = settling(verdicts), Association(), Association()
    subject.note(other, "a")
    await subject.settle(association)
    assert verdicts.asked == []


async def test_the_first_missed_verdict_ends_the_wait():
    verdicts = Verdicts({"b": 0.01})
    subject, association = settling(verdicts), Association()
    for key in ("a", "b", "c"):
        subject.note(association, key)
    await subject.settle(association)
    assert verdicts.asked == ["hurry", "a"]


async def test_all_waits_together_are_bounded():
    verdicts = Verdicts({str(n): 0.2 for n in range(20)})
    subject, association = settling(verdicts), Association()
    for n in range(20):
        subject.note(association, str(n))
    await subject.settle(association)
    assert len(verdicts.asked) <= 3


async def test_what_was_stored_long_ago_is_not_waited_for():
    now = [0.0]
    verdicts = Verdicts({"old": 0.01, "new": 0.01})
    subject, association = settling(verdicts, lambda: now[0]), Association()
    subject.note(association, "old")
    now[0] = 60.0
    subject.note(association, "new")
    await subject.settle(association)
    assert verdicts.asked == ["hurry", "new"]


async def test_who_waited_is_told_whether_all_can_be_found():
    verdicts = Verdicts({"a": 0.01})
    subject, association = settling(verdicts), Association()
    assert await subject.settle(association) is None
    subject.note(association, "a")
    assert await subject.settle(association) is True
    subject.note(association, "b")
    assert await subject.settle(association) is False
