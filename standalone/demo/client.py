"""The demo's side of the API: JSON calls that must succeed."""

from __future__ import annotations

import secrets
from typing import Any

import httpx

from standalone.demo.report import check

TIMEOUT_SECONDS = 60


class Client:
    """A client of the API.

    Args:
        base_url: The base URL of the server.
    """

    def __init__(self, base_url: str) -> None:
        self.password = secrets.token_urlsafe(24)
        """The password that everybody in the demo chooses."""
        self.http = httpx.Client(base_url=f"{base_url}/api/v1", timeout=TIMEOUT_SECONDS)

    def post(self, path: str, token: str | None, body: dict[str, Any] | None) -> Any:
        """POST JSON and return what comes back."""
        response = self.http.post(path, json=body, headers=bearer(token) if token else {})
        check(
            response.is_success, f"POST {path} succeeds ({response.status_code}: {response.text})"
        )
        return response.json()

    def get(self, path: str, token: str) -> Any:
        """GET JSON."""
        response = self.http.get(path, headers=bearer(token))
        check(response.is_success, f"GET {path} succeeds ({response.status_code}: {response.text})")
        return response.json()

    def sign_in(self, tenant: str, username: str, temporary: str) -> str:
        """Sign in with a temporary password and replace it; the token."""
        response = self.post(
            "auth/sign-in",
            None,
            {
                "tenant": tenant,
                "username": username,
                "password": temporary,
                "new_password": self.password,
            },
        )
        return str(response["token"])

    def create_tenant(self, operator: str, slug: str) -> tuple[str, str]:
        """Create a tenant; its id and its administrator's token."""
        created = self.post("tenants", operator, {"slug": slug, "administrator": "admin"})
        temporary = created["administrator"]["temporary_password"]
        return created["tenant"]["id"], self.sign_in(slug, "admin", temporary)

    def actions(self, token: str, document: str) -> set[str]:
        """What was done to the document, as far as it is in the audit log."""
        items = self.get(f"audit?limit=100&resource={document}", token)["items"]
        return {item["entry"]["action"] for item in items}


def bearer(token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"Authorization": f"Bearer {token}"}
