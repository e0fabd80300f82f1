"""Requests as clients make them: what their headers say is understood, checked, or refused clearly."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.support.app import POLICY, App, SeededApp, problem

pytestmark = pytest.mark.anyio

CONTENT = b"what the client sends"
Lines = list[tuple[str, str]]


@pytest.fixture(scope="module")
async def app(seeded: SeededApp, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[App]:
    """One for all."""
    data = tmp_path_factory.mktemp("forms") / "data"
    async with seeded.opened(data, requests_per_minute=100_000) as app:
        yield app


async def send(
    app: App, auth: dict[str, str], lines: Lines, method: str = "POST", path: str = "documents"
) -> httpx.Response:
    """A request whose header lines are exactly these, after the token."""
    encoded = [(name.encode(), value.encode()) for name, value in [*auth.items(), *lines]]
    return await app.http.request(method, path, content=CONTENT, headers=encoded)


def named(*lines: tuple[str, str]) -> Lines:
    return [("Content-Disposition", 'attachment; filename="a"'), *lines]


def encoded(algorithm: str, content: bytes = CONTENT) -> str:
    digest = hashlib.new(algorithm, content, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def fields(answer: httpx.Response) -> list[str]:
    assert (answer.status_code, problem(answer)) == (400, "invalid-input"), answer.text
    faults = answer.json()["errors"]
    if len(faults) == 1:
        assert faults[0]["detail"] == answer.json()["detail"]
    return [fault["field"] for fault in faults]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ('text/plain; charset="utf-8"', 'text/plain; charset="utf-8"'),
        ("application/pdf;", "application/pdf"),
        ("application/x-www-form-urlencoded; charset=utf-8", "application/octet-stream"),
    ],
)
async def test_media_types_are_read_as_rfc_9110_has_them(
    app: App, auth: dict[str, str], sent: str, kept: str
) -> None:
    view = (await send(app, auth, named(("Content-Type", sent)))).json()
    assert view["media_type"] == kept
    answer = await app.http.get(f"documents/{view['id']}/content", headers=auth)
    assert answer.headers["content-type"] == kept
    staged = {"name": "a", "size": 1, "media_type": sent}
    assert (await app.http.post("uploads", json=staged, headers=auth)).status_code == 201


async def test_every_field_has_its_own_sentence(app: App, auth: dict[str, str]) -> None:
    bad = [("Content-Type", "text"), ("Strongroom-Metadata", "[]")]
    for line in bad:
        assert fields(await send(app, auth, named(line))) == [f"header.{line[0]}"]
    answer = await send(app, auth, [("Content-Disposition", "attachment"), *bad])
    assert fields(answer) == [
        "header.Content-Disposition",
        "header.Content-Type",
        "header.Strongroom-Metadata",
    ]
    assert len({fault["detail"] for fault in answer.json()["errors"]}) == 3
    body = {"name": "a ", "size": 1, "media_type": "text", "metadata": {"a": "\u202e"}}
    answer = await app.http.post("uploads", json=body, headers=auth)
    assert fields(answer) == ["body.name", "body.media_type", "body.metadata"]
    assert "blank" in answer.json()["errors"][0]["detail"]


async def test_a_form_is_not_taken_for_a_document(app: App, auth: dict[str, str]) -> None:
    answer = await app.http.post(
        "documents",
        files={"file": ("a.pdf", CONTENT)},
        headers=auth | {"Content-Disposition": "attachment; filename=a"},
    )
    assert fields(answer) == ["header.Content-Type"]


@pytest.mark.parametrize("coding", ["gzip", "br", "aws-chunked", "identity, gzip", "GZIP"])
async def test_a_coded_body_is_refused_on_every_route_that_takes_one(
    app: App, alpha: str, auth: dict[str, str], coding: str
) -> None:
    document = (await app.upload(auth, CONTENT)).json()
    bodies: list[tuple[str, str, bytes]] = [
        ("POST", "documents", CONTENT),
        ("PUT", f"documents/{document['id']}/content", CONTENT),
        ("POST", "uploads", json.dumps({"name": "a", "size": 1}).encode()),
        ("PUT", "policy", json.dumps(POLICY).encode()),
        ("POST", "auth/sign-in", b"{}"),
    ]
    stored = app.stored("primary")
    for method, path, body in bodies:
        headers = auth | {
            "Content-Type": "application/json",
            "Content-Encoding": coding,
            "Content-Disposition": "attachment; filename=a",
            "If-Match": document["etag"],
        }
        answer = await app.http.request(method, path, content=gzip.compress(body), headers=headers)
        assert (answer.status_code, problem(answer)) == (415, "unsupported-media-type"), path
        assert answer.headers["accept-encoding"] == "identity"
    assert app.stored("primary") == stored
    refused = [body["entry"] for body in await app.entries(alpha) if body["entry"]["reason"]]
    assert "unsupported-media-type" in {entry["reason"] for entry in refused}


async def test_a_body_that_says_it_is_not_coded_is_taken(app: App, auth: dict[str, str]) -> None:
    answer = await send(app, auth, named(("Content-Encoding", "identity")))
    assert answer.status_code == 201


RIGHT = {
    "Repr-Digest": f"sha-512=:{encoded('sha512')}:",
    "Content-Digest": f"sha-256=:{encoded('sha256')}:",
    "Content-MD5": encoded("md5"),
}
WRONG = {
    "Repr-Digest": f"sha-512=:{encoded('sha512', b'')}:, sha-256=:{encoded('sha256')}:",
    "Content-Digest": f"sha-512=:{encoded('sha512')}:, sha-256=:{encoded('sha256', b'')}:",
    "Content-MD5": encoded("md5", b""),
}
UNCHECKED = {
    "Repr-Digest": f"sha=:{encoded('sha1')}:",
    "Content-Digest": f"md5=:{encoded('md5')}:",
    "Content-MD5": hashlib.md5(CONTENT, usedforsecurity=False).hexdigest(),
    "x-ms-content-crc64": "AAAAAAAAAAA=",
    "x-amz-checksum-crc32": "AAAAAA==",
    "x-goog-hash": "crc32c=AAAAAA==",
    "Digest": f"SHA-256={encoded('sha256')}",
}


@pytest.mark.parametrize("name", RIGHT)
async def test_a_digest_that_a_client_states_is_checked(
    app: App, auth: dict[str, str], name: str
) -> None:
    document = (await send(app, auth, named((name, RIGHT[name])))).json()
    stored = app.stored("primary")
    answer = await send(app, auth, named((name, WRONG[name])))
    assert (answer.status_code, problem(answer)) == (422, "digest-mismatch")
    path = f"documents/{document['id']}/content"
    follows = named((name, WRONG[name]), ("If-Match", document["etag"]))
    answer = await send(app, auth, follows, "PUT", path)
    assert (answer.status_code, problem(answer)) == (422, "digest-mismatch")
    assert app.stored("primary") == stored
    follows = named((name, RIGHT[name]), ("If-Match", document["etag"]))
    assert (await send(app, auth, follows, "PUT", path)).status_code == 200


@pytest.mark.parametrize("name", UNCHECKED)
async def test_a_digest_that_cannot_be_checked_is_refused(
    app: App, auth: dict[str, str], name: str
) -> None:
    stored = app.stored("primary")
    answer = await send(app, auth, named((name, UNCHECKED[name])))
    assert [field.lower() for field in fields(answer)] == [f"header.{name}".lower()]
    assert answer.headers["want-repr-digest"] == "sha-256=10, sha-512=5"
    assert app.stored("primary") == stored


async def test_two_digests_that_contradict_each_other_are_refused(
    app: App, auth: dict[str, str]
) -> None:
    lines = [
        ("Repr-Digest", f"sha-256=:{encoded('sha256')}:"),
        ("Content-Digest", f"sha-256=:{encoded('sha256', b'')}:"),
    ]
    assert fields(await send(app, auth, named(*lines))) == ["header.Content-Digest"]


async def test_the_digest_of_a_json_body_is_checked(app: App, auth: dict[str, str]) -> None:
    body = json.dumps({"name": "a", "size": 1}).encode()
    headers = auth | {"Content-Type": "application/json"}
    for content, status in ((body, 201), (b"another", 422)):
        stated = {"Content-Digest": f"sha-256=:{encoded('sha256', content)}:"}
        answer = await app.http.post("uploads", content=body, headers=headers | stated)
        assert answer.status_code == status, answer.text


async def test_a_part_never_replaces_the_whole(app: App, auth: dict[str, str]) -> None:
    document = (await app.upload(auth, CONTENT)).json()
    path = f"documents/{document['id']}/content"
    part = [("Content-Range", f"bytes 0-{len(CONTENT) - 1}/1000")]
    for method, target in (("PUT", path), ("POST", "documents")):
        lines = named(*part, ("If-Match", document["etag"]))
        answer = await send(app, auth, lines, method, target)
        assert fields(answer) == ["header.Content-Range"]
    assert await app.etag(auth, document["id"]) == document["etag"]


async def test_header_lines_of_one_name_are_one_list(app: App, auth: dict[str, str]) -> None:
    document = (await app.upload(auth, CONTENT)).json()
    path, etag = f"documents/{document['id']}/content", document["etag"]
    other = '"another"'
    for lines, status in (
        ([("If-None-Match", other), ("If-None-Match", etag)], 304),
        ([("If-Match", other), ("If-Match", etag)], 200),
        ([("If-Match", other), ("If-Match", other)], 412),
        ([("Range", "bytes=0-1"), ("Range", "bytes=4-5")], 200),
    ):
        assert (await send(app, auth, lines, "GET", path)).status_code == status, lines
    twice = [
        ("Repr-Digest", f"sha-256=:{encoded('sha256')}:"),
        ("Repr-Digest", f"sha-512=:{encoded('sha512', b'')}:"),
    ]
    answer = await send(app, auth, named(*twice))
    assert (answer.status_code, problem(answer)) == (422, "digest-mismatch")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Content-Disposition", 'attachment; filename="b"'),
        ("Content-Type", "text/html"),
        ("Strongroom-Metadata", '{"a": "b"}'),
        ("Idempotency-Key", "k" * 16),
        ("Content-MD5", encoded("md5")),
    ],
)
async def test_no_line_counts_alone_where_there_can_be_one_only(
    app: App, auth: dict[str, str], name: str, value: str
) -> None:
    answer = await send(app, auth, named((name, value), (name, value)))
    assert fields(answer) == [f"header.{name}"]


async def test_both_preconditions_are_looked_at(app: App, auth: dict[str, str]) -> None:
    document = (await app.upload(auth, CONTENT)).json()
    path, etag = f"documents/{document['id']}", document["etag"]
    both = [("If-Match", etag), ("If-None-Match", etag)]
    assert (await send(app, auth, both, "GET", f"{path}/content")).status_code == 304
    # RFC 9110 section 13.2.2, step 3: where it is not for reading, 412.
    for none_match in (etag, "*", f'"other", W/{etag}'):
        lines = named(("If-Match", etag), ("If-None-Match", none_match))
        for method, target in (("PUT", f"{path}/content"), ("DELETE", path)):
            answer = await send(app, auth, lines, method, target)
            assert (answer.status_code, problem(answer)) == (412, "precondition-failed")
    assert fields(await send(app, auth, [("If-None-Match", "*")], "DELETE", path)) == [
        "header.If-None-Match"
    ]
    lines = named(("If-Match", etag), ("If-None-Match", '"other"'))
    assert (await send(app, auth, lines, "PUT", f"{path}/content")).status_code == 200


async def test_the_last_bytes_of_an_empty_document(app: App, auth: dict[str, str]) -> None:
    path = f"documents/{(await app.upload(auth, b'')).json()['id']}/content"
    answer = await app.http.get(path, headers=auth | {"Range": "bytes=-5"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert "content-range" not in answer.headers
    answer = await app.http.get(path, headers=auth | {"Range": "bytes=-0"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */0")


async def test_a_name_is_kept_in_one_form(app: App, auth: dict[str, str]) -> None:
    for sent in ("Cafe\u0301.pdf", "Caf\u00e9.pdf"):
        name = "".join(f"%{byte:02x}" for byte in sent.encode())
        lines = [("Content-Disposition", f"attachment; filename*=UTF-8''{name}")]
        assert (await send(app, auth, lines)).json()["name"] == "Caf\u00e9.pdf"
        staged = {"name": sent, "size": 1}
        assert (await app.http.post("uploads", json=staged, headers=auth)).status_code == 201


async def test_filename_stands_in_for_a_filename_that_cannot_be_decoded(
    app: App, auth: dict[str, str]
) -> None:
    broken = "attachment; filename*=UTF-8''%ff"
    view = (await send(app, auth, [("Content-Disposition", f"{broken}; filename=plain")])).json()
    assert view["name"] == "plain"
    assert fields(await send(app, auth, [("Content-Disposition", broken)])) == [
        "header.Content-Disposition"
    ]


@pytest.mark.parametrize(
    "disposition",
    [
        "attachment; filename*=UTF-8''a; filename*0=b",
        "attachment; filename*0*=nonsense''%ff",
        f"attachment; filename*{'9' * 5_000}=a",
        f"attachment; filename*{'9' * 5_000}*=UTF-8''a; filename=b",
    ],
)
async def test_no_disposition_is_an_error_of_our_own(
    app: App, auth: dict[str, str], disposition: str
) -> None:
    answer = await send(app, auth, [("Content-Disposition", disposition)])
    assert answer.status_code in {201, 400}, answer.text
