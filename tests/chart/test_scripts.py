"""What the pods of `helm test` run, against real listeners."""

from __future__ import annotations

import http.server
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from pynetdicom import AE

SCRIPTS = Path(__file__).resolve().parents[2] / "charts" / "gantry" / "files" / "tests"


def run(name, *arguments):
    command = [sys.executable, "-P", str(SCRIPTS / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def listener():
    """A DIMSE listener called GANTRY, and its port."""
    entity = AE(ae_title="GANTRY")
    entity.add_supported_context("1.2.840.10008.1.1")
    entity.require_called_aet = True
    server = entity.start_server(("127.0.0.1", 0), block=False)
    yield server.socket.getsockname()[1]
    server.shutdown()


@pytest.fixture
def pages():
    """An HTTP server that has one page."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/readyz" else 503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_listener_that_accepts_is_found(listener):
    assert run("association.py", "127.0.0.1", listener, "GANTRY") == (0, f"127.0.0.1:{listener}: accepted\n")


def test_a_listener_that_rejects_is_found(listener):
    code, said = run("association.py", "127.0.0.1", listener, "OTHER")
    assert code == 0
    assert "rejected" in said


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request", b""])
def test_what_speaks_no_dimse_is_not_taken_for_a_listener(answer):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(1)
                connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        code, said = run("association.py", "127.0.0.1", server.getsockname()[1], "GANTRY")
    assert code == 1
    assert "no answer of a DIMSE listener" in said


def test_nobody_listening_is_a_failure():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        code, _ = run("association.py", "127.0.0.1", free.getsockname()[1], "GANTRY")
    assert code == 1


def test_pages_that_answer_pass(pages):
    assert run("pages.py", f"{pages}/readyz", f"{pages}/readyz")[0] == 0


def test_one_page_that_does_not_fails_them_all(pages):
    code, said = run("pages.py", f"{pages}/readyz", f"{pages}/other", f"{pages}/readyz")
    assert code == 1
    assert f"{pages}/other: 503" in said


def test_the_pods_run_these_scripts_on_services_that_exist(renderings):
    for rendered in renderings.values():
        ports = {
            each["metadata"]["name"]: {port["port"] for port in each["spec"]["ports"]}
            for each in rendered.kind("Service")
        }
        for pod in rendered.kind("Pod"):
            (container,) = pod["spec"]["containers"]
            _, _, script, *arguments = container["command"]
            assert (SCRIPTS / script.rpartition("/")[2]).is_file()
            assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
            assert pod["spec"]["restartPolicy"] == "Never"
            if "association" in script:
                host, port, _ = arguments
                assert int(port) in ports[host]
            else:
                for url in arguments:
                    host, _, port = url.split("/")[2].rpartition(":")
                    assert int(port) in ports[host]
