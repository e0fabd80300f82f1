"""Audit entries as a table can have them, and as they were made."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator
from starlette.types import Message, Scope

from shared.journal.catalogue.schema import entry_schema
from tests.support.app import App
from tests.support.records import find_records, waiting
from tests.support.routes import Victim

VALIDATOR = Draft202012Validator(entry_schema())
_RANDOM = re.compile(r"[0-9a-f]{32}|[0-9a-f]{64}")  # a version of a key; a hash
_ID = re.compile(r"[a-z]{3}_[0-7][0-9a-hjkmnp-tv-z]{25}")


@dataclass(frozen=True)
class Fact:
    """An entry without what differs each time.

    Ids are names: those that a ``Recorder`` was told, and ``new doc`` for any other. Versions of keys and
    hashes are ``random``, and bytes of sealed objects are ``some``.

    Attributes:
        log: Whose log it is in: a tenant's slug, or ``operator``.
        by: The kind of the actor.
        more: Its details; of one that is text, ids are names.
    """

    action: str
    resource: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)
    log: str = "alpha"
    by: str = "user"
    outcome: str = "allowed"
    reason: str = ""


def ok(action: str, resource: str = "", **details: Any) -> Fact:
    """An entry of a user of alpha."""
    return Fact(action, resource, details)


def system(
    action: str, resource: str = "", *, log: str = "alpha", failed: str = "", **details: Any
) -> Fact:
    """An entry that no request made."""
    return Fact(action, resource, details, log, "system", "failed" if failed else "allowed", failed)


def refused(
    route: str, reason: str, resource: str = "", *, log: str = "alpha", by: str = "user"
) -> Fact:
    """The entry of a request that was refused."""
    return Fact("request", resource, {"route": route}, log, by, "refused", reason)


def interrupted(route: str, resource: str = "") -> Fact:
    """The entry of a request whose client ended the connection."""
    return Fact("request", resource, {"route": route}, outcome="failed", reason="interrupted")


class Recorder:
    """Tells which entries were made since it was asked last; each must fit the schema.

    Args:
        app: The app.
        names: Of ids.
    """

    def __init__(self, app: App, names: Mapping[str, str]) -> None:
        self._app = app
        self._names = {named: name for name, named in names.items() if named}
        self._seen = {entry["id"] for entry in self._all()}

    @classmethod
    async def of(cls, app: App, victim: Victim, **more: str) -> Self:
        """A recorder that names what is the victim's, and its administrator."""
        admin = (await app.found(victim.tenant, "admin")).value.id
        return cls(app, vars(victim) | {"admin": admin} | more)

    def new(self, request: str | None = None) -> list[Fact]:
        """The new entries of all logs, sorted.

        Args:
            request: The id of the request that made all of those that a request made.
        """
        entries = [entry for entry in self._all() if entry["id"] not in self._seen]
        self._seen |= {entry["id"] for entry in entries}
        for entry in entries:
            VALIDATOR.validate(entry)
            if request is not None and entry["actor"]["kind"] != "system":
                assert entry["request"] == request
                assert entry["address"] == "203.0.113.7"
                assert entry["user_agent"].startswith("python-httpx/")
        return in_order(self._fact(entry) for entry in entries)

    def _all(self) -> list[dict[str, Any]]:
        found = find_records(self._app.data, "audit", "audit-logged")
        return [waiting(each.body) for each in found]

    def _fact(self, entry: dict[str, Any]) -> Fact:
        details = {name: self._known(value) for name, value in entry["details"].items()}
        if "bytes" in details:
            details["bytes"] = "some"
        log = self._app.slugs.get(entry["tenant"]) or self._named(entry["tenant"])
        return Fact(
            entry["action"],
            self._named(entry["resource"]),
            details,
            log,
            entry["actor"]["kind"],
            entry["outcome"],
            entry["reason"],
        )

    def _known(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._known(each) for each in value]
        return self._named(value) if isinstance(value, str) else value

    def _named(self, text: str) -> str:
        if _RANDOM.fullmatch(text):
            return "random"
        return _ID.sub(lambda found: self._names.get(found[0], f"new {found[0][:3]}"), text)


def in_order(facts: Any) -> list[Fact]:
    """Facts in an order of their own; several entries of one millisecond have none."""
    return sorted(facts, key=lambda fact: json.dumps(vars(fact), sort_keys=True))


async def break_off(
    app: App, method: str, path: str, headers: Mapping[str, str], begun: bytes, *, cancelled: bool
) -> None:
    """Send the beginning of a request's body, and end the connection.

    Args:
        app: The app.
        method: Of the request.
        path: Below the API, or a whole URL.
        headers: Of the request.
        begun: What is sent of the body.
        cancelled: Whether the app is told as the bridge tells it, by being cancelled; else as uvicorn does,
            by a message.
    """
    url = urlsplit(path)
    api, staged = app.apps
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": url.path,
        "raw_path": url.path.encode(),
        "query_string": url.query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("203.0.113.7", 50_000),
        "server": ("app.test", 80),
    }
    messages: list[Message] = [{"type": "http.request", "body": begun, "more_body": True}]
    waits = asyncio.Event()

    async def receive() -> Message:
        if messages:
            return messages.pop()
        waits.set()
        if cancelled:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(_: Message) -> None:
        """Nobody is there."""

    chosen = staged if url.path.startswith("/staged/") else api
    running = asyncio.create_task(chosen(scope, receive, send))
    if cancelled:
        await waits.wait()
        running.cancel()
    await asyncio.wait({running})
