"""Documents: what a client that uploads, lists, reads and deletes can rely on."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator

import pytest
from blake3 import blake3

from functions.api.memory import ADDRESS_BYTES, USER_BYTES, MemoryBudget
from shared.base.partitions import partition_of
from shared.crypto.streaming import FIRST_SEGMENT_PLAINTEXT, SEGMENT_PLAINTEXT, sealed_size
from shared.documents.service import MAX_VERSIONS
from tests.support.app import App, problem
from tests.support.records import find_records

pytestmark = pytest.mark.anyio

BORDER = FIRST_SEGMENT_PLAINTEXT
BIG = bytes(range(251)) * 8_800  # three segments, and no two places in it look the same


def repr_digest(content: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


async def uploaded(app: App, auth: dict[str, str], content: bytes) -> str:
    answer = await app.upload(auth, content)
    assert answer.status_code == 201, answer.text
    document: str = answer.json()["id"]
    return document


async def put(
    app: App, auth: dict[str, str], document: str, content: bytes, etag: str, name: str = "b"
) -> tuple[int, dict[str, object]]:
    headers = auth | {"Content-Disposition": f'attachment; filename="{name}"', "If-Match": etag}
    answer = await app.http.put(f"documents/{document}/content", content=content, headers=headers)
    return answer.status_code, answer.json()


async def test_an_upload_is_described_and_comes_back(app: App, auth: dict[str, str]) -> None:
    answer = await app.upload(
        auth,
        b"hello",
        "paper.txt",
        **{"Strongroom-Metadata": '{"case": "7719"}', "Repr-Digest": repr_digest(b"hello")},
    )
    view = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"http://app.test/api/v1/documents/{view['id']}"
    assert answer.headers["etag"] == view["etag"]
    assert re.fullmatch(rf'"{view["id"]}\.1\.[0-9a-f]{{16}}"', view["etag"])
    assert (view["version"], view["name"], view["size"]) == (1, "paper.txt", 5)
    assert (view["media_type"], view["metadata"]) == ("text/plain", {"case": "7719"})
    assert view["repr_digest"] == repr_digest(b"hello")
    assert view["created_at"] == "2026-01-01T00:00:00Z"
    assert view["replicated"] is False

    await app.settle()
    again = (await app.http.get(answer.headers["location"], headers=auth)).json()
    assert again == view | {"replicated": True}

    content = await app.http.get(f"documents/{view['id']}/content", headers=auth)
    assert (content.status_code, content.content) == (200, b"hello")
    assert content.headers["content-type"] == "text/plain"
    assert content.headers["content-length"] == "5"
    assert content.headers["repr-digest"] == repr_digest(b"hello")
    assert content.headers["etag"] == view["etag"]
    assert content.headers["accept-ranges"] == "bytes"
    assert content.headers["content-disposition"] == (
        "attachment; filename=\"paper.txt\"; filename*=UTF-8''paper.txt"
    )


@pytest.mark.parametrize(
    "size",
    [
        0,
        1,
        BORDER - 1,
        BORDER,
        BORDER + 1,
        BORDER + SEGMENT_PLAINTEXT - 1,
        BORDER + SEGMENT_PLAINTEXT,
        BORDER + SEGMENT_PLAINTEXT + 1,
    ],
)
async def test_contents_of_every_size_come_back(
    app: App, alpha: str, auth: dict[str, str], size: int
) -> None:
    content = (BIG * 2)[:size]
    document = await uploaded(app, auth, content)
    await app.settle()
    answer = await app.http.get(f"documents/{document}/content", headers=auth)
    assert answer.content == content
    version = await app.version(alpha, document)
    sealed = app.object("primary", version.object).read_bytes()
    assert len(sealed) == sealed_size(size)
    assert blake3(sealed).digest() == version.sealed_blake3
    assert app.object("replica", version.replica).read_bytes() == sealed


async def test_a_stream_of_unknown_length_comes_back(app: App, auth: dict[str, str]) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(BIG), 99_991):
            yield BIG[start : start + 99_991]

    headers = auth | {"Content-Disposition": 'attachment; filename="a"'}
    answer = await app.http.post("documents", content=chunks(), headers=headers)
    document = answer.json()["id"]
    assert (await app.http.get(f"documents/{document}/content", headers=auth)).content == BIG


@pytest.mark.parametrize(
    "name",
    [
        "Überstundennachweis März.pdf",
        "契約書 2026.docx",
        "😀.txt",
        "\u00e9.txt",
        'with "quotes"; and = signs.txt',
        "percent %41.txt",
        ".hidden",
        "...",
        "x" * 255,
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645.pdf",
        "\U0001f469\U0001f3fd\u200d\U0001f4bb \u2764\ufe0f.png",
    ],
)
async def test_names_in_any_script_come_back(app: App, auth: dict[str, str], name: str) -> None:
    quoted = "".join(f"%{byte:02X}" for byte in name.encode())
    headers = auth | {"Content-Disposition": f"attachment; filename*=UTF-8''{quoted}"}
    view = (await app.http.post("documents", content=b"x", headers=headers)).json()
    assert view["name"] == name
    content = await app.http.get(f"documents/{view['id']}/content", headers=auth)
    assert content.headers["content-disposition"].isascii()
    sent_back = auth | {"Content-Disposition": content.headers["content-disposition"]}
    again = (await app.http.post("documents", content=b"x", headers=sent_back)).json()
    assert again["name"] == name


async def test_a_name_in_raw_utf8_and_metadata_in_any_script(
    app: App, auth: dict[str, str]
) -> None:
    headers = [
        (b"authorization", auth["Authorization"].encode()),
        (b"content-disposition", 'attachment; filename="Verträge.pdf"'.encode()),
        (b"strongroom-metadata", json.dumps({"ort": "Köln"}, ensure_ascii=False).encode()),
    ]
    view = (await app.http.post("documents", content=b"x", headers=headers)).json()
    assert (view["name"], view["metadata"]) == ("Verträge.pdf", {"ort": "Köln"})


@pytest.mark.parametrize(
    "media_type", ["text/plain", "text/html", "application/pdf", "text/csv; charset=iso-8859-1"]
)
async def test_the_media_type_comes_back_as_it_was(
    app: App, auth: dict[str, str], media_type: str
) -> None:
    document = (await app.upload(auth, b"x", **{"Content-Type": media_type})).json()["id"]
    for method in ("GET", "HEAD"):
        answer = await app.http.request(method, f"documents/{document}/content", headers=auth)
        assert answer.headers["content-type"] == media_type


async def test_head_says_what_get_would(app: App, auth: dict[str, str]) -> None:
    document = await uploaded(app, auth, BIG)
    path = f"documents/{document}/content"
    get = await app.http.get(path, headers=auth)
    # RFC 9110 section 14.2: a range means something to GET alone.
    for ranged in ({}, {"Range": "bytes=5-9"}, {"Range": f"bytes={len(BIG)}-"}):
        head = await app.http.head(path, headers=auth | ranged)
        assert head.status_code == get.status_code == 200
        assert head.content == b""
        for name in ("content-length", "content-type", "etag", "repr-digest", "content-range"):
            assert head.headers.get(name) == get.headers.get(name)


RANGES = {
    "bytes=0-0": (0, 1),
    "bytes=0-9": (0, 10),
    "bytes=-1": (len(BIG) - 1, len(BIG)),
    f"bytes=-{len(BIG) + 5}": (0, len(BIG)),
    f"bytes={len(BIG) - 1}-": (len(BIG) - 1, len(BIG)),
    "bytes=100-": (100, len(BIG)),
    f"bytes=5-{len(BIG) * 10}": (5, len(BIG)),
    f"bytes={BORDER - 1}-{BORDER}": (BORDER - 1, BORDER + 1),
    f"bytes={BORDER}-{BORDER}": (BORDER, BORDER + 1),
    f"bytes={BORDER - 7}-{BORDER + SEGMENT_PLAINTEXT + 7}": (
        BORDER - 7,
        BORDER + SEGMENT_PLAINTEXT + 8,
    ),
    "BYTES = 3 - 4": None,
    "bytes=1-2,5-6": None,
    "bytes=5-1": None,
    "bytes=-": None,
    "bytes=a-b": None,
    "pages=1-2": None,
    "bytes=0-" + "9" * 5_000: None,
}


async def test_ranges(app: App, auth: dict[str, str]) -> None:
    document = await uploaded(app, auth, BIG)
    path = f"documents/{document}/content"
    for wanted, expected in RANGES.items():
        answer = await app.http.get(path, headers=auth | {"Range": wanted})
        if expected is None:
            assert (answer.status_code, answer.content == BIG) == (200, True), wanted
            assert "content-range" not in answer.headers
            continue
        start, end = expected
        assert answer.status_code == 206, wanted
        assert answer.content == BIG[start:end], wanted
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(BIG)}"
        assert answer.headers["content-length"] == str(end - start)


async def test_if_range_holds_only_for_the_same_content(app: App, auth: dict[str, str]) -> None:
    document = await uploaded(app, auth, b"0123456789")
    path, etag = f"documents/{document}/content", await app.etag(auth, document)
    some = auth | {"Range": "bytes=2-3"}
    answer = await app.http.get(path, headers=some | {"If-Range": etag})
    assert (answer.status_code, answer.content) == (206, b"23")
    for other in ('"another"', f"W/{etag}", "*", "Wed, 21 Oct 2015 07:28:00 GMT"):
        answer = await app.http.get(path, headers=some | {"If-Range": other})
        assert (answer.status_code, answer.content) == (200, b"0123456789"), other


async def test_an_empty_content_has_no_range(app: App, auth: dict[str, str]) -> None:
    document = await uploaded(app, auth, b"")
    path = f"documents/{document}/content"
    answer = await app.http.get(path, headers=auth | {"Range": "bytes=0-"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */0")
    answer = await app.http.get(path, headers=auth)
    assert (answer.status_code, answer.headers["content-length"]) == (200, "0")


async def test_conditions_on_reading(app: App, auth: dict[str, str]) -> None:
    document = await uploaded(app, auth, b"x")
    path, etag = f"documents/{document}/content", await app.etag(auth, document)
    for tag in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = await app.http.get(path, headers=auth | {"If-None-Match": tag})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == etag
        assert "content-length" not in answer.headers
    answer = await app.http.get(path, headers=auth | {"If-None-Match": '"other"'})
    assert answer.status_code == 200
    for tag in (etag, "*", f'"other", {etag}'):
        assert (await app.http.get(path, headers=auth | {"If-Match": tag})).status_code == 200
    for tag in ('"other"', f"W/{etag}"):
        answer = await app.http.get(path, headers=auth | {"If-Match": tag})
        assert (answer.status_code, problem(answer)) == (412, "precondition-failed")


async def test_versions(app: App, alpha: str, auth: dict[str, str]) -> None:
    document = await uploaded(app, auth, b"one")
    first = await app.etag(auth, document)
    status, view = await put(app, auth, document, b"two", first, "second.txt")
    second = await app.etag(auth, document)
    assert (status, view["version"], view["etag"]) == (200, 2, second)
    await app.settle()

    path = f"documents/{document}"
    for number, content in ((None, b"two"), (1, b"one"), (2, b"two")):
        query = f"?version={number}" if number else ""
        answer = await app.http.get(f"{path}/content{query}", headers=auth)
        assert answer.content == content
        view = (await app.http.get(path + query, headers=auth)).json()
        assert view["replicated"] is True
    listed = (await app.http.get(f"{path}/versions", headers=auth)).json()
    assert [each["version"] for each in listed["items"]] == [2, 1]
    assert [each["name"] for each in listed["items"]] == ["second.txt", "paper.txt"]
    assert len((await app.http.get("documents", headers=auth)).json()["items"]) == 1

    another = second[:-2] + ("0" if second[-2] != "0" else "1") + '"'
    for etag in (first, '"another"', f'"{document}.2"', f'"{document}.3"', another):
        status, refused = await put(app, auth, document, b"three", etag)
        assert (status, refused["type"]) == (412, "urn:strongroom:problem:precondition-failed")
    assert len(app.stored("primary")) == 2


async def test_two_writers_at_once_do_not_overwrite_each_other(
    app: App, auth: dict[str, str]
) -> None:
    document = await uploaded(app, auth, b"one")
    etag = await app.etag(auth, document)
    answers = await asyncio.gather(*(put(app, auth, document, b"w%d" % n, etag) for n in range(4)))
    assert sorted(status for status, _ in answers) == [200, 412, 412, 412]
    winner = next(n for n, (status, _) in enumerate(answers) if status == 200)
    answer = await app.http.get(f"documents/{document}/content", headers=auth)
    assert answer.content == b"w%d" % winner
    assert len(app.stored("primary")) == 2


async def test_a_document_has_an_end_to_its_versions_and_all_go(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    document = await uploaded(app, auth, b"1")
    etag = await app.etag(auth, document)
    for _ in range(1, MAX_VERSIONS):
        status, made = await put(app, auth, document, b"x", etag)
        assert status == 200
        etag = str(made["etag"])
    status, view = await put(app, auth, document, b"x", etag)
    assert (status, view["type"]) == (409, "urn:strongroom:problem:conflict")
    await app.settle()
    await app.erase(auth, document)
    await app.settle()
    assert app.stored("primary") == app.stored("replica") == []


async def test_erasing_destroys_keys_and_objects(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    document = await uploaded(app, auth, b"one")
    former = await app.etag(auth, document)
    await put(app, auth, document, b"two", former)
    etag = await app.etag(auth, document)
    await app.settle()
    assert len(app.stored("primary")) == len(app.stored("replica")) == 2
    path = f"documents/{document}"
    erase = f"{path}?erase=true"
    stale = auth | {"If-Match": former}
    assert (await app.http.delete(erase, headers=stale)).status_code == 412
    fresh = auth | {"If-Match": etag}
    assert (await app.http.delete(erase, headers=fresh)).status_code == 200

    # From here on nothing can be opened, though the objects still lie there.
    records = app.services.adapters.records
    record = await records.get(partition_of(alpha, document), "document", document)
    assert record.body["current"] is None
    assert not list(find_records(app.data, "version", tenant=alpha))
    assert b"wrapped_key" not in json.dumps(record.body).encode()
    for address in (path, f"{path}/content", f"{path}?version=1", f"{path}/versions"):
        answer = await app.http.get(address, headers=auth)
        assert (answer.status_code, problem(answer)) == (404, "not-found")
    for again in (path, erase):
        assert (await app.http.delete(again, headers=auth)).status_code == 404
    assert (await put(app, auth, document, b"x", etag))[0] == 404
    assert (await app.http.get("documents", headers=auth)).json()["items"] == []

    await app.settle()
    assert app.stored("primary") == app.stored("replica") == []


async def test_erasing_before_replication_leaves_no_replica(app: App, auth: dict[str, str]) -> None:
    document = await uploaded(app, auth, b"x")
    await app.erase(auth, document)
    await app.settle()
    assert app.stored("primary") == app.stored("replica") == []


async def test_pages_are_complete_and_newest_first(app: App, auth: dict[str, str]) -> None:
    expected = []
    for number in range(7):
        app.clock.advance(1)
        expected.append(await uploaded(app, auth, b"%d" % number))
    gone = expected.pop(3)
    await app.http.delete(f"documents/{gone}", headers=auth)
    for limit in (1, 2, 3, 6, 7, 200):
        found: list[str] = []
        cursor = None
        while True:
            query = {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})
            page = (await app.http.get("documents", params=query, headers=auth)).json()
            assert len(page["items"]) <= limit
            found += [each["id"] for each in page["items"]]
            cursor = page["cursor"]
            if cursor is None:
                break
        assert found == expected[::-1]


async def test_a_repeated_upload_takes_effect_once(app: App, auth: dict[str, str]) -> None:
    key = {"Idempotency-Key": "9e3a5bd6-6dbb-4a3c-b0f7-6ff0f0a3c3f1"}
    first = await app.upload(auth, BIG, **key)
    again = await app.upload(auth, BIG, **key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert len(app.stored("primary")) == 1
    for other in ({"content": b"another"}, {"content": BIG, "name": "other.txt"}):
        answer = await app.upload(auth, **other, **key)  # type: ignore[arg-type]
        assert (answer.status_code, problem(answer)) == (422, "idempotency-key-reused")
    assert len(app.stored("primary")) == 1
    app.clock.advance(24 * 3600)
    fresh = await app.auth(next(iter(app.slugs)))
    late = await app.upload(fresh, BIG, **key)
    assert late.json()["id"] != first.json()["id"]


async def test_twins_become_one_document(app: App, auth: dict[str, str]) -> None:
    key = {"Idempotency-Key": "9e3a5bd6-6dbb-4a3c-b0f7-6ff0f0a3c3f1"}
    answers = await asyncio.gather(*(app.upload(auth, b"twin", **key) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(app.stored("primary")) == 1
    assert len((await app.http.get("documents", headers=auth)).json()["items"]) == 1
    await app.settle()
    assert len(app.stored("replica")) == 1


async def test_a_content_is_in_the_log_before_it_leaves(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    document = await uploaded(app, auth, b"0123456789")
    await app.http.get(f"documents/{document}/content", headers=auth | {"Range": "bytes=2-3"})
    opened = [
        body["entry"]
        for body in await app.entries(alpha, document)
        if body["entry"]["action"] == "document.open"
    ]
    assert [entry["details"] for entry in opened] == [{"version": 1, "start": 2, "end": 4}]
    assert opened[0]["address"] == "203.0.113.7"


@pytest.mark.parametrize(("of_user", "size"), [(True, USER_BYTES), (False, ADDRESS_BYTES)])
async def test_who_holds_too_much_memory_is_refused_until_it_is_free(
    app: App, alpha: str, auth: dict[str, str], of_user: bool, size: int
) -> None:
    budget: MemoryBudget = app.apps[0].state.limits.memory
    budget._patience = 0
    document = (await app.upload(auth, b"x" * 100_000)).json()["id"]
    assert not budget._held
    user = (await app.found(alpha, "admin")).value.id
    other = {user if of_user else "203.0.113.7": size}
    await budget.hold(other, size)
    content = f"documents/{document}/content"
    download = await app.http.get(content, headers=auth)
    assert (download.status_code, problem(download)) == (429, "rate-limited")
    assert int(download.headers["retry-after"]) > 0
    upload = await app.upload(auth, b"x" * 100_000)
    assert (upload.status_code, problem(upload)) == (429, "rate-limited")
    assert (await app.http.get(f"documents/{document}", headers=auth)).status_code == 200
    budget.free(other, size)
    assert (await app.http.get(content, headers=auth)).content == b"x" * 100_000
    assert (await app.upload(auth, b"x" * 100_000)).status_code == 201
    assert not budget._held
