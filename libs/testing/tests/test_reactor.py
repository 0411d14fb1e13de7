"""Pynetdicom's thread is paused when it waits, and not a moment before."""

import threading
import time

import pytest
from gantry_testing.waiting import wait_for
from pynetdicom import AE

VERIFICATION = "1.2.840.10008.1.1"


class Hesitant(threading.Event):
    """A checkpoint at which the thread loses its turn before it looks, as on a busy machine."""

    def wait(self, timeout=None):
        time.sleep(0.02)
        return super().wait(timeout)


@pytest.fixture
def association():
    acceptor, requestor = AE("ACCEPTOR"), AE("REQUESTOR")
    acceptor.add_supported_context(VERIFICATION)
    requestor.add_requested_context(VERIFICATION)
    server = acceptor.start_server(("127.0.0.1", 0), block=False)
    association = requestor.associate(*server.socket.getsockname())
    yield association
    association.abort()
    server.shutdown()


def test_a_thread_that_goes_on_never_says_that_it_is_paused(association):
    checkpoint = Hesitant()
    checkpoint.set()
    association._reactor_checkpoint = checkpoint
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        assert not association._is_paused


def test_a_thread_that_was_told_to_wait_says_so_once_it_does_and_an_echo_is_answered(association):
    association._reactor_checkpoint.clear()
    wait_for(lambda: association._is_paused, "the thread to wait")
    assert association.send_c_echo().Status == 0
    assert association._reactor_checkpoint.is_set()
