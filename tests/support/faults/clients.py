"""Clients of a server that keeps dying, and what they were told before it did."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support.accounts import bearer
from tests.support.process import POLL_SECONDS

SIZES = (0, 1, 700, 5_000, 65_537, 1_048_520, 1_048_576, 2_500_000, 5_000_000)
SIZE_WEIGHTS = (2, 2, 10, 10, 6, 2, 2, 2, 1)
PIECE = 65_536


@dataclass(frozen=True)
class Content:
    """What a client sends; its name, unlike every other, is the seed of its bytes."""

    name: str
    size: int

    def bytes(self) -> bytes:
        return random.Random(self.name).randbytes(self.size)

    def digest(self) -> str:
        sha256 = hashlib.sha256(self.bytes()).digest()
        return f"sha-256=:{base64.b64encode(sha256).decode()}:"

    def headers(self) -> dict[str, str]:
        """Those of an upload."""
        return {
            "Content-Disposition": f'attachment; filename="{self.name}"',
            "Content-Type": "application/octet-stream",
            "Content-Length": str(self.size),
            "Repr-Digest": self.digest(),
        }

    async def pieces(self) -> AsyncIterator[bytes]:  # type: ignore[valid-type]
        """The bytes, as a client on a network sends them."""
        content = self.bytes()
        for at in range(0, self.size, PIECE):
            yield content[at : at + PIECE]
            await asyncio.sleep(0)


@dataclass
class Ledger:
    """What was sent, and what the server has acknowledged.

    Attributes:
        sent: Every content that was ever sent, by its name.
        documents: The contents of each acknowledged document, the first version first.
        deleted: Acknowledged deletions.
        staged: The content of each upload whose completion was acknowledged, by the upload's id.
        uploads: The ids of all uploads that were granted.
        counts: How often each thing happened.
    """

    sent: dict[str, Content] = field(default_factory=dict)
    documents: dict[str, list[Content]] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    staged: dict[str, tuple[str, Content]] = field(default_factory=dict)
    uploads: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1


class Client:
    """One client, which does one thing after the other until told to stop.

    Args:
        number: Tells its contents from the others'.
        http: Talks to the server.
        token: Signs it in.
        up: Set while the server should answer.
        ledger: Where it notes what it was told.
        seed: Of its decisions.
    """

    def __init__(
        self,
        number: int,
        http: httpx.AsyncClient,
        token: str,
        up: asyncio.Event,
        ledger: Ledger,
        seed: int,
    ) -> None:
        self._number = number
        self._http = http
        self._token = token
        self._up = up
        self._ledger = ledger
        self._chance = random.Random(f"{seed}/{number}")
        self._contents = 0
        self._own: list[str] = []

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until ``stopping`` is set, and finish what was begun."""
        things: dict[Callable[[], Awaitable[None]], int] = {
            self.upload_once: 5,
            self.upload_until_acknowledged: 5,
            self.upload_staged: 5,
            self.abandon_upload: 1,
            self.add_version: 4,
            self.delete: 2,
            self.read: 4,
        }
        while not stopping.is_set():
            [thing] = self._chance.choices(list(things), list(things.values()))
            await thing()

    async def upload_once(self) -> None:
        """A direct upload that nobody repeats: its answer may be lost."""
        content = self._new_content()
        answer = await self._try(
            "POST", "documents", headers=content.headers(), content=content.pieces
        )
        if answer is None:
            self._ledger.count("direct uploads without an answer")
            return
        self._acknowledged(answer, content)

    async def upload_until_acknowledged(self) -> None:
        """A direct upload with an Idempotency-Key, repeated until it is answered."""
        content = self._new_content()
        headers = content.headers() | {"Idempotency-Key": f"the key of {content.name}"}
        answer = await self._insist("POST", "documents", headers=headers, content=content.pieces)
        self._acknowledged(answer, content)

    async def upload_staged(self) -> None:
        """A staged upload, each step repeated until it is answered."""
        content = self._new_content()
        upload = await self._grant(content)
        await self._put(upload["grant"], content)
        answer = await self._insist("POST", f"uploads/{upload['id']}/complete")
        assert answer.status_code == 202, answer.text
        self._ledger.staged[upload["id"]] = (upload["document"], content)
        self._ledger.count("staged uploads completed")

    async def abandon_upload(self) -> None:
        """A staged upload that is never completed, with or without its content."""
        content = self._new_content()
        upload = await self._grant(content)
        if self._chance.random() < 0.5:
            await self._put(upload["grant"], content)
        self._ledger.count("staged uploads abandoned")

    async def add_version(self) -> None:
        """A new version of an own document; where the answer is lost, look what became of it."""
        if not self._own:
            return
        document = self._chance.choice(self._own)
        versions = self._ledger.documents[document]
        content = self._new_content()
        before = (await self._insist("GET", f"documents/{document}")).json()
        assert before["version"] == len(versions)
        answer = await self._try(
            "PUT",
            f"documents/{document}/content",
            headers=content.headers() | {"If-Match": before["etag"]},
            content=content.pieces,
        )
        if answer is None:
            self._ledger.count("new versions without an answer")
            current = (await self._insist("GET", f"documents/{document}")).json()
            if current["version"] == len(versions):
                assert current["name"] == versions[-1].name
                return
            assert current["version"] == len(versions) + 1
            assert current["name"] == content.name
        else:
            assert answer.status_code == 200, answer.text
            self._ledger.count("new versions acknowledged")
        versions.append(content)

    async def delete(self) -> None:
        """Delete an own document; where the answer is lost, look what became of it."""
        if not self._own:
            return
        document = self._own.pop(self._chance.randrange(len(self._own)))
        erase = self._chance.random() < 0.5
        query = "?erase=true" if erase else ""
        answer = await self._try("DELETE", f"documents/{document}{query}")
        if answer is None:
            self._ledger.count("deletions without an answer")
            found = await self._insist("GET", f"documents/{document}")
            assert found.status_code in {200, 404}, found.text
            if found.status_code == 200:
                self._own.append(document)
                return
        else:
            assert answer.status_code == 200, answer.text
            assert answer.json()["outcome"] == ("erased" if erase else "trashed")
            self._ledger.count("deletions acknowledged")
        self._ledger.deleted.add(document)

    async def read(self) -> None:
        """Read an own document: an answer that comes whole is right."""
        if not self._own:
            return
        document = self._chance.choice(self._own)
        answer = await self._try("GET", f"documents/{document}/content")
        if answer is None:
            return
        assert answer.status_code == 200, answer.text
        assert answer.content == self._ledger.documents[document][-1].bytes()
        self._ledger.count("contents read in between")

    def _new_content(self) -> Content:
        self._contents += 1
        [size] = self._chance.choices(SIZES, SIZE_WEIGHTS)
        content = Content(f"client-{self._number}-{self._contents}.bin", size)
        self._ledger.sent[content.name] = content
        return content

    def _acknowledged(self, answer: httpx.Response, content: Content) -> None:
        assert answer.status_code == 201, answer.text
        document = answer.json()["id"]
        assert document not in self._ledger.documents
        self._ledger.documents[document] = [content]
        self._own.append(document)
        self._ledger.count("direct uploads acknowledged")

    async def _grant(self, content: Content) -> dict[str, Any]:
        answer = await self._insist(
            "POST",
            "uploads",
            headers={"Idempotency-Key": f"the key of {content.name}"},
            json={"name": content.name, "size": content.size, "repr_digest": content.digest()},
        )
        assert answer.status_code == 201, answer.text
        upload: dict[str, Any] = answer.json()
        self._ledger.uploads.add(upload["id"])
        return upload

    async def _put(self, grant: dict[str, Any], content: Content) -> None:
        answer = await self._insist(
            grant["method"],
            grant["url"],
            headers=grant["headers"] | {"Content-Length": str(content.size)},
            content=content.pieces,
        )
        # A second attempt finds what the first has put, where only its answer was lost.
        assert answer.status_code in {201, 409}, answer.text

    async def _insist(self, method: str, url: str, **request: Any) -> httpx.Response:
        """Send the same request until it is answered."""
        while True:
            answer = await self._try(method, url, **request)
            if answer is not None:
                return answer
            self._ledger.count("requests repeated")

    async def _try(self, method: str, url: str, **request: Any) -> httpx.Response | None:
        """Send a request once; None if the server died under it."""
        await self._up.wait()
        if "content" in request:
            request["content"] = request["content"]()
        request["headers"] = bearer(self._token) | request.get("headers", {})
        try:
            return await self._http.request(method, url, **request)
        except httpx.TransportError:
            await asyncio.sleep(POLL_SECONDS)
            return None
