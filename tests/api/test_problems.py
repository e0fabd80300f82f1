"""Bad input: each kind has its own problem, which repeats nothing that the client sent."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from functions.api.bodies import MAX_JSON_BYTES
from shared.base.errors import StrongroomError
from shared.crypto.passwords import MAX_LENGTH
from tests.support.app import App, Opened, SeededApp, problem

pytestmark = pytest.mark.anyio

SECRET = "zebra-7719"
"""Stands in every bad value, and may be in no answer."""


@pytest.fixture(scope="module")
async def app(seeded: SeededApp, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[App]:
    """One for all: what is refused leaves nothing behind."""
    data = tmp_path_factory.mktemp("problems") / "data"
    plenty = {"requests_per_minute": 100_000, "sign_ins_per_minute": 100_000}
    async with seeded.opened(data, **plenty) as app:
        yield app


@pytest.fixture
async def kept_nothing(app: App) -> AsyncIterator[None]:
    """No object is in the primary store after the test that was not there before."""
    before = app.stored("primary")
    yield
    assert app.stored("primary") == before


def refused(answer: httpx.Response, status: int, slug: str) -> str:
    """Check the answer; its detail."""
    assert (answer.status_code, problem(answer)) == (status, slug), answer.text
    assert SECRET not in answer.text
    assert "Traceback" not in answer.text
    assert ".py" not in answer.text
    detail: str = answer.json()["detail"]
    assert detail.endswith(".")
    return detail


def digest(content: bytes, algorithm: str = "sha256") -> str:
    return base64.b64encode(hashlib.new(algorithm, content).digest()).decode()


@pytest.mark.parametrize(
    "value",
    [
        "",
        "sha-256",
        "sha-256=",
        "sha-256=::",
        f"sha-256=:{digest(b'x')}",
        f"sha-256={digest(b'x')}",
        "sha-256=:AAAA:",
        "sha-256=:!!!!:",
        f"sha-256=:{'A' * 43}:",
        f"md5=:{digest(b'x', 'md5')}:",
        f"sha-512=:{digest(b'x')}:",
        f"sha-512=:AAAA:, sha-256=:{digest(b'x')}:",
        f"sha-256=:{digest(b'x')}:, garbage",
        f"xsha-256=:{digest(b'x')}:",
        hashlib.sha256(b"x").hexdigest(),
    ],
)
@pytest.mark.usefixtures("kept_nothing")
async def test_a_repr_digest_of_a_bad_form(app: App, auth: dict[str, str], value: str) -> None:
    answer = await app.upload(auth, b"x", **{"Repr-Digest": value})
    assert "Repr-Digest" in refused(answer, 400, "invalid-input")


@pytest.mark.usefixtures("kept_nothing")
async def test_a_wrong_repr_digest(app: App, auth: dict[str, str]) -> None:
    wrong = {"Repr-Digest": f"sha-256=:{digest(b'another')}:"}
    refused(await app.upload(auth, SECRET.encode(), **wrong), 422, "digest-mismatch")
    big = b"z" * 3_000_000
    refused(await app.upload(auth, big, **wrong), 422, "digest-mismatch")


@pytest.mark.parametrize(
    "value",
    [
        f"sha-256=:{digest(b'x')}:",
        f"sha-512=:{digest(b'x', 'sha512')}:, sha-256=:{digest(b'x')}:",
        f"sha-512=:{digest(b'x', 'sha512')}:",
        f"sha-256=:{digest(b'x')}:,md5=:AAAA:",
        f"sha-256=:{digest(b'y')}:, sha-256=:{digest(b'x')}:",
    ],
)
async def test_a_right_repr_digest(app: App, auth: dict[str, str], value: str) -> None:
    assert (await app.upload(auth, b"x", **{"Repr-Digest": value})).status_code == 201


async def test_a_content_that_is_too_large(opened: Opened, alpha: str) -> None:
    async with opened(max_direct_upload_bytes=2_000_000) as app:
        auth = await app.auth(alpha)
        assert (await app.upload(auth, bytes(2_000_000))).status_code == 201
        kept = app.stored("primary")

        async def chunks(count: int) -> AsyncIterator[bytes]:
            for _ in range(count):
                yield bytes(100_000)

        headers = auth | {"Content-Disposition": f'attachment; filename="{SECRET}"'}
        declared = await app.http.post("documents", content=bytes(2_000_001), headers=headers)
        assert "staged upload" in refused(declared, 413, "too-large")
        streamed = await app.http.post("documents", content=chunks(30), headers=headers)
        refused(streamed, 413, "too-large")
        lying = await app.http.post(
            "documents", content=chunks(30), headers=headers | {"Content-Length": "5"}
        )
        refused(lying, 413, "too-large")
        assert app.stored("primary") == kept
        upload = await app.http.post("uploads", json={"name": SECRET, "size": 10**15}, headers=auth)
        refused(upload, 413, "too-large")


@pytest.mark.parametrize(
    "disposition",
    [
        None,
        "",
        "attachment",
        'attachment; filename=""',
        f'attachment; filename="../{SECRET}"',
        f'attachment; filename="/etc/{SECRET}"',
        f'attachment; filename="C:\\\\{SECRET}"',
        'attachment; filename="."',
        'attachment; filename=".."',
        f'attachment; filename="{SECRET}\x00"',
        f'attachment; filename="{SECRET}\x1b[2J"',
        f"attachment; filename*=UTF-8''{SECRET}%0d%0aSet-Cookie:%20a",
        f"attachment; filename*=UTF-8''a%c2%85{SECRET}",
        f"attachment; filename*=UTF-8''..%2f{SECRET}",
        f"attachment; filename*=idna''{SECRET}%ff",
        f"attachment; filename*=undefined''{SECRET}",
        f"attachment; filename*=unicode_escape''%5Cud800{SECRET}",
        f'attachment; filename="{SECRET}{"x" * 246}"',
        f"attachment; filename*=punycode''{SECRET}{'9' * 8_192}",
        f"attachment; filename*=UTF-8''{SECRET}%ff",
        f"attachment; filename*=UTF-8''%E2%80%AE{SECRET}gnp.exe",
        f"attachment; filename*=UTF-8''{SECRET}%E2%80%8B",
        f'attachment; filename=" {SECRET}"',
        'attachment; filename=" "',
        f'attachment; filename="{SECRET}"; filename="b"',
        f'attachment{";" * 8_192}; filename="{SECRET}"',
    ],
)
@pytest.mark.usefixtures("kept_nothing")
async def test_a_bad_file_name(app: App, auth: dict[str, str], disposition: str | None) -> None:
    headers: list[tuple[bytes, bytes]] = [(b"authorization", auth["Authorization"].encode())]
    if disposition is not None:
        headers.append((b"content-disposition", disposition.encode("utf-8")))
    answer = await app.http.post("documents", content=b"x", headers=headers)
    refused(answer, 400, "invalid-input")


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "a/b", "a\\b", "a\x00", "a\x85", "x" * 256, "\ud800"),
        *(" ", "a ", "\u200b", "\u202egnp.exe", "a\u2069", "\ufeffa", "\u3164"),
    ],
)
async def test_a_bad_file_name_of_a_staged_upload(
    app: App, auth: dict[str, str], name: str
) -> None:
    body = json.dumps({"name": name, "size": 1})
    headers = auth | {"Content-Type": "application/json"}
    answer = await app.http.post("uploads", content=body, headers=headers)
    refused(answer, 400, "invalid-input")
    assert answer.json()["errors"][0]["field"] == "body.name"


@pytest.mark.parametrize(
    "metadata",
    [
        "{",
        SECRET,
        f'"{SECRET}"',
        f'["{SECRET}"]',
        f'{{"a": {{"b": "{SECRET}"}}}}',
        '{"a": 1}',
        f'{{"{SECRET} ": "x"}}',
        f'{{"a": "{SECRET * 100}"}}',
        f'{{"{SECRET}{"k" * 64}": "x"}}',
        json.dumps({f"k{number}": SECRET for number in range(33)}),
        "[" * 5_000,
        '{"a": "\\ud800"}',
        '{"\\ud800": "a"}',
        f'{{"a": "{SECRET}", "a": "b"}}',
        f'{{"a": "{SECRET}\\u202e"}}',
        f'{{"a": "{SECRET} "}}',
    ],
)
@pytest.mark.usefixtures("kept_nothing")
async def test_bad_metadata(app: App, auth: dict[str, str], metadata: str) -> None:
    answer = await app.upload(auth, b"x", **{"Strongroom-Metadata": metadata})
    refused(answer, 400, "invalid-input")


@pytest.mark.parametrize(
    "media_type", ["text", "text/", "/plain", "text/pl ain", "text/ä", "a/" + "b" * 126]
)
async def test_a_bad_media_type(app: App, auth: dict[str, str], media_type: str) -> None:
    headers: list[tuple[bytes, bytes]] = [
        (b"authorization", auth["Authorization"].encode()),
        (b"content-disposition", b'attachment; filename="a"'),
        (b"content-type", media_type.encode()),
    ]
    refused(await app.http.post("documents", content=b"x", headers=headers), 400, "invalid-input")
    staged = {"name": "a", "size": 1, "media_type": media_type}
    refused(await app.http.post("uploads", json=staged, headers=auth), 400, "invalid-input")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"' + SECRET.encode() + b'"',
        b"\xff\xfe\x00",
        b"[" * 20_000,
        b'{"size": ' + b"9" * 5_000 + b"}",
        b'{"name": "a", "size": NaN}',
        b'{"name": "a", "size": 1e999}',
        b'{"name": "a", "size": -1}',
        b'{"name": "a", "size": 1.5}',
        b'{"name": "a", "size": "' + SECRET.encode() + b'"}',
        b'{"name": 5, "size": 1}',
        b'{"name": "a", "size": 1, "metadata": {"a": ["' + SECRET.encode() + b'"]}}',
        b'{"name": "a", "size": 1, "repr_digest": "' + SECRET.encode() + b'"}',
    ],
)
async def test_a_bad_json_body(app: App, auth: dict[str, str], body: bytes) -> None:
    headers = auth | {"Content-Type": "application/json"}
    refused(await app.http.post("uploads", content=body, headers=headers), 400, "invalid-input")


async def test_fields_that_we_do_not_know(app: App, auth: dict[str, str]) -> None:
    answer = await app.http.post(
        "uploads", json={"name": "a", "size": 1, "sise": SECRET}, headers=auth
    )
    refused(answer, 400, "invalid-input")
    assert [fault["field"] for fault in answer.json()["errors"]] == ["body.sise"]


async def test_a_field_whose_name_is_no_text(app: App, auth: dict[str, str]) -> None:
    headers = auth | {"Content-Type": "application/json"}
    body = b'{"name": "a", "size": 1, "\\ud800": 1}'
    refused(await app.http.post("uploads", content=body, headers=headers), 400, "invalid-input")


@pytest.mark.parametrize(
    "media_type", [None, "", "text/plain", "application/x-www-form-urlencoded", SECRET]
)
@pytest.mark.parametrize("body", [SECRET, '{"name": "a", "size": 1}'])
async def test_a_body_that_is_not_said_to_be_json(
    app: App, auth: dict[str, str], media_type: str | None, body: str
) -> None:
    headers = auth | ({} if media_type is None else {"Content-Type": media_type})
    answer = await app.http.post("uploads", content=body.encode(), headers=headers)
    refused(answer, 400, "invalid-input")
    assert answer.json()["errors"] == [
        {"field": "body", "detail": "Send it as JSON, with Content-Type: application/json."}
    ]


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "application/a+json"])
async def test_a_body_that_is_said_to_be_json(
    app: App, auth: dict[str, str], media_type: str
) -> None:
    headers = auth | {"Content-Type": media_type}
    answer = await app.http.post("uploads", content=b"[]", headers=headers)
    refused(answer, 400, "invalid-input")
    assert "Content-Type" not in answer.text
    answer = await app.http.post("uploads", content=b'{"name": "a"}', headers=headers)
    refused(answer, 400, "invalid-input")
    assert answer.json()["errors"] == [{"field": "body.size", "detail": "Field required"}]


async def test_a_json_body_that_is_too_large(app: App, auth: dict[str, str]) -> None:
    text = "x" * (MAX_JSON_BYTES + 500)
    body = json.dumps({"name": SECRET, "size": 1, "metadata": {"a": text}}).encode()

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1_000):
            yield body[start : start + 1_000]

    headers = auth | {"Content-Type": "application/json"}
    for content in (body, chunks()):
        answer = await app.http.post("uploads", content=content, headers=headers)
        assert str(MAX_JSON_BYTES) in refused(answer, 413, "too-large")


async def test_metadata_as_large_as_it_may_be_fits_however_it_is_written(
    app: App, auth: dict[str, str]
) -> None:
    letter = "\U00020000"  # two escapes of six characters in JSON, four bytes in UTF-8
    metadata = {f"{letter * 62}{number:02}": letter * 512 for number in range(32)}
    body = {
        "name": letter * 255,
        "size": 1,
        "media_type": f"text/{'a' * 122}",
        "metadata": metadata,
        "repr_digest": f"sha-256=:{digest(b'x')}:",
    }
    headers = auth | {"Content-Type": "application/json"}
    for ascii_only in (True, False):
        content = json.dumps(body, ensure_ascii=ascii_only).encode()
        assert len(content) > 65_536
        answer = await app.http.post("uploads", content=content, headers=headers)
        assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    "path",
    [
        "documents/{}",
        "documents/{}/content",
        "documents/{}/versions",
        "uploads/{}",
        "users/{}",
    ],
)
@pytest.mark.parametrize(
    "bad",
    [
        SECRET,
        "doc_",
        "DOC_01KDVDNA005DY2QDEZZ8TFWATD",
        "doc_81kdvdna005dy2qdezz8tfwatd",
        "doc_01kdvdna005dy2qdezz8tfwati",
        "doc_01kdvdna005dy2qdezz8tfwatd%0a",
        "doc_01kdvdna005dy2qdezz8tfwatd0",
        "xxx_01kdvdna005dy2qdezz8tfwatd",
        "..%00",
    ],
)
async def test_a_bad_id(app: App, auth: dict[str, str], path: str, bad: str) -> None:
    refused(await app.http.get(path.format(bad), headers=auth), 400, "invalid-input")


@pytest.mark.parametrize("path", ["documents", "users", "audit"])
@pytest.mark.parametrize(
    "query",
    [
        f"cursor={SECRET}",
        "cursor=",
        "cursor=%00",
        "cursor=" + "A" * 2_049,
        "cursor=eyJhIjoxfQ",
        "cursor=" + "W1tb" * 500,
        "limit=0",
        "limit=-1",
        "limit=201",
        f"limit={SECRET}",
        "limit=1.5",
        "limit=" + "9" * 5_000,
    ],
)
async def test_a_bad_page(app: App, auth: dict[str, str], path: str, query: str) -> None:
    refused(await app.http.get(f"{path}?{query}", headers=auth), 400, "invalid-input")


async def test_a_cursor_of_another_list(app: App, auth: dict[str, str]) -> None:
    for _ in range(2):
        await app.upload(auth, b"x")
    cursor = (await app.http.get("documents?limit=1", headers=auth)).json()["cursor"]
    answer = await app.http.get("users", params={"cursor": cursor}, headers=auth)
    refused(answer, 400, "invalid-input")


@pytest.mark.parametrize("tag", [SECRET, "", '"', 'W/"a.1"', '"a", "b"', "*", '"\x7f"'])
async def test_a_bad_if_match(app: App, auth: dict[str, str], tag: str) -> None:
    document = (await app.upload(auth, b"x")).json()["id"]
    headers = auth | {"Content-Disposition": 'attachment; filename="a"', "If-Match": tag}
    path = f"documents/{document}"
    refused(await app.http.delete(path, headers=headers), 400, "invalid-input")
    answer = await app.http.put(f"{path}/content", content=b"y", headers=headers)
    refused(answer, 400, "invalid-input")


async def test_a_new_version_needs_if_match(app: App, auth: dict[str, str]) -> None:
    document = (await app.upload(auth, b"x")).json()["id"]
    headers = auth | {"Content-Disposition": 'attachment; filename="a"'}
    answer = await app.http.put(f"documents/{document}/content", content=b"y", headers=headers)
    assert "If-Match" in refused(answer, 400, "invalid-input")


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=999999-"])
async def test_a_range_outside_the_content(app: App, auth: dict[str, str], wanted: str) -> None:
    document = (await app.upload(auth, bytes(10))).json()["id"]
    answer = await app.http.get(f"documents/{document}/content", headers=auth | {"Range": wanted})
    refused(answer, 416, "range-not-satisfiable")
    assert answer.headers["content-range"] == "bytes */10"


@pytest.mark.parametrize("number", ["0", "-1", "x", "2", "9" * 5_000, "9" * 18])
async def test_a_version_that_is_not_there(app: App, auth: dict[str, str], number: str) -> None:
    document = (await app.upload(auth, b"x")).json()["id"]
    answer = await app.http.get(f"documents/{document}?version={number}", headers=auth)
    there_is_none = number.isdecimal() and 0 < len(number) < 19 and number != "0"
    refused(answer, *((404, "not-found") if there_is_none else (400, "invalid-input")))


@pytest.mark.parametrize("key", ["", "short", "x" * 15, "x" * 256, "schlüssel" * 3])
async def test_an_idempotency_key_of_a_bad_form(app: App, auth: dict[str, str], key: str) -> None:
    headers = auth | {
        "Content-Disposition": 'attachment; filename="a"',
        "Idempotency-Key": key.encode(),
    }
    answer = await app.http.post("documents", content=b"x", headers=headers)  # type: ignore[arg-type]
    refused(answer, 400, "invalid-input")
    answer = await app.http.post("uploads", json={"name": "a", "size": 1}, headers=headers)  # type: ignore[arg-type]
    refused(answer, 400, "invalid-input")


async def test_an_idempotency_key_that_was_used(app: App, auth: dict[str, str]) -> None:
    key = {"Idempotency-Key": f"{SECRET} of one request"}
    requests: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("uploads", {"name": "a", "size": 1}, {"name": "a", "size": 2}),
        (
            "users",
            {"username": "anna", "roles": ["reader"]},
            {"username": "anna", "roles": ["member"]},
        ),
    ]
    for path, first, other in requests:
        assert (await app.http.post(path, json=first, headers=auth | key)).status_code == 201
        answer = await app.http.post(path, json=other, headers=auth | key)
        refused(answer, 422, "idempotency-key-reused")


async def test_tokens_that_are_over(opened: Opened, alpha: str) -> None:
    async with opened() as app:
        await tokens_that_are_over(app, alpha)


async def tokens_that_are_over(app: App, alpha: str) -> None:
    auth = await app.auth(alpha)
    token, _, tag = auth["Authorization"].rpartition(".")
    tampered = {"Authorization": f"{token}.{'B' if tag[0] == 'A' else 'A'}{tag[1:]}"}
    refused(await app.http.get("documents", headers=tampered), 401, "unauthenticated")
    other = await app.auth(alpha, "member")
    await app.http.post("auth/sign-out-everywhere", headers=other)
    refused(await app.http.get("documents", headers=other), 401, "token-revoked")
    app.clock.advance(7_200)
    refused(await app.http.get("documents", headers=auth), 401, "token-expired")


@pytest.mark.parametrize(
    "body",
    [
        {"tenant": "", "username": "a", "password": SECRET},
        {"tenant": "a/b", "username": "a", "password": SECRET},
        {"tenant": "\x00", "username": "a", "password": SECRET},
        {"tenant": "operator", "username": "a", "password": SECRET},
        {"tenant": "alpha", "username": "nobody", "password": SECRET},
        {"tenant": "alpha", "username": "admin", "password": SECRET},
        {"tenant": "alpha", "username": "admin", "password": ""},
        {"tenant": "ALPHA", "username": "admin", "password": SECRET},
        {"tenant": "alpha", "username": "admin", "password": "\ud800" + SECRET},
    ],
)
async def test_a_sign_in_that_does_not_fit(app: App, body: dict[str, Any]) -> None:
    headers = {"Content-Type": "application/json"}
    content = json.dumps(body).encode()
    answer = await app.http.post("auth/sign-in", content=content, headers=headers)
    detail = refused(answer, 401, "sign-in-refused")
    assert detail == "Invalid tenant, username or password."


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"tenant": "alpha", "username": "a b", "password": SECRET},
        {"tenant": "alpha", "username": "", "password": SECRET},
        {"tenant": "alpha", "username": "a" * 255, "password": SECRET},
        {"tenant": "a" * 64, "username": "a", "password": SECRET},
        {"tenant": "alpha", "username": "a", "password": SECRET + "x" * MAX_LENGTH},
        {"tenant": "alpha", "username": "a", "password": [SECRET]},
        {"tenant": "alpha", "username": "\ud800", "password": SECRET},
        {"tenant": "\ud800", "username": "a", "password": SECRET},
        {"tenant": "alpha", "username": "a", "password": SECRET, "otp": SECRET},
    ],
)
async def test_a_sign_in_of_a_bad_form(app: App, body: dict[str, Any]) -> None:
    content = json.dumps(body).encode()
    answer = await app.http.post(
        "auth/sign-in", content=content, headers={"Content-Type": "application/json"}
    )
    refused(answer, 400, "invalid-input")


@pytest.mark.parametrize("secret", ["", SECRET, "\ud800"])
async def test_a_wrong_bootstrap_secret(app: App, secret: str) -> None:
    content = json.dumps({"secret": secret, "username": "root"}).encode()
    headers = {"Content-Type": "application/json"}
    answer = await app.http.post("auth/bootstrap", content=content, headers=headers)
    refused(answer, 401, "sign-in-refused")


@pytest.mark.parametrize("roles", [[], ["king"], ["operator"], ["reader", "reader"], "reader"])
async def test_roles_that_do_not_fit(app: App, auth: dict[str, str], roles: Any) -> None:
    answer = await app.http.post("users", json={"username": SECRET, "roles": roles}, headers=auth)
    refused(answer, 400, "invalid-input")


async def test_a_username_that_is_taken(app: App, auth: dict[str, str]) -> None:
    body = {"username": " Member", "roles": ["reader"]}
    refused(await app.http.post("users", json=body, headers=auth), 409, "conflict")


async def test_nobody_changes_their_own_roles(app: App, alpha: str, auth: dict[str, str]) -> None:
    own = (await app.found(alpha, "admin")).value.id
    answer = await app.http.patch(f"users/{own}", json={"disabled": True}, headers=auth)
    refused(answer, 409, "conflict")
    answer = await app.http.patch(f"users/{own}", json={}, headers=auth)
    refused(answer, 400, "invalid-input")


async def test_an_unknown_subscription(app: App) -> None:
    auth = await app.auth("operator", "operator")
    answer = await app.http.get("dead-letters", params={"subscription": SECRET}, headers=auth)
    refused(answer, 400, "invalid-input")
    body = {"subscription": SECRET, "message_ids": [SECRET]}
    answer = await app.http.post("dead-letters/replay", json=body, headers=auth)
    refused(answer, 400, "invalid-input")


async def test_a_path_and_a_method_that_do_not_exist(app: App) -> None:
    refused(await app.http.get(SECRET), 404, "no-such-route")
    refused(await app.http.get(f"docs/{SECRET}"), 404, "not-found")
    answer = await app.http.put("auth/sign-in", json={"password": SECRET})
    refused(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "OPTIONS, POST"
    refused(await app.http.get("http://app.test/staged/x"), 405, "method-not-allowed")


@pytest.mark.parametrize("path", ["documents/", "auth/sign-in/", "health/", "docs/"])
async def test_nobody_is_sent_to_another_host(app: App, path: str) -> None:
    for method in ("GET", "POST", "PUT"):
        answer = await app.http.request(method, path, headers={"Host": SECRET})
        refused(answer, 404, "no-such-route")
        assert "location" not in answer.headers


async def test_every_error_has_a_status_of_its_own(app: App) -> None:
    def all_of(base: type[StrongroomError]) -> set[type[StrongroomError]]:
        return {base}.union(*(all_of(each) for each in base.__subclasses__()))

    slugs = [
        each.slug
        for each in all_of(StrongroomError) - {StrongroomError}
        if each.__module__ == "shared.base.errors"
    ]
    assert len(slugs) == len(set(slugs))


@pytest.mark.parametrize("unexpected", [RuntimeError, ValueError, KeyError])
async def test_an_unexpected_error_tells_nothing(
    app: App,
    unexpected: type[Exception],
    auth: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def choke(*_: object, **__: object) -> None:
        raise unexpected(f"cannot digest {SECRET}")

    monkeypatch.setattr(type(app.services.reader), "page", choke)
    with caplog.at_level(logging.DEBUG):
        answer = await app.http.get("documents", headers=auth)
    refused(answer, 500, "internal")
    assert f"unexpected {unexpected.__name__}" in caplog.text
    assert "choke" in caplog.text
    assert SECRET not in caplog.text


async def test_every_answer_carries_the_headers(app: App, auth: dict[str, str]) -> None:
    document = (await app.upload(auth, b"x")).json()["id"]
    for path in ("health", "nothing", "documents", f"documents/{document}/content"):
        for headers in ({}, auth):
            answer = await app.http.get(path, headers=headers)
            assert answer.headers["strict-transport-security"].startswith("max-age=63072000")
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-store"
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert "server" not in answer.headers


async def test_the_trace_of_the_client_goes_on(app: App, auth: dict[str, str]) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    sent = f"00-{trace}-00f067aa0ba902b7-01"
    answer = await app.http.get("nothing", headers={"traceparent": sent})
    assert answer.headers["traceparent"].split("-")[1] == trace
    assert answer.headers["traceparent"] != sent
    assert answer.json()["instance"] == f"urn:strongroom:trace:{trace}"
