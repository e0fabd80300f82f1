"""Whole stories through the real server in a process of its own, over real sockets."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import random
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from standalone.first_steps import FILE_NAME
from tests.support.accounts import PASSWORD, bearer, bootstrap, create_tenant, create_user
from tests.support.process import ServerProcess, free_port, start, wait_until
from tests.support.profiles import Embedded, Profile, azure

MEBIBYTE = 1_048_576
PAPER = random.Random("paper").randbytes(300_000)
# More than sockets hold, so that a transfer of it is under way until somebody reads on.
LARGER = random.Random("larger").randbytes(16 * MEBIBYTE + 17)
NAME = "Überschuß & Verlust 2026 決算.pdf"


OUR_LOGGERS = {"functions", "shared", "standalone", "uvicorn"}
on_embedded_parts = pytest.mark.parametrize("profile", ["embedded"], indirect=True)


@pytest.fixture(params=["embedded", "azure"])
def profile(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Profile]:
    if request.param == "embedded":
        yield Embedded(tmp_path / "data")
    else:
        with azure() as services:
            yield services


@pytest.fixture
def server(tmp_path: Path, profile: Profile) -> Iterator[ServerProcess]:
    server = ServerProcess(
        tmp_path / "data",
        outbox_relay_schedule="* * * * * *",
        **profile.settings,  # type: ignore[arg-type]
    )
    server.start()
    server.wait_until_ready()
    yield server
    server.discard()


@dataclass
class Person:
    """Somebody with a token, and what they can do with it."""

    http: httpx.Client
    token: str

    def request(self, method: str, path: str, **request: Any) -> httpx.Response:
        headers = bearer(self.token) | request.pop("headers", {})
        return self.http.request(method, path, headers=headers, **request)

    def get(self, path: str) -> Any:
        answer = self.request("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def upload(self, name: str, content: bytes) -> str:
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        answer = self.request(
            "POST",
            "documents",
            content=content,
            headers={
                "Content-Disposition": f'attachment; filename="{name}"'.encode(),
                "Repr-Digest": f"sha-256=:{digest}:",
            },
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def upload_staged(self, name: str, content: bytes) -> str:
        begun = self.request("POST", "uploads", json={"name": name, "size": len(content)})
        assert begun.status_code == 201, begun.text
        upload = begun.json()
        grant = upload["grant"]
        # The grant is all that it takes: no token goes with the content.
        put = httpx.request(
            grant["method"], grant["url"], headers=grant["headers"], content=content
        )
        assert put.status_code == 201, put.text
        completed = self.request("POST", f"uploads/{upload['id']}/complete")
        assert completed.status_code == 202, completed.text
        wait_until(lambda: self.get(f"uploads/{upload['id']}")["state"] == "sealed", "the sealing")
        return str(upload["document"])

    def content(self, document: str, **headers: str) -> httpx.Response:
        return self.request("GET", f"documents/{document}/content", headers=headers)

    def log(self, document: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.get(f"audit?limit=200&resource={document}")["items"]
        return items

    def actions(self, document: str) -> set[str]:
        """What was done to a document and has its position in the log."""
        return {item["entry"]["action"] for item in self.log(document)}

    def wait_for_replicas(self, *documents: str) -> None:
        for each in documents:
            wait_until(lambda each=each: self.get(f"documents/{each}")["replicated"], "a replica")  # type: ignore[misc]


@pytest.fixture
def http(server: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.api, timeout=60) as http:
        yield http


@pytest.fixture
def operator(server: ServerProcess, http: httpx.Client) -> Person:
    return Person(http, bootstrap(http, server.data))


@pytest.fixture
def ada(http: httpx.Client, operator: Person) -> Person:
    administrator = create_tenant(http, operator.token, "acme")
    return Person(http, create_user(http, administrator, "acme", "ada", "administrator"))


def test_a_paper_is_kept_confidential_intact_and_recoverable(
    server: ServerProcess, profile: Profile, http: httpx.Client, operator: Person, ada: Person
) -> None:
    def objects_of(document: str, *stores: str) -> list[str]:
        return [name for store in stores for name in profile.objects(store) if document in name]

    paper, larger = ada.upload(NAME, PAPER), ada.upload_staged(NAME, LARGER)
    assert {each["id"]: each["name"] for each in ada.get("documents")["items"]} == {
        paper: NAME,
        larger: NAME,
    }
    ada.wait_for_replicas(paper, larger)

    # Nothing of them is stored in clear.
    probes = [PAPER[:48], PAPER[-48:], LARGER[:48], LARGER[-48:]]
    probes += [NAME.encode(), PASSWORD.encode(), ada.token.encode()]
    stored = profile.everything()
    assert len(stored) > 2 * (len(PAPER) + len(LARGER))
    assert not [probe for probe in probes if probe in stored]
    wait_until(lambda: not profile.objects("staging"), "the staged content to go")

    assert ada.content(paper).content == PAPER
    assert ada.content(larger).content == LARGER
    part = ada.content(larger, Range="bytes=1048000-1049499")
    assert (part.status_code, part.content) == (206, LARGER[1_048_000:1_049_500])

    # A byte is flipped in the primary store: the read is right, and the primary is repaired.
    [sealed] = objects_of(paper, "primary")
    damaged = bytearray(profile.read("primary", sealed))
    damaged[len(damaged) // 2] ^= 1
    profile.overwrite("primary", sealed, bytes(damaged))
    assert ada.content(paper).content == PAPER
    wait_until(lambda: sealed not in objects_of(paper, "primary"), "the damaged object to go")
    [repaired], [replica] = objects_of(paper, "primary"), objects_of(paper, "replica")
    assert profile.read("primary", repaired) == profile.read("replica", replica) != bytes(damaged)

    expected = {f"document.{verb}" for verb in ("create", "replicate", "open", "damage", "repair")}
    wait_until(lambda: expected <= ada.actions(paper), "the audit log")
    assert NAME not in str(ada.log(paper))

    # Nobody else gets at it.
    stranger = Person(http, create_tenant(http, operator.token, "other"))
    assert stranger.get("documents")["items"] == []
    for path in (f"documents/{paper}", f"documents/{paper}/content", f"documents/{paper}/versions"):
        assert stranger.request("GET", path).status_code == 404
        assert operator.request("GET", path).status_code == 403
        assert http.get(path).status_code == 401

    # It is all there after a restart, and the token is still good.
    server.stop()
    server.start()
    server.wait_until_ready()
    assert not (server.data / FILE_NAME).exists()
    assert ada.content(paper).content == PAPER
    assert ada.content(larger).content == LARGER
    deleted = ada.request("DELETE", f"documents/{paper}").json()
    assert (deleted["id"], deleted["outcome"]) == (paper, "trashed")
    assert ada.content(paper).status_code == 404
    assert ada.request("POST", f"documents/{paper}/recover").status_code == 200
    assert ada.content(paper).content == PAPER
    erased = ada.request("DELETE", f"documents/{paper}?erase=true").json()
    assert erased["outcome"] == "erased"
    assert ada.content(paper).status_code == 404
    wait_until(lambda: not objects_of(paper, "primary", "replica", "staging"), "its objects to go")
    server.stop()
    assert {line["level"] for line in server.log_lines()} <= {"info", "warning", "error"}
    assert {line["logger"].partition(".")[0] for line in server.log_lines()} <= OUR_LOGGERS
    assert "Traceback" not in server.log()
    assert ada.token not in server.log()
    assert NAME not in server.log()


def test_a_stop_lets_an_upload_and_a_download_finish(server: ServerProcess, ada: Person) -> None:
    larger = ada.upload("larger.bin", LARGER)
    stopping = threading.Event()
    begun = threading.Event()

    def slow() -> Iterator[bytes]:
        yield PAPER[:100_000]
        begun.set()
        assert stopping.wait(30)
        yield PAPER[100_000:]

    answers: list[httpx.Response] = []

    def upload() -> None:
        headers = bearer(ada.token) | {"Content-Disposition": 'attachment; filename="slow.bin"'}
        answers.append(
            httpx.post(f"{server.api}/documents", content=slow(), headers=headers, timeout=60)
        )

    uploading = threading.Thread(target=upload)
    uploading.start()
    path = f"documents/{larger}/content"
    with (
        httpx.Client(base_url=server.api, timeout=60) as other,
        other.stream("GET", path, headers=bearer(ada.token)) as download,
    ):
        pieces = download.iter_raw(65_536)
        received = bytearray(next(pieces))
        assert begun.wait(30)
        server.terminate()
        # It takes no new connections from here on.
        wait_until(lambda: not _connects(server.port), "the server to stop listening")
        stopping.set()
        for piece in pieces:
            received += piece
    assert received == LARGER
    uploading.join(60)
    assert server.process.wait(60) == 0
    [answer] = answers
    assert answer.status_code == 201

    server.start()
    server.wait_until_ready()
    assert ada.content(answer.json()["id"]).content == PAPER
    assert ada.content(larger).content == LARGER
    ada.wait_for_replicas(answer.json()["id"], larger)
    assert len(ada.get("documents")["items"]) == 2


def test_an_upload_that_never_ends_is_cut_off_and_leaves_nothing(
    server: ServerProcess, profile: Profile, ada: Person
) -> None:
    head = (
        f"POST /api/v1/documents HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ada.token}\r\n"
        'Content-Disposition: attachment; filename="half.bin"\r\nContent-Length: 1000000\r\n\r\n'
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        client.sendall(head.encode() + PAPER)
        server.terminate()
        client.shutdown(socket.SHUT_WR)
        received = b""
        # A server that ends before it has read everything may reset the connection instead of closing it.
        with contextlib.suppress(ConnectionResetError), client.makefile("rb") as response:
            received = response.readline()
        assert b" 201 " not in received
    assert server.process.wait(60) == 0
    server.start()
    server.wait_until_ready()
    assert ada.get("documents")["items"] == []
    assert profile.objects("primary") == []


@on_embedded_parts
def test_a_second_server_on_the_same_folder_refuses(server: ServerProcess) -> None:
    second = start("--port", str(free_port()), "--data", str(server.data))
    assert second.returncode == 1
    assert second.stderr.splitlines() == [
        f"strongroom: Another host uses the data folder {server.data}: stop it, or choose another folder."
    ]
    assert httpx.get(f"{server.api}/health").status_code == 200


@on_embedded_parts
def test_a_second_server_on_the_same_port_refuses(server: ServerProcess, tmp_path: Path) -> None:
    second = start("--port", str(server.port), "--data", str(tmp_path / "other"))
    assert second.returncode == 1
    [line] = second.stderr.splitlines()
    assert line.startswith(
        f"strongroom: Cannot listen at 127.0.0.1, port {server.port}: it is in use"
    )


def _connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True
