"""The first people of a real server: an operator, tenants and their administrators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from standalone.first_steps import FILE_NAME

PASSWORD = "correct horse battery staple"


def bearer(token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


def bootstrap(http: httpx.Client, data: Path) -> str:
    """Create the first operator with the secret in the data folder; their token."""
    secret = (data / FILE_NAME).read_text().strip()
    first = _post(http, "auth/bootstrap", None, username="operator", secret=secret)
    return sign_in(http, "operator", "operator", first["temporary_password"])


def create_tenant(http: httpx.Client, operator: str, slug: str) -> str:
    """A tenant; its administrator's token."""
    created = _post(http, "tenants", operator, slug=slug, administrator="admin")
    return sign_in(http, slug, "admin", created["administrator"]["temporary_password"])


def create_user(http: httpx.Client, administrator: str, slug: str, username: str, role: str) -> str:
    """A person of a tenant; their token."""
    added = _post(http, "users", administrator, username=username, roles=[role])
    return sign_in(http, slug, username, added["temporary_password"])


def sign_in(http: httpx.Client, tenant: str, username: str, temporary: str) -> str:
    """Sign in with a temporary password, and choose another; the token."""
    answer = _post(
        http,
        "auth/sign-in",
        None,
        tenant=tenant,
        username=username,
        password=temporary,
        new_password=PASSWORD,
    )
    return str(answer["token"])


def _post(http: httpx.Client, path: str, token: str | None, **body: Any) -> Any:
    answer = http.post(path, json=body, headers=bearer(token) if token else {})
    assert answer.is_success, answer.text
    return answer.json()
