"""The demo's stages: each says what it does, does it, and looks whether what was promised held."""

from __future__ import annotations

import base64
import hashlib
import mmap
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

import httpx

from standalone.demo.client import TIMEOUT_SECONDS, Client, bearer
from standalone.demo.contents import Content
from standalone.demo.objects import StoredObject, stored_objects
from standalone.demo.report import PATIENCE_SECONDS, check, console, stage, wait_until
from standalone.demo.staff import show_a_grant
from standalone.first_steps import bootstrap_secret

SLOWEST_BYTES_PER_SECOND: Final = 5_000_000
RANGE: Final = (1_048_000, 1_049_500)
"""Across the border of the first two segments."""

ROW: Final = "  {:>8}  {:12}  {:18}  {:7}  {}"
"""Of the audit log: lines, because a table would cut its words in a narrow terminal."""


class Demo:
    """The stages, one method each, in the order of ``run``.

    Args:
        base_url: The base URL of the server.
        data: Its data folder.
        content: What is uploaded directly.
        larger: What is uploaded staged.
    """

    def __init__(self, base_url: str, data: Path, content: Content, larger: Content) -> None:
        self.data = data
        self.content = content
        self.larger = larger
        self.timeouts = PATIENCE_SECONDS + larger.size / SLOWEST_BYTES_PER_SECOND
        self.client = Client(base_url)
        self.http = self.client.http

    def run(self) -> None:
        """Every stage."""
        with self.http:
            operator, tenant, administrator = self.create_tenant()
            token = self.add_user(administrator)
            document = self.upload_directly(token)
            larger = self.upload_staged(token)
            self.wait_for_replicas(token, document, larger)
            self.look_for_plaintext()
            self.download(token, document, self.content, "Download and compare, bit for bit")
            self.download(token, larger, self.larger, "Download the larger one and compare")
            self.read_range(token, larger)
            self.damage_and_repair(token, document)
            self.show_audit_log(token, document)
            self.verify_audit_log(token)
            show_a_grant(self.client, operator, (tenant, administrator), document, self.content)
            self.try_others(operator, document)

    def create_tenant(self) -> tuple[str, str, str]:
        """Create the first operator and a tenant: the operator's token, the tenant's id, and its token."""
        with stage("Create the first operator, a tenant and its administrator") as done:
            secret = bootstrap_secret(self.data)
            first = self.client.post(
                "auth/bootstrap", None, {"username": "operator", "secret": secret}
            )
            operator = self.client.sign_in("operator", "operator", first["temporary_password"])
            tenant, administrator = self.client.create_tenant(operator, "acme")
            done(tenant)
        return operator, tenant, administrator

    def add_user(self, administrator: str) -> str:
        """Add a user; their token."""
        with stage("Add a user, who signs in and gets an encrypted 2-hour token") as done:
            added = self.client.post(
                "users", administrator, {"username": "clerk", "roles": ["administrator"]}
            )
            token = self.client.sign_in("acme", "clerk", added["temporary_password"])
            done(f"{token[:24]}…")
        return token

    def upload_directly(self, token: str) -> str:
        """Upload the file through the API; the document's id."""
        with stage("Upload the file directly: sealed as it arrives") as done:
            digest = base64.b64encode(self.content.sha256).decode()
            response = self.http.post(
                "documents",
                content=self.content.chunks(),
                headers={
                    **bearer(token),
                    "Content-Disposition": f"attachment; filename*=UTF-8''{quote(self.content.name)}",
                    "Content-Length": str(self.content.size),
                    "Content-Type": "application/octet-stream",
                    "Repr-Digest": f"sha-256=:{digest}:",
                },
            )
            check(response.status_code == 201, f"a direct upload is accepted ({response.text})")
            document = str(response.json()["id"])
            done(f"{self.content.name}, {self.content.size:,} bytes, {document}")
        return document

    def upload_staged(self, token: str) -> str:
        """Upload the larger content by a grant; the document's id."""
        with stage("Upload a larger one staged: the encryption function seals it") as done:
            upload = self.client.post(
                "uploads", token, {"name": self.larger.name, "size": self.larger.size}
            )
            grant = upload["grant"]
            put = httpx.request(
                grant["method"],
                grant["url"],
                headers=grant["headers"] | {"Content-Length": str(self.larger.size)},
                content=self.larger.chunks(),
                timeout=TIMEOUT_SECONDS,
            )
            check(put.status_code == 201, f"the grant takes the content ({put.text})")
            self.client.post(f"uploads/{upload['id']}/complete", token, None)
            wait_until(
                lambda: self.client.get(f"uploads/{upload['id']}", token)["state"] == "sealed",
                "the staged upload to be sealed",
                self.timeouts,
            )
            done(f"{self.larger.size:,} bytes, {upload['document']}")
        return str(upload["document"])

    def wait_for_replicas(self, token: str, *documents: str) -> None:
        """Wait until the events have done their work."""
        with stage("Wait until both are replicated, verified and in the audit log") as done:
            wait_until(
                lambda: all(
                    self.client.get(f"documents/{each}", token)["replicated"] for each in documents
                ),
                "the replicas",
                self.timeouts,
            )
            wait_until(
                lambda: all(
                    "document.replicate" in self.client.actions(token, each) for each in documents
                ),
                "the audit log",
            )
            copies = [len(stored_objects(self.data / store)) for store in ("primary", "replica")]
            done(f"{copies[0]} objects in the primary, {copies[1]} in the second region")

    def look_for_plaintext(self) -> None:
        """Search every byte on disk."""
        with stage("Search every file of the server for plaintext, names and passwords") as done:
            wait_until(
                lambda: not stored_objects(self.data / "staging"),
                "the staged content to be removed",
            )
            names = (self.content.name, self.larger.name, self.client.password)
            probes = {each.encode() for each in names}
            probes |= self.content.probes() | self.larger.probes()
            searched = sum(search(path, probes) for path in files(self.data))
            done(f"{len(probes)} probes, {searched:,} bytes, nothing found")

    def download(self, token: str, document: str, expected: Content, title: str) -> None:
        """Read a content back."""
        with stage(title) as done:
            digest = hashlib.sha256()
            with self.http.stream(
                "GET", f"documents/{document}/content", headers=bearer(token)
            ) as response:
                check(
                    response.status_code == 200, f"the content is served ({response.status_code})"
                )
                for chunk in response.iter_bytes():
                    digest.update(chunk)
            check(digest.digest() == expected.sha256, "the content comes back bit for bit")
            done(f"SHA-256 {digest.hexdigest()[:16]}…")

    def read_range(self, token: str, document: str) -> None:
        """Read from the middle."""
        with stage("Read a range across a segment border") as done:
            start, end = RANGE
            response = self.http.get(
                f"documents/{document}/content",
                headers=bearer(token) | {"Range": f"bytes={start}-{end - 1}"},
            )
            check(response.status_code == 206, "a range gets a 206")
            check(
                response.content == self.larger.read(start, end), "a range comes back bit for bit"
            )
            done(response.headers["Content-Range"])

    def damage_and_repair(self, token: str, document: str) -> None:
        """Flip one byte in the primary, read, and wait for the repair."""
        (sealed,) = self.copies_of(document, "primary")
        with stage("Flip one byte of the sealed content in the primary store") as done:
            with sealed.open() as content:
                middle = content.seek(0, os.SEEK_END) // 2
            sealed.flip(middle)
            done(f"byte {middle:,}")
        self.download(token, document, self.content, "Read it again: served from the replica")
        with stage("The primary copy is repaired, and both facts are audited") as done:
            wait_until(
                lambda: (
                    {"document.damage", "document.repair"} <= self.client.actions(token, document)
                ),
                "the repair",
                self.timeouts,
            )
            wait_until(lambda: not sealed.exists(), "the damaged object to go")
            (repaired,) = self.copies_of(document, "primary")
            (copy,) = self.copies_of(document, "replica")
            check(sha256_of(repaired) == sha256_of(copy), "the primary copy is good again")
            done("the primary and the replica are the same again")

    def copies_of(self, document: str, store: str) -> list[StoredObject]:
        """The objects of a document in a store."""
        return [each for each in stored_objects(self.data / store) if document in each.name]

    def show_audit_log(self, token: str, document: str) -> None:
        """Print what the log says about the document."""
        with stage("The audit log of the document") as done:
            wait_until(
                lambda: (
                    {"document.open", "document.repair"} <= self.client.actions(token, document)
                ),
                "the last entries to be in the log",
            )
            log = self.client.get(f"audit?limit=100&resource={document}", token)
            done(f"{log['head']['size']} entries in all, root {log['head']['root'][:16]}…")
        console.print(ROW.format("position", "time", "action", "outcome", "by"), style="bold")
        for item in reversed(log["items"]):
            entry = item["entry"]
            console.print(
                ROW.format(
                    item["position"],
                    entry["time"][11:23],
                    entry["action"],
                    entry["outcome"],
                    entry["actor"]["kind"],
                )
            )

    def verify_audit_log(self, token: str) -> None:
        """Export the log, and have the command verify the file with the log's key alone."""
        with stage("Export the log, and verify it with the command, without the server") as done:
            [key] = [
                item["vkey"]
                for item in self.client.get("audit/keys", token)["items"]
                if item["type"] == "ed25519"
            ]

            def exported() -> bytes | None:
                answer = self.http.get("audit/export", headers=bearer(token))
                return answer.content if answer.status_code == 200 else None

            export = wait_until(exported, "the first checkpoint")
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "log.ndjson"
                file.write_bytes(export)
                verified = subprocess.run(  # noqa: S603 - our own command
                    [sys.executable, "-m", "client", "audit", "verify", str(file), "--key", key],
                    capture_output=True,
                    text=True,
                    check=False,
                )
            check(verified.returncode == 0, f"the log is proved ({verified.stderr.strip()})")
            done(verified.stdout.partition(" of the log ")[0])

    def try_others(self, operator: str, document: str) -> None:
        """Those who may not read the document ask for it."""
        with stage("Another tenant's token") as done:
            _, other = self.client.create_tenant(operator, "other")
            path = f"documents/{document}/content"
            refused = self.http.get(path, headers=bearer(other)).status_code
            check(refused == 404, "another tenant finds nothing")
            anonymous = self.http.get(path).status_code
            check(anonymous == 401, "a request without a token is refused")
            employee = self.http.get(path, headers=bearer(operator)).status_code
            check(employee == 403, "the operator's employees cannot read documents")
            done(f"refused with {refused}; without a token {anonymous}; an employee {employee}")


def files(folder: Path) -> Iterator[Path]:
    """Every file below a folder."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def search(path: Path, probes: set[bytes]) -> int:
    """How many bytes of a file were searched for the probes; none of them may be found."""
    with suppress(FileNotFoundError), path.open("rb") as file:  # databases come and go with files
        size = path.stat().st_size
        if size:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stored:
                for probe in probes:
                    check(stored.find(probe) < 0, f"no plaintext is in {path.name}")
        return size
    return 0


def sha256_of(stored: StoredObject) -> bytes:
    """The SHA-256 of an object."""
    with stored.open() as content:
        return hashlib.file_digest(content, "sha256").digest()
