"""The first start on a machine: a secret that creates the first operator, and what to do with it."""

from __future__ import annotations

import hashlib
import secrets
import shlex
from pathlib import Path
from typing import Final

from shared.adapters.embedded.folders import (
    ExposedError,
    IrregularFile,
    make_private_folder,
    read_private_file,
    write_private_file,
)
from standalone.errors import StartError

FILE_NAME: Final = "bootstrap-secret"


def bootstrap_secret(data_dir: Path) -> str:
    """The secret that creates the first operator, kept in a file that only its owner can read.

    Raises:
        StartError: Others can read the file, or may have put it there.
    """
    path = data_dir / FILE_NAME
    # An empty file must not make the empty word the secret.
    try:
        kept = read_private_file(path).decode().strip() if path.exists() else ""
    except ExposedError:
        raise StartError(
            f"Other users have access to {path}, or have put it there, and with it could become the"
            f" first operator. Run: rm {shlex.quote(str(path))}. The next start makes another."
        ) from None
    except (IrregularFile, UnicodeDecodeError):
        raise StartError(f"{path} holds no secret. Run: rm {shlex.quote(str(path))}") from None
    if not kept:
        kept = secrets.token_urlsafe(32)
        make_private_folder(data_dir)
        write_private_file(path, f"{kept}\n".encode())
    return kept


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
    path = data_dir / FILE_NAME
    # From a file and through printf, so that the secret is in no list of processes.
    secret = f'"$(cat {shlex.quote(str(path))})"' if path.exists() else "'YOUR BOOTSTRAP SECRET'"
    return f"""
There is no operator yet. To create the first operator, tenant and administrator:

1. The first operator; the response holds a temporary password:
   printf '{{"username": "operator", "secret": "%s"}}' {secret} \\
     | {post} {api}/auth/bootstrap -d @-
2. Sign in with it, and choose a password of your own; the response holds a token:
   {post} {api}/auth/sign-in \\
     -d '{{"tenant": "operator", "username": "operator",
          "password": "TEMPORARY PASSWORD", "new_password": "YOUR PASSWORD"}}'
3. The first tenant, with that token; the response holds its administrator's temporary password:
   {post} {api}/tenants -H 'Authorization: Bearer TOKEN' \\
     -d '{{"slug": "acme", "administrator": "admin"}}'
4. The administrator signs in as in step 2, with "tenant": "acme" and "username": "admin".
   Their token works with every command of README.md, and adds further users:
   {post} {api}/users -H 'Authorization: Bearer TOKEN' \\
     -d '{{"username": "USERNAME", "roles": ["member"]}}'
"""
