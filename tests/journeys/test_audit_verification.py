"""A customer checks the log of a real server with the command alone, and sees whatever is changed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.crypto.tiles import decode_bundle, encode_bundle
from tests.support.accounts import PASSWORD, bearer, bootstrap, create_tenant
from tests.support.cli import Ran, command_environment, on_terminal, strongroom
from tests.support.process import ServerProcess, wait_until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    server = ServerProcess(
        tmp_path / "data", audit_checkpoint_schedule="* * * * * *", audit_checkpoint_seconds="1"
    )
    server.start()
    yield server
    server.discard()


class Customer:
    """An administrator of a tenant, with the command and with curl."""

    def __init__(self, server: ServerProcess, home: Path) -> None:
        self.server = server
        self.http = httpx.Client(base_url=f"{server.api}/", timeout=60)
        self.token = create_tenant(self.http, bootstrap(self.http, server.data), "acme")
        self.tenant = str(self.get("audit/keys").json()["origin"]).rpartition("/")[2]
        self.log = f"{server.api}/audit/log/{self.tenant}"
        self._environment = command_environment(XDG_CONFIG_HOME=str(home), XDG_STATE_HOME=str(home))
        signed_in = on_terminal(
            *("sign-in", "--server", server.base_url),
            *("--tenant", "acme", "--username", "admin"),
            environment=self._environment,
            answers=[("Password", PASSWORD)],
        )
        assert signed_in.code == 0, signed_in.out

    def get(self, path: str, **query: Any) -> httpx.Response:
        answer = self.http.get(path, params=query, headers=bearer(self.token))
        assert answer.is_success, answer.text
        return answer

    def run(self, *arguments: object) -> Ran:
        return strongroom(*arguments, environment=self._environment)

    def work(self, count: int) -> None:
        """So many things happen, and are under a checkpoint."""
        for _ in range(count):
            self.get("documents")
        wait_until(lambda: self.size() >= count, "the checkpoint", seconds=90)

    def size(self) -> int:
        answer = self.http.get(f"{self.log}/checkpoint", headers=bearer(self.token))
        return int(answer.text.splitlines()[1]) if answer.is_success else 0

    def key(self) -> str:
        """The key that the customer has kept from the beginning."""
        [item] = [
            each for each in self.get("audit/keys").json()["items"] if each["type"] == "ed25519"
        ]
        return str(item["vkey"])


@pytest.fixture
def customer(server: ServerProcess, tmp_path: Path) -> Iterator[Customer]:
    server.wait_until_ready()
    customer = Customer(server, tmp_path / "home")
    yield customer
    customer.http.close()


def test_a_log_is_verified_pinned_and_seen_to_grow(customer: Customer, tmp_path: Path) -> None:
    customer.work(20)
    key = customer.key()
    verified = customer.run("audit", "verify", customer.log, "--key", key)
    assert verified.code == 0, verified.out + verified.err
    assert len(verified.out.splitlines()) == 1
    proof = tmp_path / "entry.tlog-proof"
    proof.write_bytes(customer.get(f"{customer.log}/inclusion", position=3).content)
    one = customer.run("audit", "verify", proof, "--key", key)
    assert one.code == 0, one.out + one.err
    pinned = customer.run("audit", "pin", customer.log, "--key", key, "--json")
    assert pinned.code == 0, pinned.out + pinned.err
    kept = pinned.events_of("pinned")[0]["size"]
    customer.work(257)
    again = customer.run("audit", "verify", customer.log)
    assert again.code == 0, again.out + again.err

    export = tmp_path / "log.ndjson"
    export.write_bytes(customer.get("audit/export", kept=kept).content)
    exported = customer.run("audit", "verify", export)
    assert exported.code == 0, exported.out + exported.err

    other = key.replace(key[-2], "A" if key[-2] != "A" else "B")
    wrong = customer.run("audit", "verify", customer.log, "--key", other)
    assert wrong.code != 0


def rewritten(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Change a bundle in the write-once folder, as whoever owns the disk can."""
    raw = path.read_bytes()
    header = raw[: 2 * len("retain until 2026-11-01T00:00:00Z\n")]
    path.write_bytes(header + encode_bundle(change(decode_bundle(raw[len(header) :]))))


def drop(entries: list[bytes]) -> list[bytes]:
    return entries[:3] + entries[4:] + entries[-1:]


def swap(entries: list[bytes]) -> list[bytes]:
    return [entries[1], entries[0], *entries[2:]]


def edit(entries: list[bytes]) -> list[bytes]:
    return [*entries[:7], entries[7].replace(b"allowed", b"refused"), *entries[8:]]


def test_a_bundle_that_was_changed_is_named(customer: Customer) -> None:
    customer.work(256)
    key = customer.key()
    folder = customer.server.data / "backup" / "audit" / customer.tenant / "tile" / "entries"
    bundle = folder / "000="
    kept = bundle.read_bytes()
    for change in (drop, swap, edit):
        rewritten(bundle, change)
        wrong = customer.run("audit", "verify", customer.log, "--key", key)
        assert wrong.code == 1
        assert "tile/entries/000" in wrong.out + wrong.err, wrong.out + wrong.err
        bundle.write_bytes(kept)
    assert customer.run("audit", "verify", customer.log, "--key", key).code == 0


def test_records_that_were_changed_are_not_signed(customer: Customer) -> None:
    customer.work(5)
    key = customer.key()
    customer.server.stop()
    with sqlite3.connect(customer.server.data / "records.db") as database:
        changed = database.execute(
            "UPDATE records SET body = replace(body, '\"allowed\"', '\"refused\"')"
            " WHERE kind = 'audit-logged' AND partition LIKE ?",
            (f"{customer.tenant}/%",),
        ).rowcount
    assert changed >= 5, "at least what the checkpoint that was waited for covers"
    customer.server.start()
    customer.server.wait_until_ready()
    before = customer.size()
    assert customer.run("audit", "verify", customer.log, "--key", key).code == 0, (
        "what was signed before is in the tiles"
    )
    for _ in range(3):
        customer.get("documents")
    wait_until(lambda: "audit.difference" in customer.server.log(), "the server to see it")
    assert customer.size() == before
    assert os.listdir(customer.server.data / "backup" / "audit" / customer.tenant)
