"""The first start on a machine: a secret that creates the first operator, and what to do with it."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from typing import Final

FILE_NAME: Final = "bootstrap-secret"


def bootstrap_secret(data_dir: Path) -> str:
    """The secret that creates the first operator, kept in a file that only its owner can read."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = data_dir / FILE_NAME
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with open(descriptor, "w") as file:
        secret = secrets.token_urlsafe(32)
        file.write(secret + "\n")
    return secret


def sha256_hex(secret: str) -> str:
    """What the app needs to know of the secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def forget_secret(data_dir: Path) -> None:
    """Remove the file, once the first operator exists."""
    (data_dir / FILE_NAME).unlink(missing_ok=True)


def instructions(base_url: str, data_dir: Path) -> str:
    """How to get from an empty installation to a tenant's first token, in commands to paste."""
    api = f"{base_url}/api/v1"
    post = "curl -sS -H 'Content-Type: application/json'"
    return f"""
There is no operator yet. To create the first operator, tenant and administrator:

1. The first operator; the answer holds a temporary password:
   {post} {api}/auth/bootstrap \\
     -d "{{\\"username\\": \\"operator\\", \\"secret\\": \\"$(cat '{data_dir / FILE_NAME}')\\"}}"
2. Sign in with it, and choose a password of your own; the answer holds a token:
   {post} {api}/auth/sign-in -d '{{"tenant": "operator", "username": "operator",
     "password": "TEMPORARY PASSWORD", "new_password": "YOUR PASSWORD"}}'
3. The first tenant; the answer holds its administrator's temporary password:
   {post} {api}/tenants -H 'Authorization: Bearer TOKEN' \\
     -d '{{"slug": "acme", "administrator": "admin"}}'
4. The administrator signs in as in step 2, with "tenant": "acme" and "username": "admin".
"""
