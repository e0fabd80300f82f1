"""A small HTTP/1.1 server in a thread of its own, and a proxy that makes a service fail."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from .tls import Certificate

HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


@dataclass(frozen=True)
class Request:
    """What a client sent; header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Response:
    """What it gets. A body that is not bytes is sent as JSON."""

    status: int
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class HangUpError(Exception):
    """Raised by a handler to break the connection instead of answering."""


class HttpServer:
    """Answers with ``handle``; over TLS where a certificate is given."""

    def __init__(self, certificate: Certificate | None) -> None:
        self.counts: Counter[str] = Counter()
        self.errors: list[Exception] = []
        self._certificate = certificate
        self._port = 0
        self._open: set[socket.socket] = set()

    def handle(self, request: Request) -> Response:
        raise NotImplementedError

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        return f"{'https' if self._certificate else 'http'}://127.0.0.1:{self._port}"

    def start(self) -> Self:
        self._server = _Server(("127.0.0.1", self._port), _handler_class(self))
        self._port = self._server.server_port
        if self._certificate is not None:
            self._server.socket = self._certificate.server_context().wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening and break every connection; ``start`` listens on the same port again."""
        self._server.shutdown()
        self._thread.join(timeout=5)
        self.drop_connections()
        self._server.server_close()
        if self.errors:
            raise self.errors[0]

    def drop_connections(self) -> None:
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Broken connections are what these servers are for: nothing to report."""


def _handler_class(server: HttpServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            server._open.add(self.request)
            super().setup()

        def finish(self) -> None:
            server._open.discard(self.request)
            super().finish()

        def respond(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path, headers, self._body(headers))
            try:
                response = server.handle(request)
            except HangUpError:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            except Exception as error:
                server.errors.append(error)
                raise
            body = response.body
            if not isinstance(body, bytes):
                body = json.dumps(body).encode()
            self.send_response(response.status)
            names = {name.lower() for name in response.headers}
            for name, value in response.headers.items():
                self.send_header(name, value)
            if "content-type" not in names:
                self.send_header("Content-Type", "application/json")
            if "content-length" not in names:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def _body(self, headers: Mapping[str, str]) -> bytes:
            if headers.get("transfer-encoding", "").lower() != "chunked":
                return self.rfile.read(int(headers.get("content-length", "0")))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def log_message(self, format: str, *args: Any) -> None:
            """Tests ask for what they want to know."""

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_PATCH = respond  # noqa: N815

    return Handler


@dataclass
class Fault:
    """What becomes of a request that matches: some answer or none, with an effect or without."""

    times: int
    matches: Callable[[Request], bool]
    answer: Response | None = None
    forwarded: bool = False
    hangs: bool = False
    damaged: bool = False


class FaultProxy(HttpServer):
    """Stands before an HTTP service and hands everything on, but for the faults that tests arm."""

    def __init__(self, upstream: int, certificate: Certificate) -> None:
        super().__init__(certificate)
        self._upstream = upstream
        self._context = certificate.client_context()
        self._faults: list[Fault] = []
        self._released = threading.Event()
        self._local = threading.local()

    def arm(self, fault: Fault) -> None:
        self._faults.append(fault)

    def answer(
        self,
        status: int,
        *,
        times: int = 1,
        method: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = b"",
    ) -> None:
        """Answer the next requests with an error, without handing them on."""
        response = Response(status, body, headers or {})
        self.arm(Fault(times, _method(method), answer=response))

    def hang(self, *, times: int = 1, method: str | None = None) -> None:
        """Leave the next requests without an answer until ``stop``."""
        self.arm(Fault(times, _method(method), hangs=True))

    def hang_up(self, *, times: int = 1, method: str | None = None) -> None:
        """Break the connection of the next requests, which have no effect."""
        self.arm(Fault(times, _method(method)))

    def lose_answers(self, *, times: int = 1, method: str | None = None) -> None:
        """Let the next requests take effect, then break the connection instead of saying so."""
        self.arm(Fault(times, _method(method), forwarded=True))

    def for_target(self, part: str, *, method: str, fault: Callable[[FaultProxy], None]) -> Fault:
        """Arm a fault for one request whose target ends with ``part``; its ``times`` goes to 0."""
        fault(self)
        armed = self._faults[-1]
        armed.matches = lambda request: (
            request.method == method and request.target.rstrip("/").endswith(part)
        )
        return armed

    @property
    def pending_faults(self) -> int:
        """How many armed faults have not struck yet: a test that ends with some tested nothing."""
        return sum(fault.times for fault in self._faults)

    def stop(self) -> None:
        self._released.set()
        super().stop()

    def start(self) -> Self:
        self._released.clear()
        return super().start()

    def handle(self, request: Request) -> Response:
        self.counts[request.method] += 1
        fault = next((f for f in self._faults if f.times > 0 and f.matches(request)), None)
        if fault is None:
            return self._forward(request)
        fault.times -= 1
        if fault.damaged:
            response = self._forward(request)
            changed = bytes([response.body[0] ^ 1]) + response.body[1:]
            return Response(response.status, changed, response.headers)
        if fault.forwarded:
            self._forward(request)
        if fault.hangs:
            self._released.wait(timeout=60)
        if fault.answer is None:
            raise HangUpError
        return fault.answer

    def _forward(self, request: Request) -> Response:
        upstream = http.client.HTTPSConnection(
            "127.0.0.1", self._upstream, context=self._context, timeout=30
        )
        try:
            headers = {k: v for k, v in request.headers.items() if k not in HOP_BY_HOP}
            headers["content-length"] = str(len(request.body))
            upstream.request(request.method, request.target, request.body, headers)
            answer = upstream.getresponse()
            body = answer.read()
            if request.target == "/":
                # A Cosmos DB account names its endpoints, and the SDK goes there.
                body = body.replace(b":%d" % self._upstream, b":%d" % self.port)
            kept = HOP_BY_HOP - {"content-length"} if request.method == "HEAD" else HOP_BY_HOP
            return Response(
                answer.status, body, {k: v for k, v in answer.getheaders() if k.lower() not in kept}
            )
        finally:
            upstream.close()


def _method(method: str | None) -> Callable[[Request], bool]:
    return lambda request: method is None or request.method == method
