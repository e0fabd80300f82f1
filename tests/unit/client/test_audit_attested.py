"""``strongroom audit verify URL`` with witnesses and a time stamp: how far, since when, and no further."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.crypto.notes import Note
from shared.crypto.timestamps import request_timestamp
from tests.support.audit_logs import AT, ORIGIN, BuiltLog, LogKey, build_log, cosign_ed25519
from tests.support.cli import Ran, invoke
from tests.support.emulators.servers import HttpServer, Request, Response
from tests.support.fake_api import problem
from tests.support.timestamping import TestAuthority, require_openssl
from tests.support.witnesses import MemoryWitness, policy_text

LOG_PATH = "/api/v1/audit/log/acme"
SIZE, WITNESSED, STAMPED = 600, 300, 257


class LogServer(HttpServer):
    """Serves the files of a log."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(None)
        self.files = files
        self.after: dict[str, dict[str, bytes]] = {}
        self.versions: list[dict[str, bytes]] = []

    def handle(self, request: Request) -> Response:
        path = request.target.removeprefix(f"{LOG_PATH}/")
        body = self.files.get(path)
        self.files |= self.after.pop(path, {})
        if path == "timestamp" and self.versions:
            self.files |= self.versions.pop(0)
        if body is None:
            return problem(404, "not-found", "There is none.")
        return Response(200, body, {"Content-Type": "application/octet-stream"})


class World:
    """A log whose first entries are cosigned and stamped, and somebody who verifies it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = build_log(SIZE)
        self.key = str(self.log.key.verifier)
        self.witnesses = [MemoryWitness("w1"), MemoryWitness("w2")]
        self.policy = path / "policy"
        self.policy.write_text(policy_text(self.witnesses))
        # What is at the edge of an earlier checkpoint stays for a while.
        self.server = LogServer(self.log.files(WITNESSED) | self.log.files()).start()
        self.files = self.server.files
        self.files["witnessed"] = self.cosigned(WITNESSED)

    def cosigned(self, size: int, log: BuiltLog | None = None, count: int = 2) -> bytes:
        note = (log or self.log).note(size)
        cosignatures = tuple(
            cosign_ed25519(witness.private, witness.key.name, note.text, AT)
            for witness in self.witnesses[:count]
        )
        return Note(note.text, note.signatures + cosignatures).encode()

    def stamp(self, authority: TestAuthority, note: bytes) -> None:
        self.files["timestamp/checkpoint"] = note
        self.files["timestamp"] = authority.reply(request_timestamp(note).data)

    def run(self, *options: object, command: str = "verify", policy: bool = True) -> Ran:
        witnesses = ("--policy", self.policy) if policy else ()
        url = self.server.url + LOG_PATH
        return invoke("audit", command, url, "--key", self.key, *witnesses, *options)


@pytest.fixture(autouse=True)
def _own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("STRONGROOM_SERVER", raising=False)
    monkeypatch.delenv("STRONGROOM_TOKEN", raising=False)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.server.stop()


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    require_openssl()
    return TestAuthority(tmp_path / "authority")


class TestWitnesses:
    def test_the_log_is_verified_as_far_as_it_is_cosigned(self, world: World) -> None:
        ran = world.run()
        assert ran.code == 0, ran.err
        assert len(ran.lines) == 1
        assert f"entries 0 to {WITNESSED - 1} of the log {ORIGIN}" in ran.out
        assert "cosigned by witness.example/w1+" in ran.out
        assert ran.out.endswith("; 300 later entries are not cosigned yet.\n")

    def test_a_log_whose_newest_checkpoint_is_cosigned_needs_nothing_else(
        self, world: World
    ) -> None:
        world.files["checkpoint"] = world.cosigned(SIZE)
        del world.files["witnessed"]
        ran = world.run()
        assert (ran.code, "not cosigned" in ran.out) == (0, False)
        assert f"entries 0 to {SIZE - 1}" in ran.out

    def test_where_both_are_of_one_size_nothing_is_left_out(self, world: World) -> None:
        world.files["witnessed"] = world.cosigned(SIZE)
        ran = world.run()
        assert (ran.code, "not cosigned" in ran.out) == (0, False)

    def test_without_a_policy_the_newest_checkpoint_counts(self, world: World) -> None:
        ran = world.run(policy=False)
        assert (ran.code, f"entries 0 to {SIZE - 1}" in ran.out) == (0, True)

    def test_what_too_few_cosigned_proves_nothing(self, world: World) -> None:
        world.files["witnessed"] = world.cosigned(WITNESSED, count=1)
        ran = world.run()
        assert (ran.code, "cosigned by 1 of the 2 witnesses" in ran.err) == (1, True)
        del world.files["witnessed"]
        ran = world.run()
        assert (ran.code, "cosigned by 0 of the 2 witnesses" in ran.err) == (1, True)

    def test_what_the_log_did_not_sign_proves_nothing(self, world: World) -> None:
        world.log.key = LogKey(seed=5)
        world.files["witnessed"] = world.cosigned(WITNESSED)
        ran = world.run()
        assert (ran.code, "not checked against anything you gave" in ran.err) == (1, True)

    def test_a_changed_cosignature_or_note_is_refused(self, world: World) -> None:
        world.files["witnessed"] = world.cosigned(WITNESSED).replace(b"\n300\n", b"\n301\n")
        assert world.run().code == 1
        world.files["witnessed"] = b"nonsense"
        ran = world.run()
        assert (ran.code, "not proved: witnessed: " in ran.err) == (1, True)

    def test_a_log_that_shows_the_witnesses_another_face_is_refused(self, world: World) -> None:
        other = build_log(SIZE)
        other.entries[3]["resource"] = "doc_other"
        other.__post_init__()
        world.files["witnessed"] = world.cosigned(SIZE, other)
        ran = world.run()
        assert (ran.code, "the log was forked" in ran.err) == (1, True)
        world.files["witnessed"] = world.cosigned(WITNESSED, other)
        assert world.run().code == 1, "the tiles are not those of the cosigned checkpoint"

    def test_a_checkpoint_of_another_log_is_refused(self, world: World) -> None:
        key = LogKey(name="other.example/log", seed=7)
        other = build_log(SIZE, origin="other.example/log", key=key)
        world.files["witnessed"] = world.cosigned(WITNESSED, other)
        ran = world.run("--key", key.verifier)
        assert (ran.code, f"of the log other.example/log, not {ORIGIN}" in ran.err) == (1, True)

    def test_the_pin_is_what_was_cosigned(self, world: World) -> None:
        pin = world.path / "pin"
        ran = world.run("--out", pin, command="pin")
        assert ran.code == 0, ran.err
        assert "300 later entries are not cosigned yet" in ran.out
        assert "\\n300\\n" in pin.read_text()
        ran = world.run("--since", pin)
        assert (ran.code, "only appended to since the 300 entries" in ran.out) == (0, True)

    def test_a_pin_of_more_than_is_cosigned_is_not_called_a_loss(self, world: World) -> None:
        pin = world.path / "pin"
        assert world.run("--out", pin, command="pin", policy=False).code == 0
        ran = world.run("--since", pin)
        assert ran.code == 1
        assert "have cosigned 300 entries so far, fewer than the 600 that you kept" in ran.err
        world.files["witnessed"] = world.cosigned(SIZE)
        assert world.run("--since", pin).code == 0


class TestTimestamps:
    @pytest.mark.parametrize("size", [1, STAMPED, 256, WITNESSED])
    def test_since_when_the_first_entries_exist(
        self, world: World, authority: TestAuthority, size: int
    ) -> None:
        world.stamp(authority, world.log.note(size).encode())
        ran = world.run("--timestamp-root", authority.root_file)
        assert ran.code == 0, ran.err
        assert len(ran.lines) == 1
        what = "1 entry provably exists" if size == 1 else f"{size} entries provably exist"
        assert f"; the first {what} since {datetime.now(UTC):%Y-%m-%dT}" in ran.out
        assert "as CN=An authority states; 300 later entries" in ran.out
        [event] = world.run("--timestamp-root", authority.root_file, "--json").events_of("verified")
        assert event["timestamp_size"] == size
        assert event["timestamp"].startswith(f"{datetime.now(UTC):%Y-%m-%dT}")

    def test_with_a_pin_both_are_compared(self, world: World, authority: TestAuthority) -> None:
        pin = world.path / "pin"
        assert world.run("--out", pin, command="pin").code == 0
        world.stamp(authority, world.log.note(STAMPED).encode())
        ran = world.run("--timestamp-root", authority.root_file, "--since", pin, policy=False)
        assert ran.code == 0, ran.err
        assert "only appended to since the 300 entries" in ran.out
        assert "the first 257 entries" in ran.out

    def test_a_stamped_checkpoint_of_another_history_is_refused(
        self, world: World, authority: TestAuthority
    ) -> None:
        other = build_log(SIZE)
        other.entries[3]["resource"] = "doc_other"
        other.__post_init__()
        for size in (STAMPED, SIZE):
            world.stamp(authority, other.note(size).encode())
            ran = world.run("--timestamp-root", authority.root_file, policy=False)
            assert ran.code == 1
            assert (
                f"the first {size} entries are not those of the checkpoint that has the time stamp"
                in ran.err
            )

    def test_what_does_not_verify_is_refused(
        self, world: World, authority: TestAuthority, tmp_path: Path
    ) -> None:
        other = TestAuthority(tmp_path / "other")
        root = ("--timestamp-root", authority.root_file)
        ran = world.run(*root)
        assert (ran.code, "no checkpoint of the log has a time stamp" in ran.err) == (1, True)
        world.stamp(other, world.log.note(STAMPED).encode())
        assert (world.run(*root).code, world.run("--timestamp-root", other.root_file).code) == (
            1,
            0,
        )
        world.stamp(authority, world.log.note(STAMPED).encode())
        world.files["timestamp/checkpoint"] = world.log.note(STAMPED - 1).encode()
        ran = world.run(*root)
        assert (ran.code, "not proved: timestamp: " in ran.err) == (1, True)
        # Signed by somebody else, and stamped.
        forged = build_log(STAMPED, key=LogKey(seed=5))
        world.stamp(authority, forged.note().encode())
        assert world.run(*root).code == 1

    def test_a_time_stamp_of_more_than_is_verified_is_refused(
        self, world: World, authority: TestAuthority
    ) -> None:
        world.stamp(authority, world.log.note(400).encode())
        ran = world.run("--timestamp-root", authority.root_file)
        assert (ran.code, "of 400 entries, more than the 300 that are verified" in ran.err) == (
            1,
            True,
        )

    def test_a_time_stamp_that_is_replaced_while_it_is_read_is_read_again(
        self, world: World, authority: TestAuthority
    ) -> None:
        world.stamp(authority, world.log.note(STAMPED).encode())
        later = world.log.note(STAMPED + 1).encode()
        world.server.after["timestamp/checkpoint"] = {
            "timestamp/checkpoint": later,
            "timestamp": authority.reply(request_timestamp(later).data),
        }
        ran = world.run("--timestamp-root", authority.root_file)
        assert (ran.code, "the first 258 entries" in ran.out) == (0, True)

    def test_one_that_is_replaced_again_and_again_is_given_up(
        self, world: World, authority: TestAuthority
    ) -> None:
        for number in range(5):
            note = world.log.note(STAMPED + number).encode()
            world.server.versions.append({"timestamp/checkpoint": note, "timestamp": b"x"})
        world.files |= world.server.versions.pop(0)
        ran = world.run("--timestamp-root", authority.root_file)
        assert (ran.code, "replaced while it was read" in ran.err) == (1, True)

    def test_usage(self, world: World, authority: TestAuthority) -> None:
        export = world.path / "export"
        export.write_bytes(b"".join(world.log.export(0, 3)))
        root = ("--timestamp-root", authority.root_file)
        ran = invoke("audit", "verify", export, "--key", world.key, *root)
        assert (ran.code, "Only a log's URL has a time stamp" in ran.err) == (2, True)
        ran = world.run("--timestamp-root", export)
        assert (ran.code, "is not a certificate" in ran.err) == (2, True)
        ran = world.run("--timestamp-root", world.path / "missing")
        assert (ran.code, "cannot be read" in ran.err) == (2, True)
