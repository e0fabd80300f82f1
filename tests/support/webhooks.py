"""Webhooks of a tenant, as tests of the API use them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from standardwebhooks import Webhook

from shared.adapters.memory.collectors import Sent
from tests.support.app import App

URL = "https://collector.example/hooks/zebra-path-7719?key=zebra-query-7719"
WEBHOOK: dict[str, Any] = {"name": "SIEM", "url": URL, "kinds": ["audit", "documents"]}


async def set_up(app: App, auth: dict[str, str], **change: Any) -> tuple[str, str]:
    """A new webhook: its id and its secret."""
    answer = await app.http.post("webhooks", json=WEBHOOK | change, headers=auth)
    assert answer.status_code == 201, answer.text
    return answer.json()["webhook"]["id"], answer.json()["secret"]


async def publish(app: App, tenant: str) -> None:
    """Let a checkpoint cover what has happened."""
    await app.settle()
    await app.services.audit.checkpoints.publish(tenant)


async def push(app: App, seconds: float = 120) -> None:
    """Let time pass and the timer run."""
    app.clock.advance(seconds)
    await app.services.webhooks.timer.run()


def signed_by(secret: str, sent: Sent) -> bool:
    """Whether a message is signed with a secret, as somebody else's library has it."""
    at = datetime.fromtimestamp(int(sent.headers["webhook-timestamp"]), UTC)
    expected = Webhook(secret).sign(sent.headers["webhook-id"], at, sent.body.decode())
    return expected in sent.headers["webhook-signature"].split()


def body(sent: Sent) -> dict[str, Any]:
    """The message."""
    found: dict[str, Any] = json.loads(sent.body)
    assert set(found) == {"type", "timestamp", "data"}
    return found


def pushed_entries(app: App) -> list[dict[str, Any]]:
    """The audit entries that were pushed, in the order in which they were."""
    bodies = [body(sent) for sent in app.collectors.sent]
    return [
        entry
        for message in bodies
        if message["type"] == "audit.entries"
        for entry in message["data"]["entries"]
    ]
