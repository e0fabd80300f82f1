"""The routes of the API that the command uses, as a server on 127.0.0.1 that tests can direct."""

from __future__ import annotations

import json
from collections import deque
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.emulators.servers import HttpServer, Request, Response

TOKEN = "a-token-that-nobody-may-see"
PASSWORD = "correct horse battery staple"
TEMPORARY = "0123-4567-89ab-cdef-ghjk-mnpq"
SETS = 150
SET_ID = "set_01kb0000000000000000000001"


def backup(number: int) -> dict[str, Any]:
    return {
        "id": f"set_{number:026}",
        "tenant": "ten_1",
        "made_at": "2026-11-26T10:00:00Z",
        "kind": "hourly",
        "retain_until": "2026-11-27T10:00:00Z",
        "versions": 15,
        "content_bytes": 3_400_000_000,
        "new_bytes": 1_000,
        "sequence": number,
        "sha256": "ab" * 32,
    }


REPORT = {
    "last_set": {"id": SET_ID, "made_at": "2026-11-26T10:00:00Z"},
    "recovery_point_seconds": 240.0,
    "last_verification": None,
    "findings": [],
    "last_drill": None,
    "restored_at": None,
}


class FakeApi(HttpServer):
    """Serves the routes.

    Attributes:
        requests: Method, path and body of every request, apart from signing in.
        responses: Take the place of the next responses.
        states: What the next requests for a restore find changed; the last one stays.
        verifications: What the next requests for a verification find; the last one stays.
        restores: By id.
    """

    def __init__(self) -> None:
        super().__init__(None)
        self.requests: list[tuple[str, str, Any]] = []
        self.responses: deque[Response] = deque()
        self.states: deque[dict[str, Any]] = deque()
        self.verifications: deque[dict[str, Any]] = deque([verification(100)])
        self.restores: dict[str, dict[str, Any]] = {}

    def restore(self, **members: Any) -> dict[str, Any]:
        made: dict[str, Any] = {
            "id": "rst_1",
            "set": SET_ID,
            "point_in_time": "2026-11-26T10:00:00Z",
            "state": "planned",
            "plan": {
                "documents": 12,
                "versions": 15,
                "bytes": 3_400_000_000,
                "skipped_newer": 2,
                "erased": 1,
                "expected_seconds": 130,
                "exact": True,
            },
            "progress": {"documents": 0, "restored": 0, "versions": 0, "bytes": 0, "records": 0},
            "problems": [],
            "problem_count": 0,
        } | members
        self.restores[made["id"]] = made
        return made

    def handle(self, request: Request) -> Response:
        parts = urlsplit(request.target)
        path = parts.path.removeprefix("/api/v1/")
        body: Any = json.loads(request.body) if request.body else None
        if self.responses:
            return self.responses.popleft()
        if path == "auth/sign-in":
            return self._sign_in(body)
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return problem(401, "unauthenticated", "Sign in.")
        self.requests.append((request.method, path, body))
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        return self._route(request.method, path, query, body)

    def _sign_in(self, body: dict[str, str]) -> Response:
        if body["password"] == TEMPORARY and "new_password" not in body:
            return problem(401, "password-change-required", "Send `new_password` as well.")
        if body["password"] not in (PASSWORD, TEMPORARY):
            return problem(401, "sign-in-refused", "Invalid tenant, username or password.")
        return Response(200, {"token": TOKEN, "expires_at": "2999-01-01T12:00:00Z", "user": {}})

    def _route(self, method: str, path: str, query: dict[str, str], body: Any) -> Response:
        match method, path.split("/"):
            case "GET", ["backups"]:
                start, limit = int(query.get("cursor", 0)), int(query["limit"])
                items = [backup(number) for number in range(start, min(start + limit, SETS))]
                cursor = str(start + limit) if start + limit < SETS else None
                return Response(200, {"items": items, "cursor": cursor})
            case "GET", ["backups", "report"]:
                return Response(200, REPORT)
            case "POST", ["backups", "verifications"]:
                return Response(202, _next(self.verifications))
            case "GET", ["backups", "verifications", _]:
                return Response(200, _next(self.verifications))
            case "GET", ["backups", id]:
                if id != SET_ID:
                    return problem(404, "not-found", "There is no such set.")
                return Response(200, backup(1) | {"id": id, "parts": 3, "previous": None})
            case "GET", ["restores"]:
                return Response(200, {"items": list(self.restores.values()), "cursor": None})
            case "POST", ["restores"]:
                return Response(201, self.restore())
            case "GET", ["restores", id]:
                if self.states:
                    self.restores[id] |= _next(self.states)
                return Response(200, self.restores[id])
            case "POST", ["restores", id, "start" | "pause" as verb]:
                self.restores[id]["state"] = {"start": "running", "pause": "paused"}[verb]
                return Response(200, self.restores[id])
            case "DELETE", ["restores", id]:
                del self.restores[id]
                return Response(204)
        return problem(404, "not-found", "There is no such route.")


def _next(states: deque[dict[str, Any]]) -> dict[str, Any]:
    return states.popleft() if len(states) > 1 else states[0]


def problem(status: int, slug: str, detail: str, **more: Any) -> Response:
    """A problem document as the API sends it."""
    headers = {"Content-Type": "application/problem+json"}
    if "retry_after" in more:
        headers["Retry-After"] = more.pop("retry_after")
    body = {
        "type": f"urn:strongroom:problem:{slug}",
        "title": slug,
        "status": status,
        "detail": detail,
        "instance": "urn:trace:1",
    }
    return Response(status, body | more, headers)


def verification(checked: int, *findings: dict[str, str]) -> dict[str, Any]:
    """A verification of 100 objects."""
    return {
        "id": "vrf_1",
        "set": None,
        "state": "done" if checked == 100 else "running",
        "checked_objects": checked,
        "checked_bytes": checked * 1_000,
        "total_objects": 100,
        "findings": list(findings),
    }
