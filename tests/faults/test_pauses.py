"""(b) A process frozen around its put for three leases, while the sweeper takes its batch away."""

from __future__ import annotations

import threading
import time
from urllib.parse import urlsplit, urlunsplit

import pytest
from gantry_testing.auditor import Answer
from gantry_testing.holding_proxy import HoldingProxy, Point
from gantry_testing.stack import Stack
from gantry_testing.synthetic import generate_study
from gantry_testing.waiting import wait_for

# The put of a received object in the one bucket.
OBJECT_PUT = rb"PUT /gantry/o/"


@pytest.fixture
def proxied(tmp_path, quick):
    """A stack on S3 whose front services reach the store through a proxy that can hold them."""
    stack = Stack(tmp_path / "stack", store="s3", environment=quick, services=("indexer", "storage"))
    with stack, HoldingProxy(stack.s3.port) as proxy:
        parts = urlsplit(stack.store_url)
        direct = f"127.0.0.1:{stack.s3.port}"
        through = urlunsplit(parts._replace(query=parts.query.replace(direct, f"127.0.0.1:{proxy.port}")))
        for name in ("ingest", "gateway"):
            stack.set_environment(name, {"GANTRY_STORE_URL": through})
            stack.start_service(name)
        yield stack, proxy


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
    stack, proxy = proxied
    before, paused, after = (generate_study(80, "MR", number=n, instances=1, size=(64, 64)) for n in range(3))
    send(stack, recorder, service, before)
    batch_entries = stack.list_keys("j/")
    assert batch_entries, "the batch of the first instance is open"

    hold = proxy.hold(OBJECT_PUT, point)
    sender = threading.Thread(target=send, args=(stack, recorder, service, paused))
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
    send(stack, recorder, service, after)

    assert recorder.count(Answer.ACKNOWLEDGED) == 3, recorder.sent
    stack.wait_indexed(3)
    report = settle_and_audit(stack, recorder.sent)
    assert report.ok, str(report)
    with stack.web() as web:
        for (instance,) in (before, paused, after):
            web.retrieve_instance(instance.study_uid, instance.series_uid, instance.sop_uid)


@pytest.mark.parametrize("service", ["ingest", "gateway"])
def test_a_kill_between_put_and_answer_leaves_what_may_or_may_not_be_there(
    proxied, recorder, settle_and_audit, service
):
    stack, proxy = proxied
    (instance,) = generate_study(81, "MR", size=(64, 64))
    hold = proxy.hold(OBJECT_PUT, Point.ANSWER)
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
    stack.wait_indexed(1)
    report = settle_and_audit(stack, recorder.sent)
    assert report.ok, str(report)
