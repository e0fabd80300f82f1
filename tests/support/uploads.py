"""Staged uploads as a client makes them."""

from __future__ import annotations

from typing import Any

import httpx

from tests.support.app import App

CONTENT = bytes(range(253)) * 9_000
NEW = {"name": "Großes Buch.bin", "size": len(CONTENT), "metadata": {"shelf": "12"}}


async def begin(app: App, auth: dict[str, str], **changes: Any) -> dict[str, Any]:
    """Ask for a staged upload; its view."""
    answer = await app.http.post("uploads", json=NEW | changes, headers=auth)
    assert answer.status_code == 201, answer.text
    upload: dict[str, Any] = answer.json()
    return upload


async def put(app: App, upload: dict[str, Any], content: bytes = CONTENT) -> httpx.Response:
    """Send the content to the grant's URL."""
    grant = upload["grant"]
    assert grant["method"] == "PUT"
    return await app.http.put(grant["url"], content=content, headers=grant["headers"])


async def complete(app: App, auth: dict[str, str], upload: dict[str, Any]) -> httpx.Response:
    """Say that the content was sent."""
    return await app.http.post(f"uploads/{upload['id']}/complete", headers=auth)
