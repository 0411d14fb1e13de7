"""A proxy on the loopback that shows a token for clients which cannot be given one.

It can write down what passes.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import BinaryIO
from urllib.parse import urlsplit

from recording import Exchange

# RFC 9110 7.6.1, and what is told anew with a body that is passed on whole.
NOT_PASSED_ON = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}
)
SECONDS = 120.0


@contextmanager
def token_proxy(
    upstream: str, token: str, note: Callable[[Exchange], object] = lambda _exchange: None
) -> Iterator[str]:
    """Run the proxy for the time of the body, which gets its URL in place of ``upstream``."""
    parts = urlsplit(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.pass_on()

        def do_POST(self) -> None:
            self.pass_on()

        def do_DELETE(self) -> None:
            self.pass_on()

        def do_OPTIONS(self) -> None:
            self.pass_on()

        def pass_on(self) -> None:
            body = body_of(self.headers, self.rfile)
            headers = {name: value for name, value in self.headers.items() if is_passed_on(name)}
            headers |= {"Authorization": f"Bearer {token}", "Content-Length": str(len(body))}
            if ":" not in self.headers.get("Host", ""):
                headers["X-Forwarded-Host"] = f"127.0.0.1:{server.server_port}"
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=SECONDS)
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if is_passed_on(name):
                    self.send_header(name, value)
            # RFC 9110 8.6: none with these.
            if answer.status not in {204, 304}:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            path, _, query = self.path.removeprefix(parts.path).partition("?")
            sent, told = dict(self.headers.items()), dict(answer.getheaders())
            note(Exchange(self.command, path, query, sent, body, answer.status, told, content))

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}{parts.path}"
        server.shutdown()


def body_of(headers: Message, stream: BinaryIO) -> bytes:
    """Return the body of a request that announces its length or comes in chunks (RFC 9112 7.1)."""
    if "chunked" not in headers.get("Transfer-Encoding", "").lower():
        return stream.read(int(headers.get("Content-Length") or 0))
    chunks = []
    while size := int(stream.readline().partition(b";")[0], 16):
        chunks.append(stream.read(size))
        stream.readline()
    while stream.readline().strip():
        pass
    return b"".join(chunks)


def is_passed_on(header: str) -> bool:
    """Whether a header is for the other end rather than for the neighbour."""
    return header.lower() not in NOT_PASSED_ON
