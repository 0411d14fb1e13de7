import socket
import threading

import pytest
from gantry_dicom.errors import Unavailable
from gantry_testing.holding_proxy import HoldingProxy, Point


@pytest.fixture
def echo_server():
    """A server that answers each message with it, and remembers what arrived."""
    listener = socket.create_server(("127.0.0.1", 0))
    arrived = []

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection):
        while data := connection.recv(1000):
            arrived.append(data)
            connection.sendall(b"answer to " + data)

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1], arrived
    listener.close()


def send(port, data):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(data)
        return connection.recv(1000)


def in_background(port, data):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(send(port, data)))
    thread.start()
    return thread, answers


def test_what_nobody_holds_passes(echo_server):
    port, _ = echo_server
    with HoldingProxy(port) as proxy:
        proxy.hold(b"PUT /o/", Point.ANSWER)
        assert send(proxy.port, b"GET /o/1") == b"answer to GET /o/1"


@pytest.mark.parametrize(("point", "arrives"), [(Point.ANSWER, True), (Point.REQUEST, False)])
def test_an_exchange_is_held_before_or_after_the_server_has_it(echo_server, point, arrives):
    port, arrived = echo_server
    with HoldingProxy(port) as proxy:
        hold = proxy.hold(b"PUT /o/", point)
        thread, answers = in_background(proxy.port, b"PUT /o/1")
        hold.wait_reached(10)
        assert (b"PUT /o/1" in arrived) is arrives
        assert answers == []
        # Others pass meanwhile, alike as they are: only one is held.
        assert send(proxy.port, b"PUT /o/2") == b"answer to PUT /o/2"
        hold.release()
        thread.join(10)
        assert answers == [b"answer to PUT /o/1"]


def test_waiting_for_what_never_comes_ends(echo_server):
    port, _ = echo_server
    with HoldingProxy(port) as proxy, pytest.raises(Unavailable, match="no request"):
        proxy.hold(b"PUT", Point.REQUEST).wait_reached(0.1)
