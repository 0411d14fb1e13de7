import http.client
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from gantry_dicom.errors import Unavailable
from gantry_testing.fault_proxy import Fault, FaultProxy, Point, Weather

BODY = bytes(range(256)) * 4096


@pytest.fixture
def store():
    """A server that takes objects by PUT and gives them back, and remembers what arrived whole."""
    objects = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if len(body) == int(self.headers["Content-Length"]):
                objects[self.path] = body
            self._answer(b"")

        def do_GET(self):
            self._answer(objects[self.path])

        def _answer(self, body):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1], objects
    server.shutdown()
    server.server_close()


@pytest.fixture
def proxy(store):
    with FaultProxy(store[0]) as running:
        yield running


def ask(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def put(port, path="/o/1", body=BODY):
    return ask(port, "PUT", path, body)[0]


def everything(fault, **settings):
    return Weather({fault: 1.0}, **settings)


def test_in_fair_weather_everything_passes(store, proxy):
    assert put(proxy.port) == 200
    assert store[1] == {"/o/1": BODY}
    assert ask(proxy.port, "GET", "/o/1") == (200, BODY)


@pytest.mark.parametrize(("point", "arrives"), [(Point.ANSWER, True), (Point.REQUEST, False)])
def test_an_exchange_is_held_before_or_after_the_server_has_it(store, proxy, point, arrives):
    hold, answers = proxy.hold(b"PUT /o/", point), []
    sending = threading.Thread(target=lambda: answers.append(put(proxy.port)))
    sending.start()
    hold.wait_reached(10)
    assert ("/o/1" in store[1]) is arrives
    assert answers == []
    # Others pass meanwhile, alike as they are: only one is held.
    assert put(proxy.port, "/o/2") == 200
    hold.release()
    sending.join(10)
    assert answers == [200]
    assert store[1]["/o/1"] == BODY


def test_waiting_for_what_never_comes_ends(proxy):
    with pytest.raises(Unavailable, match="no request"):
        proxy.hold(b"PUT", Point.REQUEST).wait_reached(0.1)


def test_a_slow_down_is_an_answer_and_nothing_is_done(store, proxy):
    proxy.set_weather(everything(Fault.SLOW_DOWN))
    status, body = ask(proxy.port, "PUT", "/o/1", BODY)
    assert status == 503
    assert b"<Code>SlowDown</Code>" in body
    assert store[1] == {}


@pytest.mark.parametrize(
    ("fault", "done"), [(Fault.RESET, False), (Fault.LOST_ANSWER, True), (Fault.STALL, False)]
)
def test_a_lost_connection_tells_nothing_of_what_was_done(store, proxy, fault, done):
    proxy.set_weather(everything(fault, stall_seconds=0.1))
    with pytest.raises((OSError, http.client.HTTPException)):
        put(proxy.port)
    assert ("/o/1" in store[1]) is done
    assert proxy.met[fault] == 1


def test_an_answer_may_stall_half_way_too(store, proxy):
    store[1]["/o/1"] = BODY
    proxy.set_weather(everything(Fault.STALL, stall_seconds=0.1))
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(proxy.port, "GET", "/o/1")


def test_only_the_requests_named_meet_the_weather(store, proxy):
    proxy.set_weather(everything(Fault.SLOW_DOWN, requests=re.compile(rb"PUT /j/")))
    assert [put(proxy.port, path) for path in ("/o/1", "/j/1")] == [200, 503]
    proxy.set_weather(None)
    assert put(proxy.port, "/j/1") == 200


def test_a_server_that_is_down_looks_like_a_lost_connection(proxy, store):
    with FaultProxy(1) as nowhere, pytest.raises((OSError, http.client.HTTPException)):
        put(nowhere.port)
