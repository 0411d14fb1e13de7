"""(b) A process frozen around its put for three leases, while the sweeper takes its batch away."""

from __future__ import annotations

import itertools
import threading
import time

import pytest
from gantry_testing.auditor import Answer
from gantry_testing.fault_proxy import Fault, Point, Weather
from gantry_testing.synthetic import generate_study
from gantry_testing.waiting import wait_for

# The put of a received object in the one bucket.
OBJECT_PUT = rb"PUT /gantry/o/"


# Each test stores studies of its own.
_numbers = itertools.count(1)


def new_instance():
    (instance,) = generate_study(80, "MR", number=next(_numbers), size=(64, 64))
    return instance


def send(stack, recorder, service, instances):
    if service == "ingest":
        recorder.c_store(stack.peer, instances)
    else:
        with stack.web(timeout=120) as web:
            recorder.stow(web, instances)


@pytest.mark.parametrize("service", ["ingest", "gateway"])
@pytest.mark.parametrize(
    "point", [Point.ANSWER, Point.REQUEST], ids=["object stored, not acknowledged", "object not stored yet"]
)
def test_a_late_object_is_acknowledged_only_with_an_entry_of_its_own(
    proxied, recorder, settle_and_audit, lease_seconds, service, point
):
    stack = proxied
    before, paused, after = (new_instance() for _ in range(3))
    send(stack, recorder, service, [before])
    hold = stack.proxies[service].hold(OBJECT_PUT, point)
    sender = threading.Thread(target=send, args=(stack, recorder, service, [paused]))
    sender.start()
    hold.wait_reached()
    stack.pause(service)
    try:
        # The sweeper writes the batch's manifest and, once all of it is decided, takes the entry away.
        wait_for(lambda: not stack.list_keys("j/"), "the batch to be swept", 20 * lease_seconds)
        # Three leases are over already: the sweeper waits for one and a margin, the rest is this.
        time.sleep(3 * lease_seconds)
        stack.valkey.flush()
        hold.release()
    finally:
        stack.resume(service)
    sender.join(60)
    assert not sender.is_alive()
    send(stack, recorder, service, [after])

    assert recorder.count(Answer.ACKNOWLEDGED) == 3, recorder.sent
    stack.wait_found([instance.sop_uid for instance in (before, paused, after)])
    report = settle_and_audit(stack, recorder.sent)
    assert report.ok, str(report)
    with stack.web() as web:
        for instance in (before, paused, after):
            web.retrieve_instance(instance.study_uid, instance.series_uid, instance.sop_uid)


@pytest.mark.parametrize("service", ["ingest", "gateway"])
def test_a_kill_between_put_and_answer_leaves_what_may_or_may_not_be_there(
    proxied, recorder, settle_and_audit, service
):
    stack = proxied
    instance = new_instance()
    hold = stack.proxies[service].hold(OBJECT_PUT, Point.ANSWER)
    sender = threading.Thread(target=send, args=(stack, recorder, service, [instance]))
    sender.start()
    hold.wait_reached()
    # Both puts begin together; without the entry nothing would lead to the object.
    wait_for(lambda: stack.list_keys("j/"), "the journal entry")
    stack.kill(service)
    hold.release()
    sender.join(60)
    assert not sender.is_alive()
    assert recorder.count(Answer.UNANSWERED) == 1
    stack.start_service(service)
    # The object was stored, so the sweeper finds it, and nothing is left over.
    stack.wait_found([instance.sop_uid])
    report = settle_and_audit(stack, recorder.sent)
    assert report.ok, str(report)


@pytest.mark.parametrize("service", ["ingest", "gateway"])
def test_what_the_store_fails_after_its_manifest_is_answered_neither_way(
    proxied, recorder, settle_and_audit, service
):
    """The object is there, the manifest calls it unanswered: a failure would be a lie as well."""
    stack, instance = proxied, new_instance()
    hold = stack.proxies[service].hold(OBJECT_PUT, Point.ANSWER)
    sender = threading.Thread(target=send, args=(stack, recorder, service, [instance]))
    known = set(stack.list_keys("m/"))
    sender.start()
    hold.wait_reached()
    try:
        wait_for(lambda: set(stack.list_keys("m/")) - known, "the manifest of half a lease")
        stack.proxies[service].set_weather(Weather({Fault.RESET: 1.0}))
        hold.release()
        sender.join(60)
    finally:
        stack.proxies[service].set_weather()
    assert not sender.is_alive()
    assert [item.answer for item in recorder.sent] == [Answer.UNANSWERED]
    stack.wait_found([instance.sop_uid])
    report = settle_and_audit(stack, recorder.sent)
    assert report.ok, str(report)
