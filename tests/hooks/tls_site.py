"""A site over TLS on this machine, which answers as a test says; and a clock that moves when somebody sleeps."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

from sandbox.tls import Certificates


@dataclass(frozen=True, kw_only=True)
class Request:
    """Hold what the site was asked; the path as it came over the wire, and the port that it came from."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    port: int

    @property
    def json(self) -> Any:
        """Return the body's JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """Say what the site does.

    :param body: bytes as they are, or what becomes JSON.
    :param cut: after how many bytes of the body the connection ends.
    :param lost: whether the connection ends without a word.
    """

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    chunked: bool = False
    lost: bool = False


Script: TypeAlias = Callable[[Request], Reply]

LOST = Reply(lost=True)


@dataclass
class Time:
    """Stand in for the clock; to sleep is to move it, and to remember for how long."""

    now: float = 1000.0
    waits: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


def next_reply(script: list[Reply | Script], request: Request) -> Reply:
    """Take a script's next reply; the last one stays."""
    reply = script.pop(0) if len(script) > 1 else script[0]
    return reply(request) if callable(reply) else reply


@contextmanager
def serving(answer: Script, tls: Certificates) -> Iterator[str]:
    """Serve what a function answers, and yield the URL; each connection has a thread."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or every answer waits 40 ms for a delayed acknowledgement

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            port = self.client_address[1]
            self.send(answer(Request(method=self.command, path=self.path, headers=headers, body=body, port=port)))

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one

        def send(self, reply: Reply) -> None:
            self.close_connection = self.close_connection or reply.lost or reply.cut is not None
            if reply.lost:
                return
            data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.chunked:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            sent = data[: reply.cut]
            if reply.chunked and sent:
                sent = b"%x\r\n%s\r\n" % (len(sent), sent)
            self.wfile.write(sent + (b"0\r\n\r\n" if reply.chunked and reply.cut is None else b""))

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: object) -> None:
            pass  # a client that hangs up, or that does not trust us, is what some tests are about

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate, tls.key)
    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"https://localhost:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
