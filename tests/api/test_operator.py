"""What operators do over the API: rotate a tenant's key, list and replay dead letters."""

from __future__ import annotations

import pytest

from shared.base.partitions import OPERATOR
from tests.support.app import App, problem

pytestmark = pytest.mark.anyio


@pytest.fixture
async def operator(app: App) -> dict[str, str]:
    """The header of an operator."""
    return await app.auth(OPERATOR, "operator")


async def test_an_operator_rotates_the_key_of_a_tenant(
    app: App, alpha: str, auth: dict[str, str], operator: dict[str, str]
) -> None:
    document = (await app.upload(auth, b"before the rotation")).json()["id"]
    answer = await app.http.post(f"tenants/{alpha}/key-rotation", headers=operator)
    assert answer.status_code == 202, answer.text
    await app.services.key_rotation.run()
    await app.settle()
    assert "key.rotate" in await app.actions(alpha)
    content = await app.http.get(f"documents/{document}/content", headers=auth)
    assert content.content == b"before the rotation"


async def test_there_is_no_key_of_an_unknown_tenant_to_rotate(
    app: App, operator: dict[str, str]
) -> None:
    answer = await app.http.post(f"tenants/ten_{'0' * 26}/key-rotation", headers=operator)
    assert (answer.status_code, problem(answer)) == (404, "not-found")


async def test_a_dead_letter_is_listed_and_replayed(
    app: App, alpha: str, auth: dict[str, str], operator: dict[str, str]
) -> None:
    await app.settle()
    document = (await app.upload(auth, b"x")).json()["id"]
    await app.services.outbox.close()
    source = app.services.adapters.source
    (delivery,) = await source.receive("replication")
    await source.dead_letter(delivery, "delivery-limit")

    path = "dead-letters?subscription=replication"
    (letter,) = (await app.http.get(path, headers=operator)).json()["items"]
    assert (letter["message_id"], letter["subject"]) == (delivery.message_id, document)
    assert (letter["type"], letter["tenant"]) == ("document.sealed", alpha)
    assert (letter["reason"], letter["delivery_count"]) == ("delivery-limit", 1)

    app.clock.advance(1)  # entries are sorted by time
    body = {"subscription": "replication", "message_ids": [delivery.message_id, "evt_other"]}
    answer = await app.http.post("dead-letters/replay", json=body, headers=operator)
    assert answer.json() == {"replayed": 1}
    app.clock.advance(1)
    assert (await app.http.get(path, headers=operator)).json()["items"] == []
    await app.settle()
    version = await app.version(alpha, document)
    assert version.replica is not None
    details = [
        (body["entry"]["action"], body["entry"]["details"])
        for body in await app.entries(OPERATOR)
        if body["entry"]["action"].startswith("events.")
    ]
    assert details == [
        ("events.read", {"subscription": "replication"}),
        ("events.replay", {"subscription": "replication", "messages": 2}),
        ("events.read", {"subscription": "replication"}),
    ]
