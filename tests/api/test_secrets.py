"""Secrets: after a busy story no byte on disk, no log record and no error body holds one."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import re
from typing import Any

import httpx
import pytest

from shared.base.events import Event, EventType
from shared.base.partitions import OPERATOR
from tests.support.app import BOOTSTRAP_SECRET, PASSWORD, App, Opened
from tests.support.damage import flip
from tests.support.uploads import complete, put

pytestmark = pytest.mark.anyio

DIRECT = b"direct content: the merger is on Friday. " * 50
STAGED = b"staged content: the price is 7719. " * 80_000
NAME = "Fusionsvertrag-Endfassung.pdf"
METADATA = {"mandant": "Zebra-Werke"}
NEW_PASSWORD = "ein ganz neues Kennwort"
KEY = "f4a1f1a0-secret-idempotency-key"


def forms(secret: bytes) -> set[bytes]:
    """The secret and how it may be written."""
    found = {
        secret,
        secret.hex().encode(),
        base64.b64encode(secret).rstrip(b"="),
        base64.urlsafe_b64encode(secret).rstrip(b"="),
    }
    text = secret.decode("latin-1")
    if text.isprintable():
        found |= {json.dumps(text).strip('"').encode(), text.encode("utf-16-le")}
    return found


async def story(app: App, alpha: str) -> tuple[dict[str, bytes], list[httpx.Response]]:
    """Everything that a tenant does, refusals and repairs included; the secrets and the errors."""
    secrets: dict[str, bytes] = {
        "bootstrap secret": BOOTSTRAP_SECRET.encode(),
        "password": PASSWORD.encode(),
        "new password": NEW_PASSWORD.encode(),
        "idempotency key": KEY.encode(),
        "file name": NAME.encode(),
        "metadata": METADATA["mandant"].encode(),
        "direct content": DIRECT[:41],
        "staged content": STAGED[:35],
        "SHA-256 of direct": hashlib.sha256(DIRECT).digest(),
        "SHA-256 of staged": hashlib.sha256(STAGED).digest(),
    }
    answers: list[httpx.Response] = []

    async def ask(method: str, path: str, **request: Any) -> httpx.Response:
        answer = await app.http.request(method, path, **request)
        answers.append(answer)
        return answer

    signed_in = await ask(
        "POST",
        "auth/sign-in",
        json={"tenant": "alpha", "username": "admin", "password": PASSWORD},
    )
    token = signed_in.json()["token"]
    secrets["token"] = token.encode()
    secrets["token ciphertext"] = token.split(".")[3][:48].encode()
    auth = {"Authorization": f"Bearer {token}"}
    for credentials in (
        {"password": NEW_PASSWORD},
        {"password": PASSWORD, "new_password": NEW_PASSWORD},
        {"password": PASSWORD, "otp": PASSWORD},
    ):
        await ask(
            "POST", "auth/sign-in", json={"tenant": "alpha", "username": "admin"} | credentials
        )
    await ask("POST", "auth/bootstrap", json={"secret": NEW_PASSWORD, "username": "root"})
    temporary = await ask(
        "POST", "users", json={"username": "anna", "roles": ["reader"]}, headers=auth
    )
    secrets["temporary password"] = temporary.json()["temporary_password"].encode()
    await ask(
        "POST",
        "auth/sign-in",
        json={
            "tenant": "alpha",
            "username": "anna",
            "password": temporary.json()["temporary_password"],
            "new_password": NEW_PASSWORD,
        },
    )

    labels = {"Strongroom-Metadata": json.dumps(METADATA), "Idempotency-Key": KEY}
    document = (await app.upload(auth, DIRECT, NAME, **labels)).json()["id"]
    refused = (
        {"Strongroom-Metadata": f'{{"{METADATA["mandant"]} ": "x"}}'},
        {"Strongroom-Metadata": f'["{METADATA["mandant"]}"'},
        {"Repr-Digest": hashlib.sha256(DIRECT).hexdigest()},
        {"Content-Disposition": f'attachment; filename="../{NAME}"'},
        {"Idempotency-Key": KEY},
    )
    answers += [await app.upload(auth, STAGED, NAME, **bad) for bad in refused]
    await ask("GET", f"documents?cursor={token}", headers=auth)
    await ask("GET", f"documents/{NAME}", headers=auth)
    await ask("GET", "documents", headers={"Authorization": f"Bearer {token}x"})
    upload = await ask(
        "POST",
        "uploads",
        json={"name": NAME, "size": len(STAGED), "metadata": METADATA},
        headers=auth | {"Idempotency-Key": KEY},
    )
    signature = re.search("signature=([^&]+)", upload.json()["grant"]["url"])
    assert signature is not None
    secrets["grant"] = signature[1].encode()
    await put(app, upload.json(), STAGED)
    await complete(app, auth, upload.json())
    await app.settle()

    version = await app.version(alpha, document)
    flip(60)(app.object("primary", version.object))
    assert (await app.http.get(f"documents/{document}/content", headers=auth)).content == DIRECT
    await app.settle()
    healed = await app.version(alpha, document)
    flip(60)(app.object("replica", healed.replica))
    flip(60)(app.object("primary", healed.object))
    await ask("GET", f"documents/{document}/content", headers=auth)
    await ask("GET", "audit?limit=200", headers=auth)
    await ask("POST", "auth/sign-out-everywhere", headers=auth)
    await ask("GET", "documents", headers=auth)
    app.clock.advance(8 * 3600)
    await app.services.sweep.run()
    await app.services.tokens.rotate()
    await app.settle()
    return secrets, [answer for answer in answers if answer.status_code >= 400]


async def test_no_secret_is_written_anywhere(
    opened: Opened, alpha: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with opened() as app:
        secrets, refused = await story(app, alpha)
        files = [path for path in app.data.rglob("*") if path.is_file()]
        open_bytes = {path: path.read_bytes() for path in files}
        record_text = json.dumps([*await app.entries(alpha), *await app.entries(OPERATOR)]).encode()
    closed = {
        path: path.read_bytes()
        for path in app.data.rglob("*")
        if path.is_file() and path.name != "root.key"
    }
    assert len(refused) > 10
    logged = "\n".join(
        f"{record.getMessage()} {record.args} {record.exc_text or ''} {record.__dict__}"
        for record in caplog.records
        if record.name.split(".")[0] not in {"httpx", "httpcore"}  # the client's own
    ).encode()
    assert b"responded 500: damaged" in logged
    places: dict[str, bytes] = {str(path): content for path, content in open_bytes.items()}
    places |= {f"{path} after closing": content for path, content in closed.items()}
    places |= {"log": logged, "audit entries": record_text}
    places |= {"object names": "\n".join(map(str, closed)).encode()}
    places |= {f"answer {n}": answer.content for n, answer in enumerate(refused)}
    found = [
        (name, place)
        for name, secret in secrets.items()
        for form in forms(secret)
        for place, content in places.items()
        if form in content
    ]
    assert found == []
    assert sum(map(len, closed.values())) > len(STAGED)


async def test_the_search_finds_what_is_there(app: App, alpha: str) -> None:
    """The search above can fail: what is written in clear on purpose is found."""
    auth = await app.auth(alpha)
    document = (await app.upload(auth, DIRECT)).json()["id"]
    await app.services.outbox.close()
    everything = b"".join(path.read_bytes() for path in app.data.rglob("*") if path.is_file())
    assert document.encode() in everything
    assert any(form in everything for form in forms(document.encode()))


async def test_events_hold_identifiers_only(app: App, alpha: str) -> None:
    auth = await app.auth(alpha)
    await app.upload(auth, DIRECT, NAME, **{"Strongroom-Metadata": json.dumps(METADATA)})
    await app.services.outbox.close()
    source = app.services.adapters.source
    for subscription in ("replication", "audit"):
        for delivery in await source.receive(subscription, limit=50):
            event = Event.from_json(delivery.body)
            assert event.type in set(EventType)
            for secret in (NAME.encode(), METADATA["mandant"].encode(), DIRECT[:20]):
                assert all(form not in delivery.body for form in forms(secret))
