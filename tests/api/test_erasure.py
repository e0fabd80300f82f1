"""Erasure: what is deleted or replaced is in no byte of any file of the data folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.documents.store import UPLOAD_KIND
from tests.api.test_secrets import forms
from tests.support.app import PASSWORD, App, Opened
from tests.support.uploads import begin, complete, put
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

NEW_PASSWORD = "ein ganz neues Kennwort"


def holding(data: Path, secrets: dict[str, bytes]) -> set[str]:
    """Which secrets the files of a folder hold, raw or as records write them."""
    files = [path.read_bytes() for path in data.rglob("*") if path.is_file()]
    return {
        name
        for name, secret in secrets.items()
        if any(form in content for form in forms(secret) for content in files)
    }


async def staged(app: App, auth: dict[str, str], alpha: str) -> tuple[str, bytes]:
    """A staged document, and the sealed description that its upload had."""
    upload = await begin(app, auth)
    found = await app.services.documents.store.upload(alpha, upload["id"])
    description = {"description": found.value.description}
    assert holding(app.data, description) == {"description"}
    await put(app, upload)
    assert (await complete(app, auth, upload)).is_success
    await app.settle()
    return found.value.document, found.value.description


async def test_nothing_of_what_is_erased_is_left(opened: Opened, alpha: str) -> None:
    async with opened() as app:
        auth = await app.auth(alpha)
        first = (await app.upload(auth, b"content of the first version")).json()["id"]
        second = await app.http.put(
            f"documents/{first}/content",
            content=b"content of the second version",
            headers=auth
            | {
                "If-Match": await app.etag(auth, first),
                "Content-Disposition": 'attachment; filename="second.txt"',
            },
        )
        assert second.is_success, second.text
        large, description = await staged(app, auth, alpha)
        secrets: dict[str, bytes] = {}
        for document, number in ((first, 1), (first, 2), (large, 1)):
            version = await app.version(alpha, document, number)
            secrets[f"key of {document}, {number}"] = version.wrapped_key
            secrets[f"names of {document}, {number}"] = version.names
        former = (await app.found(alpha, "admin")).value.password
        secrets["former hash"] = former.encode()
        assert holding(app.data, secrets) == set(secrets)
        # Sealing has taken it out of the record already.
        secrets["description of the upload"] = description

        for document in (first, large):
            await app.erase(auth, document)
        changed = await app.http.put(
            "auth/password",
            json={"password": PASSWORD, "new_password": NEW_PASSWORD},
            headers=auth,
        )
        assert changed.is_success, changed.text
        await app.settle()
        await eventually(lambda: not holding(app.data, secrets))
    assert holding(app.data, secrets) == set()


@pytest.mark.parametrize("ends", ["sealed", "failed"])
async def test_an_upload_that_has_ended_describes_nothing(app: App, alpha: str, ends: str) -> None:
    auth = await app.auth(alpha)
    upload = await begin(app, auth)
    if ends == "sealed":
        await put(app, upload)
        await complete(app, auth, upload)
        await app.settle()
    else:
        assert (await app.http.delete(f"uploads/{upload['id']}", headers=auth)).is_success
    found = await app.services.documents.store.upload(alpha, upload["id"])
    assert (found.value.state, found.value.description) == (ends, b"")
    kept = await app.services.adapters.records.get(found.partition, UPLOAD_KIND, upload["id"])
    assert kept.body["description"] == ""
