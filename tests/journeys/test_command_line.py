"""The command against the real server, from the first sign-in to a recovery after the server is gone."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from pyrage import x25519

from tests.support.accounts import PASSWORD, bearer, bootstrap, create_tenant
from tests.support.backups import BackedUp, open_backed_up
from tests.support.cli import COMMAND, Ran, command_environment, on_terminal, strongroom
from tests.support.fake_api import TOKEN, FakeApi, verification
from tests.support.process import ServerProcess, wait_until
from tests.support.serving import serving
from tests.support.target_writer import write_identity

CONTENTS = {
    "contract.pdf": random.Random("contract").randbytes(3 * 1_048_576 + 17),
    "Überschuß 2026.xlsx": b"figures",
    "empty.txt": b"",
}
EVERY_SECOND = "* * * * * *"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    (tmp_path / "targets").mkdir()
    server = ServerProcess(
        tmp_path / "data",
        targets_dir=str(tmp_path / "targets"),
        outbox_relay_schedule=EVERY_SECOND,
        target_copies_schedule=EVERY_SECOND,
    )
    server.start()
    server.wait_until_ready()
    yield server
    server.discard()


class Administrator:
    """A tenant's administrator, at a terminal and with an HTTP client."""

    def __init__(self, server: ServerProcess, folder: Path) -> None:
        self.server = server
        self.environment = command_environment(XDG_CONFIG_HOME=str(folder / "config"))
        self.http = httpx.Client(base_url=server.api, timeout=60)
        self.http.headers = httpx.Headers(
            bearer(create_tenant(self.http, bootstrap(self.http, server.data), "acme"))
        )

    def run(self, *arguments: object) -> Ran:
        return strongroom(*arguments, environment=self.environment)

    def sign_in(self) -> Ran:
        return on_terminal(
            *("sign-in", "--server", self.server.base_url),
            *("--tenant", "acme", "--username", "admin"),
            environment=self.environment,
            answers=[("Password", PASSWORD)],
        )

    def upload(self, name: str, content: bytes) -> None:
        # As curl would send it: the bytes of the name.
        disposition = f'attachment; filename="{name}"'.encode()
        made = self.http.post(
            "documents", content=content, headers={b"Content-Disposition": disposition}
        )
        assert made.status_code == 201, made.text


@pytest.fixture
def administrator(server: ServerProcess, tmp_path: Path) -> Iterator[Administrator]:
    administrator = Administrator(server, tmp_path)
    yield administrator
    administrator.http.close()


@asynccontextmanager
async def timers_running(backed_up: BackedUp) -> AsyncIterator[None]:
    """Work on verifications and restores all the time, as the timers do every few seconds."""

    async def work() -> None:
        while True:
            backed_up.app.clock.advance(1)
            await backed_up.backups.verifications.run()
            await backed_up.backups.restore_timer.run()
            await asyncio.sleep(0.05)

    working = asyncio.create_task(work())
    try:
        yield
    finally:
        assert not working.done(), working.exception()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


@pytest.mark.anyio
async def test_backups_are_listed_verified_and_restored(tmp_path: Path) -> None:
    async with (
        open_backed_up(tmp_path / "data") as backed_up,
        serving(backed_up.app.apps[0]) as port,
        timers_running(backed_up),
    ):
        environment = command_environment(
            STRONGROOM_SERVER=f"http://127.0.0.1:{port}",
            STRONGROOM_TOKEN=await backed_up.app.token(backed_up.tenant),
        )

        async def run(*arguments: object) -> Ran:
            return await asyncio.to_thread(strongroom, *arguments, environment=environment)

        contents = list(CONTENTS.values())
        documents = [await backed_up.upload(content) for content in contents]
        assert await backed_up.back_up()
        listed = await run("backups", "list", "--json")
        assert listed.code == 0, listed.err
        newest = listed.events[0]
        assert newest["versions"] == len(CONTENTS)
        shown = await run("backups", "show", newest["id"])
        assert f"sha256\t{newest['sha256']}" in shown.lines
        verified = await run("backups", "verify", newest["id"], "--json")
        assert verified.code == 0, verified.out + verified.err
        assert verified.events_of("summary")[0]["checked_objects"] > 0
        report = await run("backups", "report", "--json")
        assert report.events[0]["last_set"]["id"] == newest["id"]

        # A document goes into the trash, and a restore brings it back.
        trashed = documents[0]
        gone = await backed_up.app.http.delete(f"documents/{trashed}", headers=backed_up.auth)
        assert gone.is_success
        planned = await run("restore", "--set", newest["id"], "--plan-only", "--json")
        assert planned.code == 0, planned.err
        [plan] = planned.events_of("plan")
        restored = await asyncio.to_thread(
            on_terminal,
            *("restore", "--set", newest["id"], "--document", trashed),
            environment=environment,
            answers=[("Start?", "y")],
        )
        assert restored.code == 0, restored.out[-500:]
        assert "1 document of 1 restored" in restored.out
        assert await backed_up.content(trashed) == contents[0]

        # The first plan is given up. A document that was changed since is left as it is.
        assert (await run("restore", "--cancel", plan["id"])).code == 0
        await backed_up.update(documents[1], b"newer")
        left = await run("restore", "--set", newest["id"], "--document", documents[1], "--yes")
        assert left.code == 1
        assert f"not restored: {documents[1]}: it was changed since" in left.out
        again = await run(
            *("restore", "--set", newest["id"], "--document", documents[1], "--yes", "--overwrite")
        )
        assert again.code == 0, again.out + again.err
        assert await backed_up.content(documents[1]) == contents[1]
        states = [each["state"] for each in (await run("restore", "--list", "--json")).events]
        assert sorted(states) == ["cancelled", "done", "done", "done"]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("quorum", [1, 2])
def test_a_tenant_recovers_alone_after_the_server_is_gone(
    administrator: Administrator, tmp_path: Path, quorum: int
) -> None:
    assert administrator.run("backups", "list").err.startswith("strongroom: sign in first")
    signed_in = administrator.sign_in()
    assert signed_in.code == 0, signed_in.out
    assert PASSWORD not in signed_in.out
    assert administrator.run("backups", "list").code == 0
    assert administrator.run("sign-out").code == 0

    holders = [x25519.Identity.generate() for _ in range(3)]
    made = administrator.http.post(
        "targets",
        json={
            "name": "our own",
            "address": {"kind": "folder", "bucket": "acme", "prefix": "strongroom/"},
            "credentials": {},
            "recovery": {
                "recipients": [str(each.to_public()) for each in holders],
                "quorum": quorum,
            },
        },
    )
    assert made.status_code == 201, made.text
    for name, content in CONTENTS.items():
        administrator.upload(name, content)

    def places() -> list[Path]:
        return list((tmp_path / "targets").rglob("strongroom.json"))

    wait_until(places, "the target to be described", seconds=60)
    place = places()[0].parent
    wait_until(
        lambda: len(list(place.glob("keys/*/*.age"))) == len(CONTENTS),
        "the copies to arrive",
        seconds=60,
    )
    administrator.server.stop()
    shutil.rmtree(tmp_path / "data")

    key = write_identity(tmp_path / "key.txt", *holders[:quorum])
    arguments = ("recover", "--identity", key, place)
    listed = strongroom(*arguments, "--list", "--json")
    assert {event["name"] for event in listed.events} == set(CONTENTS)
    ran = strongroom(*arguments, tmp_path / "recovered")
    assert (ran.code, ran.err) == (0, "")
    found = {
        path.name: path.read_bytes()
        for path in (tmp_path / "recovered").iterdir()
        if path.is_file()
    }
    assert found == CONTENTS
    stranger = write_identity(tmp_path / "stranger.txt", x25519.Identity.generate())
    assert strongroom("recover", "--identity", stranger, place, "--list").code == 3


class TestInterrupted:
    """Following something on a server that never gets done, until Ctrl-C."""

    @pytest.fixture(autouse=True)
    def _server(self) -> Iterator[None]:
        self.api = FakeApi().start()
        self.api.verifications[0] = verification(50)
        self.environment = command_environment(
            STRONGROOM_SERVER=self.api.url, STRONGROOM_TOKEN=TOKEN
        )
        yield
        self.api.stop()

    def interrupt(self, *arguments: str) -> str:
        """Run until the server was asked a few times, and interrupt; what was said."""
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            wait_until(lambda: len(self.api.requests) > 3, "the command to follow")
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
        assert process.returncode == 130
        assert errors.count("\n") == 1
        return errors

    def test_a_restore_goes_on_without_whoever_followed_it(self) -> None:
        said = self.interrupt("restore", "--yes")
        assert "strongroom restore --resume rst_1" in said

    def test_a_verification_goes_on_without_whoever_followed_it(self) -> None:
        said = self.interrupt("backups", "verify")
        assert "strongroom backups report" in said

    def test_who_says_no_has_the_plan_given_up(self) -> None:
        for answer in ("n", "", "\x04"):  # the last one ends the input, as Ctrl-D does
            ran = on_terminal("restore", environment=self.environment, answers=[("Start?", answer)])
            assert "rst_1 is cancelled" in ran.out
            assert self.api.restores == {}
