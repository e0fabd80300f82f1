"""The commands of ``docs/runbooks.md``, run as they stand, against a real server."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pyrage import x25519

from shared.access.permissions import Role
from shared.base.partitions import OPERATOR
from standalone.demo.objects import stored_objects
from tests.support.accounts import bearer
from tests.support.app import PASSWORD
from tests.support.backups import open_backed_up
from tests.support.cli import command_environment
from tests.support.clock import FakeClock
from tests.support.process import ROOT, ServerProcess, wait_until
from tests.support.target_writer import write_identity

pytestmark = pytest.mark.timeout(240)

PAGE = (ROOT / "docs" / "runbooks.md").read_text()
BLOCK = re.compile(
    r"^ *<!-- run(?:, ([a-z ]+))? -->\n *```bash\n(.*?)^ *```$", re.MULTILINE | re.DOTALL
)
EVERY_SECOND = "* * * * * *"
STOPPED = "server stopped"
COPIED = "replicas and a new set made"

Block = tuple[str, str]
"""What has to be so before it, and the commands."""


def blocks_of(heading: str) -> list[Block]:
    """The blocks of a runbook that are run."""
    section = re.split(rf"^## {re.escape(heading)}$", PAGE, flags=re.MULTILINE)[1]
    section = re.split(r"^## ", section, flags=re.MULTILINE)[0]
    return [
        (when, re.sub(r"^ {3}", "", text, flags=re.MULTILINE))
        for when, text in BLOCK.findall(section)
    ]


@dataclass(frozen=True)
class Story:
    """What happened on a data folder before a runbook begins.

    Attributes:
        folder: Holds the data, the backups and the root key.
        tenant: Its tenant ``alpha``.
        at: A moment before the last changes.
        then: The documents of that moment, names and contents, by id.
        now: Those of the newest set.
        changed: The document that was changed after the moment.
    """

    folder: Path
    tenant: str
    at: datetime
    then: dict[str, tuple[str, list[bytes]]]
    now: dict[str, tuple[str, list[bytes]]]
    changed: str


async def tell(folder: Path) -> Story:
    # Of the last hour, so that the server's own timers find nothing that has expired.
    clock = FakeClock(datetime.now(UTC) - timedelta(hours=1))
    settings: dict[str, Any] = {
        "backup_dir": folder / "backup",
        "root_key_file": folder / "root.key",
    }
    async with open_backed_up(folder / "data", clock=clock, **settings) as backed_up:
        await backed_up.app.user(OPERATOR, "boss", Role.OPERATOR)
        changed = await backed_up.upload(b"the contract", "contract.txt")
        await backed_up.upload(os.urandom(1_200_000), "plan.pdf")
        # A service that is older than minutes has the keys of its checkpoints in its sets.
        await backed_up.app.services.audit.keys.origin(backed_up.tenant)
        await backed_up.back_up()
        await backed_up.back_up()
        clock.advance(600)
        at = clock.now()
        then = await backed_up.documents()
        clock.advance(600)
        await backed_up.update(changed, b"nonsense")
        await backed_up.upload(b"later", "later.txt")
        await backed_up.back_up()
        await backed_up.back_up()
        now = await backed_up.documents()
        return Story(folder, backed_up.tenant, at, then, now, changed)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return asyncio.run(tell(tmp_path_factory.mktemp("story")))


@dataclass
class Operations:
    """Who follows a runbook, on a machine with a server.

    Attributes:
        story: What happened.
        folder: The working directory.
        server: The server.
        variables: What the page says to put in.
        running: Whether the server runs.
        began: When this began; what the story made is older.
    """

    story: Story
    folder: Path
    server: ServerProcess
    variables: dict[str, str]
    running: bool = False
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def follow(self, heading: str, **before: Callable[[], object]) -> str:
        """Run the blocks of a runbook; what they said.

        Args:
            heading: Of the runbook.
            before: What is to be done before the block of a number, such as ``block_2``.
        """
        said = ""
        self.run(blocks_of("Before you begin")[0][1])
        blocks = blocks_of(heading)
        assert blocks
        for number, (when, text) in enumerate(blocks, start=1):
            before.pop(f"block_{number}", lambda: None)()
            if when == STOPPED:
                self.stop()
            else:
                self.start()
            if when == COPIED:
                self.wait_for_copies()
            said += self.run(text)
        assert not before
        return said

    def run(self, text: str) -> str:
        """Run one block after what those before have set."""
        state = self.folder / "state"
        script = f"set -euo pipefail\n. {state}\n{text}\nexport -p > {state}; declare -f >> {state}"
        state.touch()
        ran = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environment(),
            input=PASSWORD + "\n",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ran.returncode == 0, f"{text}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def environment(self) -> dict[str, str]:
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        config = str(self.folder / "config")
        return command_environment(XDG_CONFIG_HOME=config, **self.variables) | {"PATH": path}

    def start(self) -> None:
        if not self.running:
            self.running = True
            self.server.start()
            self.server.wait_until_ready()

    def stop(self) -> None:
        if self.running:
            self.running = False
            self.server.stop()

    def token(self, tenant: str = "alpha", username: str = "admin") -> dict[str, str]:
        self.start()
        credentials = {"tenant": tenant, "username": username, "password": PASSWORD}
        answer = httpx.post(f"{self.server.api}/auth/sign-in", json=credentials, timeout=60)
        assert answer.is_success, answer.text
        return bearer(answer.json()["token"])

    def documents(self, auth: dict[str, str]) -> dict[str, tuple[str, list[bytes]]]:
        """The name and the contents of every document, oldest version first, by id."""
        found: dict[str, tuple[str, list[bytes]]] = {}
        with httpx.Client(base_url=self.server.api, headers=auth, timeout=60) as http:
            for item in http.get("documents?limit=100").json()["items"]:
                path = f"documents/{item['id']}/content?version="
                answers = [http.get(f"{path}{n}") for n in range(1, item["version"] + 1)]
                assert all(answer.is_success for answer in answers)
                found[item["id"]] = (item["name"], [answer.content for answer in answers])
        return found

    def newest(self, document: str) -> bytes:
        """The newest content of a document."""
        return self.documents(self.token())[document][1][-1]

    def wait_for_copies(self) -> None:
        """Wait for replicas, and for the first set that was made here."""
        auth = self.token()

        def replicated() -> bool:
            listed = httpx.get(f"{self.server.api}/documents?limit=100", headers=auth).json()
            return all(item["replicated"] for item in listed["items"])

        wait_until(replicated, "the replicas", seconds=60)

        def newer_set() -> bool:
            newest = httpx.get(f"{self.server.api}/backups", headers=auth).json()["items"][0]
            return datetime.fromisoformat(newest["made_at"]) > self.began

        wait_until(newer_set, "a new set", seconds=60)


def server_on(data: Path, backup: Path, root_key: Path, targets: Path) -> ServerProcess:
    return ServerProcess(
        data,
        backup_dir=str(backup),
        root_key_file=str(root_key),
        targets_dir=str(targets),
        backup_schedule=EVERY_SECOND,
        restore_schedule=EVERY_SECOND,
        backup_verification_schedule=EVERY_SECOND,
        outbox_relay_schedule=EVERY_SECOND,
        target_copies_schedule=EVERY_SECOND,
    )


@pytest.fixture
def operations(told: Story, tmp_path: Path) -> Iterator[Operations]:
    shutil.copytree(told.folder, tmp_path, dirs_exist_ok=True, copy_function=shutil.copy2)
    (tmp_path / "targets").mkdir()
    (tmp_path / "bin").mkdir()
    for name, module in (("strongroom", "-m client"), ("python", ""), ("python3", "")):
        command = tmp_path / "bin" / name
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        command.chmod(0o755)
    data, backup, root_key = (tmp_path / name for name in ("data", "backup", "root.key"))
    server = server_on(data, backup, root_key, tmp_path / "targets")
    variables = {
        "SERVER": server.base_url,
        "OPERATOR": "boss",
        "SLUG": "alpha",
        "ADMINISTRATOR": "admin",
        "TENANT": told.tenant,
        "DOCUMENT": told.changed,
        "AT": told.at.isoformat(),
        "DATA": str(data),
        "STRONGROOM_BACKUP_DIR": str(backup),
        "STRONGROOM_ROOT_KEY_FILE": str(root_key),
    }
    operations = Operations(told, tmp_path, server, variables)
    yield operations
    operations.server.discard()


def test_the_page_names_all_that_has_to_be_put_in(operations: Operations) -> None:
    [block] = re.findall(r"```bash\n(export SERVER=.*?)```", PAGE, re.DOTALL)
    assert set(re.findall(r"([A-Z_]+)=", block)) == set(operations.variables)


def test_every_block_is_run_or_of_azure() -> None:
    run = {text for _, text in BLOCK.findall(PAGE)}
    others = set(re.findall(r"```bash\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)) - run
    assert len(run) > 20
    azure = ("az ", "infra/deploy", "standalone.restore --data /tmp", "export SERVER=")
    assert [text for text in others if not any(word in text for word in azure)] == []


def test_total_loss(operations: Operations) -> None:
    shutil.rmtree(operations.folder / "data")
    said = operations.follow("Total loss")
    assert said.count("The key vault was gone; its copy beside the backups took its place.") == 1
    versions = sum(len(contents) for _, contents in operations.story.now.values())
    assert said.count(f"In all: 1 tenants, {versions} versions") == 2
    assert "0 findings" in said
    assert operations.documents(operations.token()) == operations.story.now


def test_lost_region(operations: Operations) -> None:
    assert "0 findings" in operations.follow("Lost region")


def test_lost_store(operations: Operations) -> None:
    for store in ("primary", "replica"):
        for stored in stored_objects(operations.folder / "data" / store):
            stored.unlink()
    assert " is done: " in operations.follow("Lost store")
    assert operations.documents(operations.token()) == operations.story.now


def test_ransomware(operations: Operations) -> None:
    folder = operations.folder
    for stored in stored_objects(folder / "data" / "primary"):
        stored.write_bytes(b"pay")

    def begin_anew() -> None:
        clean = (folder / "data.clean", folder / "data.backup", folder / "root.key")
        operations.server = server_on(*clean, folder / "targets")
        operations.variables["SERVER"] = operations.server.base_url
        with (folder / "state").open("a") as state:
            state.write(f"export SERVER={operations.server.base_url}\n")

    said = operations.follow("Ransomware", block_3=begin_anew)
    assert said.count("In all: 1 tenants, ") == 3
    assert operations.documents(operations.token()) == operations.story.then
    log = f"{operations.server.api}/audit?limit=100&action=key.rotate"
    auth = operations.token()
    wait_until(lambda: httpx.get(log, headers=auth).json()["items"], "the rotation of the keys")


def test_a_tenants_mistake(operations: Operations) -> None:
    auth = operations.token()
    document = f"{operations.server.api}/documents/{operations.story.changed}"
    assert httpx.delete(document, headers=auth).json()["outcome"] == "trashed"
    assert operations.story.changed not in operations.documents(auth)
    said = operations.follow("A tenant's mistake")
    assert operations.story.changed in said
    assert operations.newest(operations.story.changed) == b"the contract"
    assert said.count(" is done: ") == 2


def test_a_tenant_into_a_new_tenant(operations: Operations) -> None:
    assert " is done: " in operations.follow("A tenant into a new tenant")
    # Who administers the old one is known in the new one as well, with a password of their own.
    made = json.loads((operations.folder / "new-tenant.json").read_text())
    credentials = {
        "tenant": "alpha-earlier",
        "username": "admin",
        "password": made["administrator"]["temporary_password"],
        "new_password": PASSWORD,
    }
    answer = httpx.post(f"{operations.server.api}/auth/sign-in", json=credentials, timeout=60)
    found = operations.documents(bearer(answer.json()["token"]))
    assert found == operations.story.then
    assert operations.documents(operations.token()) == operations.story.now


def test_a_target_that_fails_and_recovery_without_the_operator(operations: Operations) -> None:
    identity = x25519.Identity.generate()
    write_identity(operations.folder / "key.txt", identity)
    body = {
        "name": "our own",
        "address": {"kind": "folder", "bucket": "acme", "prefix": ""},
        "credentials": {},
        "recovery": {"recipients": [str(identity.to_public())], "quorum": 1},
    }
    auth = operations.token()
    made = httpx.post(f"{operations.server.api}/targets", json=body, headers=auth, timeout=60)
    assert made.status_code == 201, made.text
    said = operations.follow("A target that fails")
    assert '"ok"' in said or '"ok":true' in said
    # What was there before is copied minutes later.
    new = {"one.txt": b"one", "two.txt": b"two"}
    for name, content in new.items():
        named = auth | {"Content-Disposition": f'attachment; filename="{name}"'}
        path = f"{operations.server.api}/documents"
        assert httpx.post(path, content=content, headers=named, timeout=60).status_code == 201
    targets = operations.folder / "targets"
    wait_until(
        lambda: len(list(targets.rglob("*.age"))) >= len(new), "the copies to arrive", seconds=60
    )
    [place] = [path.parent for path in targets.rglob("strongroom.json")]
    operations.stop()
    shutil.move(place, operations.folder / "target")
    operations.follow("Recover without the operator")
    recovered = {
        path.name: path.read_bytes()
        for path in (operations.folder / "recovered").iterdir()
        if path.is_file()
    }
    assert new.items() <= recovered.items()


def test_a_difference_in_an_audit_log(operations: Operations) -> None:
    path = f"{operations.server.api}/audit/log/{operations.story.tenant}/checkpoint"
    auth = operations.token()
    wait_until(lambda: httpx.get(path, headers=auth).is_success, "a checkpoint")
    signed = int(httpx.get(path, headers=auth).text.splitlines()[1])
    operations.stop()
    with sqlite3.connect(operations.folder / "data" / "records.db") as records:
        lost = records.execute(
            "DELETE FROM records WHERE kind = 'audit-logged' AND partition LIKE ?"
            " AND json_extract(body, '$.position') < ?",
            (f"{operations.story.tenant}/log-%", signed),
        ).rowcount
    assert lost == signed > 10
    said = operations.follow("A difference in an audit log")
    assert said == f"{lost} rows created, 0 replaced, 0 removed.\n"


def test_a_drill(operations: Operations) -> None:
    said = operations.follow("A drill")
    assert "last_drill" in said
    assert said.count(" 0 problems") == 2
    assert not (operations.folder / "drill").exists()


def test_legal_hold(operations: Operations) -> None:
    document = f"{operations.server.base_url}/api/v1/documents/{operations.story.changed}"
    refused: list[httpx.Response] = []

    def delete() -> None:
        refused.append(httpx.delete(document, headers=operations.token()))

    operations.follow("Legal hold", block_2=delete)
    assert [answer.status_code for answer in refused] == [409]
    delete()
    assert refused[-1].json()["outcome"] == "trashed"
