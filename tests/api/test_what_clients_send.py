"""Names and header forms that real clients send: each has the outcome that ``clients/`` says.

``names.json``: ``kept`` is the name as it is kept; null: it is refused. ``header_forms.json``: the header
``lines`` of an upload, an update or a download, the response's status, what is ``kept`` or sent. Each has
its ``source``: a section of an RFC, or our rule.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from functions.api.dispositions import file_name_in
from functions.api.response_headers import digest_header
from tests.support.app import App, SeededApp, problem

pytestmark = pytest.mark.anyio

DATA = Path(__file__).parent / "clients"
NAMES: list[dict[str, Any]] = json.loads((DATA / "names.json").read_text())
FORMS: list[dict[str, Any]] = json.loads((DATA / "header_forms.json").read_text())

CONTENT = b"0123456789"


@pytest.fixture(scope="module")
async def app(seeded: SeededApp, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[App]:
    """One for all."""
    data = tmp_path_factory.mktemp("clients") / "data"
    async with seeded.opened(data, requests_per_minute=100_000) as app:
        yield app


def base64_of(algorithm: str, content: bytes | None = None) -> str:
    made = hashlib.new(algorithm, CONTENT if content is None else content, usedforsecurity=False)
    return base64.b64encode(made.digest()).decode()


def filled(lines: list[list[str]], etag: str) -> list[tuple[bytes, bytes]]:
    """Header lines with digests of the content, of nothing, and an entity tag in their places."""
    places = {
        "{sha256}": base64_of("sha256"),
        "{sha512}": base64_of("sha512"),
        "{md5}": base64_of("md5"),
        "{zero256}": base64_of("sha256", b""),
        "{zero512}": base64_of("sha512", b""),
        "{zeromd5}": base64_of("md5", b""),
        "{etag}": etag,
        "{bare}": etag.strip('"'),
    }
    encoded: list[tuple[bytes, bytes]] = []
    for name, value in lines:
        for place, text in places.items():
            value = value.replace(place, text)
        encoded.append((name.encode(), value.encode()))
    return encoded


def check_refused(answer: httpx.Response) -> None:
    assert answer.status_code < 500, answer.text
    assert problem(answer)
    assert answer.json()["detail"].endswith(".")


async def check_kept(app: App, auth: dict[str, str], view: dict[str, Any]) -> None:
    """What the response to an upload says is what the list, the content and a range of it say."""
    listed = (await app.http.get("documents", params={"limit": 1}, headers=auth)).json()["items"]
    assert listed == [view]
    path = f"documents/{view['id']}/content"
    whole = await app.http.get(path, headers=auth)
    part = await app.http.get(path, headers=auth | {"Range": "bytes=2-4"})
    assert (whole.status_code, whole.content) == (200, CONTENT)
    assert (part.status_code, part.content) == (206, CONTENT[2:5])
    for answer in (whole, part):
        assert answer.headers["content-type"] == view["media_type"]
        assert answer.headers["repr-digest"] == digest_header(hashlib.sha256(CONTENT).digest())
        assert file_name_in(answer.headers["content-disposition"]) == view["name"]


@pytest.mark.parametrize("case", NAMES, ids=lambda case: ascii(case["name"][:40]))
async def test_a_name(app: App, auth: dict[str, str], case: dict[str, Any]) -> None:
    app.clock.advance(0.001)
    quoted = "".join(f"%{byte:02X}" for byte in case["name"].encode())
    disposition = {"Content-Disposition": f"attachment; filename*=UTF-8''{quoted}"}
    answer = await app.http.post("documents", content=CONTENT, headers=auth | disposition)
    staged = {"name": case["name"], "size": len(CONTENT)}
    granted = await app.http.post("uploads", json=staged, headers=auth)
    if case["kept"] is None:
        assert answer.status_code == granted.status_code == 400, case
        for refused in (answer, granted):
            check_refused(refused)
        return
    assert (answer.status_code, granted.status_code) == (201, 201), (case, answer.text)
    assert answer.json()["name"] == case["kept"]
    await check_kept(app, auth, answer.json())


@pytest.mark.parametrize(
    "case", FORMS, ids=lambda case: ascii(f"{case['on']} {case['lines'][-1:]}")[:80]
)
async def test_a_header_form(app: App, auth: dict[str, str], case: dict[str, Any]) -> None:
    app.clock.advance(0.001)
    document, kept = (await app.upload(auth, CONTENT)).json(), case["kept"]
    app.clock.advance(0.001)
    headers = [(b"authorization", auth["Authorization"].encode())]
    headers += filled(case["lines"], document["etag"])
    content = f"documents/{document['id']}/content"
    method, path = {
        "upload": ("POST", "documents"),
        "update": ("PUT", content),
        "download": ("GET", content),
    }[case["on"]]
    body = None if method == "GET" else CONTENT
    answer = await app.http.request(method, path, content=body, headers=headers)
    assert answer.status_code == case["status"], (case, answer.text)
    if answer.status_code >= 400:
        check_refused(answer)
    elif case["on"] == "download":
        assert answer.content.decode() == kept.get("content", "")
    else:
        assert {field: answer.json()[field] for field in kept} == kept
        await check_kept(app, auth, answer.json())


def test_there_are_enough_of_them_and_each_has_a_source() -> None:
    assert len({case["name"] for case in NAMES}) >= 300
    assert len({json.dumps([case["on"], case["lines"]]) for case in FORMS}) >= 100
    for case in (*NAMES, *FORMS):
        assert case["source"].startswith(("RFC ", "our rule: ", "UTS ", "Ideographic Variation"))
