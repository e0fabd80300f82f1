"""A bucket with the part of S3's API that reads it, for tests that want to be in its way."""

from __future__ import annotations

import threading
from collections import Counter
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.support.emulators.servers import HttpServer, Request, Response

NAME = "papers"


class Bucket(HttpServer):
    """Serves ``objects``.

    Attributes:
        objects: By name.
        reads: How often each object was asked for, by name and offset.
        failing: Names of objects for which the response is an error of the server.
        held: Set once a request waits, because ``hold`` said so.
        status: What is responded in place of everything else; None: what was asked for.
    """

    def __init__(self) -> None:
        super().__init__(None)
        self.objects: dict[str, bytes] = {}
        self.reads: Counter[tuple[str, int]] = Counter()
        self.failing: set[str] = set()
        self.held = threading.Event()
        self.status: int | None = None
        self._hold: tuple[str, int] | None = None
        self._released = threading.Event()

    def put(self, name: str, data: bytes) -> None:
        self.objects[name] = data

    def hold(self, name: str, start: int) -> None:
        """Leave requests for an object from an offset on without a response, until ``release``."""
        self._hold = (name, start)

    def release(self) -> None:
        self._hold = None
        self._released.set()

    def handle(self, request: Request) -> Response:
        parts = urlsplit(request.target)
        bucket, _, name = unquote(parts.path).strip("/").partition("/")
        if self.status is not None:
            return Response(self.status, _error("InternalError"), _XML)
        if bucket != NAME:
            return Response(404, _error("NoSuchBucket"), _XML)
        if not name:
            return self._list(parse_qs(parts.query).get("prefix", [""])[0])
        return self._get(name, request.headers.get("range"))

    def _list(self, prefix: str) -> Response:
        contents = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{len(data)}</Size>"
            "<LastModified>2026-11-26T10:00:00.000Z</LastModified><ETag>1</ETag></Contents>"
            for name, data in sorted(self.objects.items())
            if name.startswith(prefix)
        )
        return Response(200, f"<ListBucketResult>{contents}</ListBucketResult>".encode(), _XML)

    def _get(self, name: str, range_: str | None) -> Response:
        data = self.objects.get(name)
        if data is None:
            return Response(404, _error("NoSuchKey"), _XML)
        assert range_ is not None, "the command asks for ranges alone"
        start, end = (int(each) for each in range_.removeprefix("bytes=").split("-"))
        self.reads[name, start] += 1
        if self._hold and self._hold[0] == name and start >= self._hold[1]:
            self.held.set()
            self._released.wait(60)
        if self.status is not None or name in self.failing:
            return Response(self.status or 500, _error("InternalError"), _XML)
        if start >= len(data):
            return Response(416, _error("InvalidRange"), _XML)
        part = data[start : end + 1]
        headers = {
            "Content-Range": f"bytes {start}-{start + len(part) - 1}/{len(data)}",
            "Content-Type": "application/octet-stream",
            "Last-Modified": "Thu, 26 Nov 2026 10:00:00 GMT",
            "ETag": '"1"',
        }
        return Response(206, part, headers)


_XML = {"Content-Type": "application/xml"}


def _error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code></Error>".encode()
