"""Which audit entries the URL of a staged upload makes: each request one, in the log of whose it is."""

from __future__ import annotations

from typing import Any

import pytest

from shared.access.permissions import Role
from shared.access.principal import Principal
from tests.support.app import App
from tests.support.entries import Fact, Recorder, break_off, ok, refused
from tests.support.uploads import begin, complete, put

pytestmark = pytest.mark.anyio

CONTENT = b"what arrives"


def received(outcome: str = "allowed", reason: str = "", upload: str = "upload") -> Fact:
    """The entry of content that came, or did not."""
    details = {"size": len(CONTENT)} if outcome == "allowed" else {}
    log = "alpha" if upload else "operator"
    return Fact("upload.receive", upload, details, log, "anonymous", outcome, reason)


@pytest.fixture
async def upload(app: App, auth: dict[str, str]) -> dict[str, Any]:
    return await begin(app, auth, size=len(CONTENT))


@pytest.fixture
async def recorder(app: App, upload: dict[str, Any]) -> Recorder:
    return Recorder(app, {"upload": upload["id"], "document": upload["document"]})


async def test_content_that_arrives_is_an_entry_each_time(
    app: App, upload: dict[str, Any], recorder: Recorder
) -> None:
    for _ in range(2):
        answer = await put(app, upload, CONTENT)
        assert answer.status_code == 201
        assert recorder.new(answer.headers["request-id"]) == [received()]


@pytest.mark.parametrize(
    ("headers", "content", "status", "reason"),
    [
        ({"Content-Encoding": "gzip"}, CONTENT, 415, "unsupported-media-type"),
        ({"Content-Range": "bytes 0-1/2"}, CONTENT, 400, "invalid-input"),
        ({"Repr-Digest": "sha-256=zebra"}, CONTENT, 400, "invalid-input"),
        ({"x-amz-checksum-crc32": "AAAAAA=="}, CONTENT, 400, "invalid-input"),
        ({"Repr-Digest": f"sha-256=:{'A' * 43}=:"}, CONTENT, 422, "digest-mismatch"),
        ({}, CONTENT[:-1], 400, "invalid-input"),
        ({}, CONTENT + b"x", 413, "too-large"),
    ],
)
async def test_content_that_is_refused_is_an_entry_of_whose_upload_it_is(
    app: App,
    upload: dict[str, Any],
    recorder: Recorder,
    headers: dict[str, str],
    content: bytes,
    status: int,
    reason: str,
) -> None:
    answer = await app.http.put(upload["grant"]["url"], content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert recorder.new(answer.headers["request-id"]) == [received("refused", reason)]
    # Under a URL that is not one of ours nobody's upload is known.
    forged = upload["grant"]["url"].replace("signature=", "signature=0")
    answer = await app.http.put(forged, content=content, headers=headers)
    assert answer.is_client_error
    (fact,) = recorder.new(answer.headers["request-id"])
    assert (fact.log, fact.resource, fact.outcome) == ("operator", "", "refused")


async def test_a_grant_that_has_expired_or_ended_is_an_entry_of_its_tenant(
    app: App, auth: dict[str, str], upload: dict[str, Any], recorder: Recorder
) -> None:
    assert (await app.http.delete(f"uploads/{upload['id']}", headers=auth)).status_code == 204
    recorder.new()
    answer = await put(app, upload, CONTENT)
    assert answer.status_code == 409
    assert recorder.new(answer.headers["request-id"]) == [received("refused", "conflict")]
    app.clock.advance(24 * 3600)
    answer = await app.http.put(upload["grant"]["url"], content=CONTENT)
    assert recorder.new(answer.headers["request-id"]) == [received("refused", "token-expired")]
    answer = await app.http.put(
        upload["grant"]["url"], content=CONTENT, headers={"Content-Encoding": "gzip"}
    )
    assert recorder.new(answer.headers["request-id"]) == [
        received("refused", "unsupported-media-type")
    ]


@pytest.mark.parametrize("cancelled", [False, True], ids=["uvicorn", "bridge"])
async def test_content_that_the_client_breaks_off_is_an_entry_and_can_be_sent_again(
    app: App,
    auth: dict[str, str],
    upload: dict[str, Any],
    recorder: Recorder,
    cancelled: bool,
) -> None:
    url, headers = upload["grant"]["url"], {"Transfer-Encoding": "chunked"}
    await break_off(app, "PUT", url, headers, CONTENT[:5], cancelled=cancelled)
    assert recorder.new() == [received("failed", "interrupted")]
    assert app.stored("staging") == []
    assert (await put(app, upload, CONTENT)).status_code == 201
    assert (await complete(app, auth, upload)).status_code == 202


async def test_a_flood_of_refused_content_is_one_entry_and_a_count(
    app: App, upload: dict[str, Any], recorder: Recorder
) -> None:
    coded = {"Content-Encoding": "gzip"}
    for _ in range(200):
        await app.http.put(upload["grant"]["url"], content=CONTENT, headers=coded)
    facts = recorder.new()
    assert set(map(repr, facts)) == {repr(received("refused", "unsupported-media-type"))}
    assert len(facts) == 61
    app.clock.advance(61)
    await app.http.get("health")
    (flood,) = recorder.new()
    assert (flood.action, flood.log, flood.more["refusals"]) == (
        "requests.refused",
        "operator",
        140,
    )


async def test_the_grant_of_a_user_who_was_disabled_brings_no_document(
    app: App, alpha: str
) -> None:
    """As on Azure, where a storage service takes the content: it is their token that has ended."""
    member = await app.auth(alpha, "member")
    upload = await begin(app, member, size=len(CONTENT))
    user = (await app.found(alpha, "member")).value.id
    other = Principal(alpha, await app.user(alpha, "other", Role.ADMINISTRATOR), ())
    await app.services.accounts.change(other, user, roles=None, disabled=True, if_match=None)
    recorder = Recorder(app, {"upload": upload["id"], "member": user})
    answer = await put(app, upload, CONTENT)
    assert recorder.new(answer.headers["request-id"]) == [received()]
    answer = await complete(app, member, upload)
    assert answer.status_code == 401
    assert recorder.new(answer.headers["request-id"]) == [
        refused("POST /uploads/{upload}/complete", "token-revoked", "upload")
    ]
    administrator = await app.auth(alpha)
    answer = await app.http.get(f"uploads/{upload['id']}", headers=administrator)
    assert answer.json()["state"] == "granted"
    assert recorder.new(answer.headers["request-id"]) == [ok("upload.read", "upload")]
