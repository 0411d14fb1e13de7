"""A proxy on the loopback that shows a token for clients which cannot be given one."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# RFC 9110 7.6.1, and what is told anew with a body that is passed on whole.
NOT_PASSED_ON = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}
)
SECONDS = 120.0


@contextmanager
def token_proxy(upstream: str, token: str) -> Iterator[str]:
    """Run the proxy for the time of the body, which gets its URL in place of ``upstream``."""
    parts = urlsplit(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.pass_on()

        def do_POST(self) -> None:
            self.pass_on()

        def do_OPTIONS(self) -> None:
            self.pass_on()

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name: value for name, value in self.headers.items() if is_passed_on(name)}
            headers |= {"Authorization": f"Bearer {token}", "Content-Length": str(len(body))}
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=SECONDS)
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if is_passed_on(name):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}{parts.path}"
        server.shutdown()


def is_passed_on(header: str) -> bool:
    """Whether a header is for the other end rather than for the neighbour."""
    return header.lower() not in NOT_PASSED_ON
