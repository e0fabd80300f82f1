"""The demo: a real file goes through everything that Strongroom promises, on a scratch data folder.

``python -m standalone.demo [FILE]``. It exits with 0, and its last line is ``demo: ok``, only if every
promise held. The server runs on 127.0.0.1 and is stopped at the end, as the folder is removed.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import os
import pydoc_data.topics
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import httpx
from rich.console import Console
from rich.table import Table

from standalone.first_steps import bootstrap_secret

ROOT: Final = Path(__file__).parents[1]
STAGED_BYTES: Final = 24 * 1_048_576
PATIENCE_SECONDS: Final = 20
T = TypeVar("T")

console = Console(highlight=False, soft_wrap=True)


class PromiseBroken(Exception):
    """Something that Strongroom promises did not hold."""


def main() -> int:
    """Run the demo; the value is the exit code."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=Path(pydoc_data.topics.__file__))
    path: Path = parser.parse_args().file
    try:
        content = path.read_bytes()
    except OSError as error:
        sys.stderr.write(f"demo: cannot read {path}: {error.strerror}\n")
        return 2
    if not content:
        sys.stderr.write(f"demo: {path} is empty; choose a file with something in it\n")
        return 2
    scratch = Path(tempfile.mkdtemp(prefix="strongroom-demo-"))
    try:
        with server(scratch / "data", len(content)) as base_url:
            Demo(base_url, scratch / "data", path.name, content).run()
    except (PromiseBroken, httpx.HTTPError) as error:
        console.print(f"[bold red]✗ {error}")
        console.print("demo: failed")
        return 1
    finally:
        shutil.rmtree(scratch)
    print("demo: ok")
    return 0


@contextlib.contextmanager
def server(data: Path, size: int) -> Iterator[str]:
    """The real server in a process of its own, on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "STRONGROOM_MAX_DIRECT_UPLOAD_BYTES": str(max(size, 100 * 1_048_576)),
        "STRONGROOM_OUTBOX_RELAY_SCHEDULE": "*/5 * * * * *",
    }
    log = (data.parent / "server.log").open("w+")
    with stage("Start the server on an empty data folder") as done:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "standalone", "--port", str(port), "--data", str(data)],
            cwd=ROOT,
            env=os.environ | settings,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        base_url = f"http://127.0.0.1:{port}"
        try:
            wait_until(lambda: answers(base_url, process), "the server to answer")
        except PromiseBroken:
            process.kill()
            log.seek(0)
            console.print(log.read())
            raise
        done(base_url)
    try:
        yield base_url
        with stage("Stop the server") as done:
            process.send_signal(signal.SIGTERM)
            check(process.wait(PATIENCE_SECONDS) == 0, "the server stops cleanly")
            done("every request and message had finished")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        log.close()


@contextlib.contextmanager
def stage(title: str) -> Iterator[Callable[[str], None]]:
    """Time one stage and print its outcome."""
    outcome: list[str] = []
    started = time.perf_counter()
    yield outcome.append
    elapsed = time.perf_counter() - started
    said = f" [dim]— {outcome[0]}" if outcome else ""
    console.print(f"[green]✓[/] [cyan]{elapsed * 1000:7.0f} ms[/]  {title}{said}")


def check(holds: bool, promise: str) -> None:
    """Go on only if a promise holds."""
    if not holds:
        raise PromiseBroken(f"this did not hold: {promise}")


def wait_until(probe: Callable[[], T | None], what: str) -> T:
    """Ask until there is an answer, for a while."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        answer = probe()
        if answer:
            return answer
        time.sleep(0.05)
    raise PromiseBroken(f"waited {PATIENCE_SECONDS} s for {what}")


def answers(base_url: str, process: subprocess.Popen[bytes]) -> bool:
    """Whether the server answers."""
    check(process.poll() is None, "the server starts")
    try:
        return httpx.get(f"{base_url}/api/v1/health").status_code == 200
    except httpx.TransportError:
        return False


class Demo:
    """The stages, one method each, in the order of ``run``.

    Args:
        base_url: The server's.
        data: Its data folder.
        name: The file's name.
        content: Its content.
    """

    def __init__(self, base_url: str, data: Path, name: str, content: bytes) -> None:
        self.data = data
        self.name = name
        self.content = content
        # Larger than the file, of the same kind, and no two of its blocks alike.
        repeated = content * (STAGED_BYTES // len(content) + 2)
        self.larger = repeated[: max(STAGED_BYTES, len(content) + 1)] + secrets.token_bytes(64)
        self.larger_name = f"larger-{name}"
        self.password = secrets.token_urlsafe(24)
        self.http = httpx.Client(base_url=f"{base_url}/api/v1", timeout=60)

    def run(self) -> None:
        """Every stage."""
        with self.http:
            token = self.create_tenant("acme", "ada")
            document = self.upload_directly(token)
            larger = self.upload_staged(token)
            self.wait_for_replicas(token, document, larger)
            self.look_for_plaintext()
            self.download(token, document, self.content, "Download and compare, bit for bit")
            self.download(token, larger, self.larger, "Download the larger one and compare")
            self.read_range(token, larger)
            self.damage_and_heal(token, document)
            self.show_audit_log(token, document)
            self.try_another_tenant(document)

    def create_tenant(self, slug: str, username: str) -> str:
        """Bootstrap the operator, create a tenant and a user; return the user's token."""
        with stage("Create the first operator, a tenant and its administrator") as done:
            secret = bootstrap_secret(self.data)
            first = self.post("auth/bootstrap", None, {"username": "operator", "secret": secret})
            operator = self.sign_in("operator", "operator", first["temporary_password"])
            created = self.post("tenants", operator, {"slug": slug, "administrator": "admin"})
            temporary = created["administrator"]["temporary_password"]
            administrator = self.sign_in(slug, "admin", temporary)
            self.operator = operator
            done(created["tenant"]["id"])
        with stage("Add a user, who signs in and gets an encrypted 2-hour token") as done:
            added = self.post(
                "users", administrator, {"username": username, "roles": ["administrator"]}
            )
            token = self.sign_in(slug, username, added["temporary_password"])
            done(f"{token[:24]}…")
        return token

    def upload_directly(self, token: str) -> str:
        """Upload the file through the API."""
        with stage("Upload the file directly: sealed as it arrives") as done:
            digest = base64.b64encode(hashlib.sha256(self.content).digest()).decode()
            answer = self.http.post(
                "documents",
                content=self.content,
                headers=bearer(token)
                | {
                    "Content-Disposition": f"attachment; filename*=UTF-8''{quote(self.name)}",
                    "Content-Type": "application/octet-stream",
                    "Repr-Digest": f"sha-256=:{digest}:",
                },
            )
            check(answer.status_code == 201, f"a direct upload is accepted ({answer.text})")
            done(f"{self.name}, {len(self.content):,} bytes, {answer.json()['id']}")
        return str(answer.json()["id"])

    def upload_staged(self, token: str) -> str:
        """Upload a larger content by a grant."""
        with stage("Upload a larger one staged: the encryption function seals it") as done:
            upload = self.post(
                "uploads", token, {"name": self.larger_name, "size": len(self.larger)}
            )
            grant = upload["grant"]
            put = httpx.request(
                grant["method"],
                grant["url"],
                headers=grant["headers"],
                content=self.larger,
                timeout=60,
            )
            check(put.status_code == 201, f"the grant takes the content ({put.text})")
            self.post(f"uploads/{upload['id']}/complete", token, None)
            wait_until(
                lambda: self.get(f"uploads/{upload['id']}", token)["state"] == "sealed",
                "the staged upload to be sealed",
            )
            done(f"{len(self.larger):,} bytes, {upload['document']}")
        return str(upload["document"])

    def wait_for_replicas(self, token: str, *documents: str) -> None:
        """Wait until the events have done their work."""
        with stage("Wait until both are replicated, verified and in the audit log") as done:
            wait_until(
                lambda: all(
                    self.get(f"documents/{each}", token)["replicated"] for each in documents
                ),
                "the replicas",
            )
            wait_until(
                lambda: all(
                    "document.replicate" in self.actions(token, each, logged=True)
                    for each in documents
                ),
                "the audit log",
            )
            copies = [len(list(files(self.data / store))) for store in ("vault", "replica")]
            done(f"{copies[0]} objects in the vault, {copies[1]} in the second region")

    def look_for_plaintext(self) -> None:
        """Search every byte on disk."""
        with stage("Search every file of the server for plaintext, names and passwords") as done:
            probes = {
                self.name.encode(),
                self.larger_name.encode(),
                self.password.encode(),
                *(self.content[at : at + 48] for at in range(0, len(self.content), 65_536)),
                self.larger[-64:],
            }
            searched = 0
            for path in files(self.data):
                stored = path.read_bytes()
                searched += len(stored)
                for probe in probes:
                    check(len(probe) < 8 or probe not in stored, f"no plaintext is in {path.name}")
            check(not list(files(self.data / "staging")), "the staged content is gone")
            done(f"{len(probes)} probes, {searched:,} bytes, nothing found")

    def download(self, token: str, document: str, expected: bytes, title: str) -> None:
        """Read a content back."""
        with stage(title) as done:
            answer = self.http.get(f"documents/{document}/content", headers=bearer(token))
            check(answer.status_code == 200, f"the content is served ({answer.status_code})")
            check(answer.content == expected, "the content comes back bit for bit")
            done(f"SHA-256 {hashlib.sha256(answer.content).hexdigest()[:16]}…")

    def read_range(self, token: str, document: str) -> None:
        """Read from the middle."""
        with stage("Read a range across a segment border") as done:
            start, end = 1_048_000, 1_049_500
            answer = self.http.get(
                f"documents/{document}/content",
                headers=bearer(token) | {"Range": f"bytes={start}-{end - 1}"},
            )
            check(answer.status_code == 206, "a range is answered with 206")
            check(answer.content == self.larger[start:end], "a range comes back bit for bit")
            done(answer.headers["Content-Range"])

    def damage_and_heal(self, token: str, document: str) -> None:
        """Flip one byte in the vault, read, and wait for the repair."""
        (sealed,) = (path for path in files(self.data / "vault") if document in path.name)
        with stage("Flip one byte of the sealed content in the vault") as done:
            damaged = bytearray(sealed.read_bytes())
            damaged[len(damaged) // 2] ^= 1
            sealed.write_bytes(damaged)
            done(f"byte {len(damaged) // 2:,}")
        self.download(token, document, self.content, "Read it again: served from the replica")
        with stage("The vault's copy is repaired, and both facts are audited") as done:
            wait_until(
                lambda: {"document.damage", "document.heal"} <= self.actions(token, document),
                "the repair",
            )
            wait_until(lambda: not sealed.exists(), "the damaged object to go")
            (healed,) = (path for path in files(self.data / "vault") if document in path.name)
            (copy,) = (path for path in files(self.data / "replica") if document in path.name)
            check(healed.read_bytes() == copy.read_bytes(), "the vault's copy is good again")
            done("the vault and the replica are the same again")

    def show_audit_log(self, token: str, document: str) -> None:
        """Print what the log says about the document."""
        with stage("The audit log of the document") as done:
            wait_until(
                lambda: self.actions(token, document) == self.actions(token, document, logged=True),
                "every entry to have its position",
            )
            log = self.get(f"audit?limit=100&resource={document}", token)
            done(f"{log['head']['size']} entries in all, root {log['head']['root'][:16]}…")
        table = Table("position", "time", "action", "outcome", "by")
        for item in reversed(log["items"]):
            if item["position"] is None:
                continue  # the reading of this very page
            entry = item["entry"]
            table.add_row(
                str(item["position"]),
                entry["time"][11:23],
                entry["action"],
                entry["outcome"],
                entry["actor"]["kind"],
            )
        console.print(table)

    def try_another_tenant(self, document: str) -> None:
        """Another tenant's administrator asks for the document."""
        with stage("Another tenant's token") as done:
            created = self.post(
                "tenants", self.operator, {"slug": "other", "administrator": "admin"}
            )
            temporary = created["administrator"]["temporary_password"]
            other = self.sign_in("other", "admin", temporary)
            path = f"documents/{document}/content"
            refused = self.http.get(path, headers=bearer(other)).status_code
            check(refused == 404, "another tenant finds nothing")
            anonymous = self.http.get(path).status_code
            check(anonymous == 401, "nobody gets in without a token")
            employee = self.http.get(path, headers=bearer(self.operator)).status_code
            check(employee == 403, "the operator's employees cannot read documents")
            done(f"refused with {refused}; without a token {anonymous}; an employee {employee}")

    def sign_in(self, tenant: str, username: str, temporary: str) -> str:
        """Sign in with a temporary password and replace it; return the token."""
        answer = self.post(
            "auth/sign-in",
            None,
            {
                "tenant": tenant,
                "username": username,
                "password": temporary,
                "new_password": self.password,
            },
        )
        return str(answer["token"])

    def actions(self, token: str, document: str, *, logged: bool = False) -> set[str]:
        """What was done to the document, or how much of it has its position in the log."""
        items = self.get(f"audit?limit=100&resource={document}", token)["items"]
        return {
            item["entry"]["action"] for item in items if not logged or item["position"] is not None
        }

    def post(self, path: str, token: str | None, body: dict[str, Any] | None) -> Any:
        """POST JSON and return what comes back."""
        answer = self.http.post(path, json=body, headers=bearer(token) if token else {})
        check(answer.is_success, f"POST {path} succeeds ({answer.status_code}: {answer.text})")
        return answer.json()

    def get(self, path: str, token: str) -> Any:
        """GET JSON."""
        answer = self.http.get(path, headers=bearer(token))
        check(answer.is_success, f"GET {path} succeeds ({answer.status_code}: {answer.text})")
        return answer.json()


def bearer(token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


def files(folder: Path) -> Iterator[Path]:
    """Every file below a folder."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


if __name__ == "__main__":
    sys.exit(main())
