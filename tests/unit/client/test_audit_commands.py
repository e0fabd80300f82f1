"""``strongroom audit verify`` and ``pin``: one line, an exit code, and what is trusted."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.crypto.checkpoints import Checkpoint
from shared.crypto.notes import Note, NoteSignature, SignatureType, VerifierKey
from tests.support.audit_logs import AT, ORIGIN, BuiltLog, LogKey, build_log, cosign_ed25519
from tests.support.cli import Ran, invoke
from tests.support.emulators.servers import HttpServer, Request, Response
from tests.support.fake_api import problem

TOKEN = "a-token-that-nobody-may-see"
LOG_PATH = "/api/v1/audit/log/acme"


class LogServer(HttpServer):
    """Serves a log's files, to whoever has the token if one is needed."""

    def __init__(self, files: dict[str, bytes], token: str | None = None) -> None:
        super().__init__(None)
        self.files = files
        self.token = token
        self.seen: list[str | None] = []

    @property
    def log_url(self) -> str:
        return self.url + LOG_PATH

    def handle(self, request: Request) -> Response:
        authorization = request.headers.get("authorization")
        self.seen.append(authorization)
        if self.token is not None and authorization != f"Bearer {self.token}":
            return problem(401, "unauthenticated", "Sign in.")
        body = self.files.get(request.target.removeprefix(f"{LOG_PATH}/"))
        if body is None:
            return problem(404, "not-found", "There is no such tile.")
        return Response(200, body, {"Content-Type": "application/octet-stream"})


class Folder:
    """Files of somebody who verifies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = build_log(600)
        self.log.sign = self.log.key.sign_twice
        self.key = str(self.log.key.verifier)
        self.name = f"{ORIGIN}+{self.log.key.verifier.key_id:08x}"

    def write(self, name: str, data: bytes | str) -> Path:
        file = self.path / name
        file.write_bytes(data if isinstance(data, bytes) else data.encode())
        return file

    def export(
        self,
        start: int = 10,
        end: int = 20,
        *,
        log: BuiltLog | None = None,
        grown_from: int | None = None,
    ) -> Path:
        lines = (log or self.log).export(start, end, grown_from=grown_from)
        return self.write(f"{start}-{end}.ndjson", b"".join(lines))

    def verify(self, *arguments: object) -> Ran:
        return invoke("audit", "verify", *arguments)

    def pin(self, *arguments: object) -> Ran:
        return invoke("audit", "pin", *arguments)


@pytest.fixture(autouse=True)
def _own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("STRONGROOM_SERVER", raising=False)
    monkeypatch.delenv("STRONGROOM_TOKEN", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def server(folder: Folder) -> Iterator[LogServer]:
    server = LogServer(folder.log.files()).start()
    yield server
    server.stop()


class TestVerify:
    def test_an_export_is_proved_in_a_line(self, folder: Folder) -> None:
        ran = folder.verify(folder.export(), "--key", folder.key)
        assert ran.lines == [
            f"Proved: entries 10 to 19 of the log {ORIGIN}, whose 600 entries are signed by {folder.name}; "
            f"not checked against anything you gave: {ORIGIN}+{folder.log.key.ml_dsa_verifier.key_id:08x}."
        ]
        assert (ran.code, ran.err) == (0, "")

    def test_keys_may_come_from_files_and_more_than_one_may_be_given(self, folder: Folder) -> None:
        both = f"{folder.key}\n{folder.log.key.ml_dsa_verifier}\n"
        keys = folder.write("log.vkey", both)
        other = LogKey(seed=9).verifier
        ran = folder.verify(folder.export(), "--key", keys, "--key", other)
        assert ran.code == 0
        assert "not checked" not in ran.out

    @pytest.mark.parametrize(
        ("start", "end", "text"), [(0, 0, "no entries"), (599, 600, "entry 599")]
    )
    def test_exports_of_none_and_one(self, folder: Folder, start: int, end: int, text: str) -> None:
        ran = folder.verify(folder.export(start, end), "--key", folder.key)
        assert ran.out.startswith(f"Proved: {text} of the log")

    def test_what_is_wrong_is_named_in_a_line(self, folder: Folder) -> None:
        export = folder.export()
        lines = export.read_bytes().splitlines(keepends=True)
        export.write_bytes(b"".join([*lines[:4], *lines[5:]]))
        ran = folder.verify(export, "--key", folder.key)
        assert (ran.code, ran.out) == (1, "")
        assert ran.err == (
            "strongroom: not proved: position 13: the line says that it is position 14: "
            "entries are missing or moved.\n"
        )

    def test_of_ocsf_events_the_line_says_what_was_proved(self, folder: Folder) -> None:
        export = folder.write("events", b"".join(folder.log.export(3, 9, ocsf=True)))
        ran = folder.verify(export, "--key", folder.key)
        assert (ran.code, "of the OCSF events only raw_data was checked." in ran.out) == (0, True)

    def test_json_for_programs(self, folder: Folder) -> None:
        ran = folder.verify(folder.export(), "--key", folder.key, "--json")
        [event] = ran.events
        assert event["event"] == "verified"
        assert (event["origin"], event["size"], event["start"], event["end"]) == (
            ORIGIN,
            600,
            10,
            20,
        )
        assert event["signed_by"] == [folder.key]
        assert (event["kept_size"], event["growth_proved"]) == (None, False)
        bad = folder.write("bad", folder.export().read_bytes()[:-1])
        ran = folder.verify(bad, "--key", folder.key, "--json")
        assert ran.events == [
            {
                "event": "problem",
                "detail": "the export ends early",
                "where": "last line",
                "position": None,
            }
        ]
        assert ran.code == 1

    def test_keys_that_come_with_an_export_prove_nothing(self, folder: Folder) -> None:
        ran = folder.verify(folder.export())
        assert ran.code == 1
        assert "not checked against anything you gave: give the log's key with --key" in ran.err
        assert folder.name in ran.err
        other = str(LogKey(seed=2).verifier)
        assert (
            "not checked against anything you gave"
            in folder.verify(folder.export(), "--key", other).err
        )

    def test_a_key_of_another_log_does_not_count(self, folder: Folder) -> None:
        folder.log.key.name = "elsewhere.example/log/acme"
        folder.log.key.__post_init__()
        ran = folder.verify(folder.export(), "--key", folder.log.key.verifier)
        assert ran.code == 1
        assert f"no log key that you gave has the log's name {ORIGIN}" in ran.err

    def test_a_proof_of_one_entry(self, folder: Folder) -> None:
        proof = folder.write("entry.tlog-proof", folder.log.proof(77).encode())
        entry = folder.write("entry.json", json.dumps(folder.log.entries[77], indent=1))
        ran = folder.verify(proof, "--entry", entry, "--key", folder.key)
        assert ran.out.startswith(f"Proved: entry 77 of the log {ORIGIN}")
        assert "give its file with --entry" in folder.verify(proof, "--key", folder.key).err
        entry.write_text(json.dumps(folder.log.entries[78]))
        ran = folder.verify(proof, "--entry", entry, "--key", folder.key)
        assert (ran.code, ran.err.count("position 77")) == (1, 1)
        entry.write_text("no JSON")
        assert (
            "the entry is malformed"
            in folder.verify(proof, "--entry", entry, "--key", folder.key).err
        )

    def test_a_proof_may_bring_its_entry(self, folder: Folder) -> None:
        leaf = folder.log.leaves[77]
        proof = folder.write("with.tlog-proof", folder.log.proof(77, leaf).encode())
        ran = folder.verify(proof, "--key", folder.key)
        assert (ran.code, f"the entry is {leaf.decode()}." in ran.out) == (0, True)
        [event] = folder.verify(proof, "--key", folder.key, "--json").events
        assert event["remark"] == f"the entry is {leaf.decode()}"
        empty = folder.write("empty", b"")
        assert folder.verify(proof, "--key", folder.key, "--entry", empty).code == 1
        for extra in (folder.log.leaves[78], b"", b"text"):
            proof.write_bytes(folder.log.proof(77, extra).encode())
            ran = folder.verify(proof, "--key", folder.key)
            assert (ran.code, "position 77" in ran.err) == (1, True)

    @pytest.mark.parametrize(
        "arguments",
        [
            ("missing.ndjson", "--key", "{key}"),
            ("{export}", "--key", "a+b+c"),
            ("{export}", "--key", "missing.vkey"),
            ("{export}", "--key", "{key}", "--witness", "{key}"),
            ("{export}", "--key", "{key}", "--quorum", "1"),
            ("{export}", "--key", "{key}", "--since", "missing.json"),
            ("{export}", "--key", "{key}", "--since", "{export}"),
            ("http://strongroom.example.com/api/v1/audit/log/acme", "--key", "{key}"),
            ("https://strongroom.example.com/log?x", "--key", "{key}"),
        ],
    )
    def test_usage(self, folder: Folder, arguments: tuple[str, ...]) -> None:
        values = {"key": folder.key, "export": str(folder.export())}
        ran = folder.verify(*(each.format(**values) for each in arguments))
        assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)

    def test_a_file_that_is_something_else(self, folder: Folder) -> None:
        for data in (b"", b"text", b"{}\n", b"\x00" * 10, b"c2sp.org/tlog-proof@v1"):
            entry = folder.write("entry", b"{}")
            ran = folder.verify(folder.write("file", data), "--key", folder.key, "--entry", entry)
            assert (ran.code, ran.err.count("\n")) == (1, 1)


class TestUrl:
    def test_a_whole_log_is_read(self, folder: Folder, server: LogServer) -> None:
        ran = folder.verify(server.log_url, "--key", folder.key)
        assert ran.code == 0, ran.err
        assert ran.out.startswith("Proved: entries 0 to 599 of the log")
        assert server.seen == [None] * 8  # the checkpoint, 4 tiles and 3 bundles, each once

    def test_the_token_goes_to_its_server_alone(
        self, folder: Folder, server: LogServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.token = TOKEN
        ran = folder.verify(server.log_url, "--key", folder.key)
        assert (ran.code, "strongroom sign-in" in ran.err) == (1, True)
        monkeypatch.setenv("STRONGROOM_TOKEN", TOKEN)
        monkeypatch.setenv("STRONGROOM_SERVER", "https://strongroom.example.com")
        server.seen.clear()
        assert folder.verify(server.log_url, "--key", folder.key).code == 1
        assert server.seen == [None]
        monkeypatch.setenv("STRONGROOM_SERVER", server.url)
        ran = folder.verify(server.log_url, "--key", folder.key)
        assert ran.code == 0
        assert TOKEN not in ran.out + ran.err

    def test_partial_tiles_that_the_log_has_replaced(
        self, folder: Folder, server: LogServer
    ) -> None:
        server.files = build_log(1_000).files() | {"checkpoint": folder.log.note().encode()}
        assert folder.verify(server.log_url, "--key", folder.key).code == 1
        assert folder.verify(server.log_url, "--key", folder.key).err == (
            "strongroom: not proved: tile/1/000.p/2: missing.\n"
        )
        log = build_log(700)
        server.files = build_log(768).files() | {"checkpoint": log.note().encode()}
        server.files |= {"tile/1/000.p/2": log.files()["tile/1/000.p/2"]}
        ran = folder.verify(server.log_url, "--key", folder.key)
        assert (ran.code, ran.err) == (0, "")

    def test_what_is_missing_or_wrong_is_named(self, folder: Folder, server: LogServer) -> None:
        whole = dict(server.files)
        server.files.pop("tile/entries/001")
        ran = folder.verify(server.log_url, "--key", folder.key)
        assert ran.err == "strongroom: not proved: tile/entries/001: missing.\n"
        server.files = whole | {"tile/entries/001": whole["tile/entries/000"]}
        ran = folder.verify(server.log_url, "--key", folder.key)
        assert "position 256: not the entry that the log holds, in tile/entries/001" in ran.err
        server.files = {}
        assert "checkpoint: missing" in folder.verify(server.log_url, "--key", folder.key).err
        server.files = {"checkpoint": b"text"}
        assert "checkpoint: the note" in folder.verify(server.log_url, "--key", folder.key).err

    def test_a_checkpoint_that_is_not_of_the_tiles(self, folder: Folder, server: LogServer) -> None:
        text = Checkpoint(ORIGIN, 600, bytes(32)).encode()
        server.files["checkpoint"] = Note(text, tuple(folder.log.key.sign(text))).encode()
        ran = folder.verify(server.log_url, "--key", folder.key)
        assert (
            "checkpoint: its size or root is not that of the log's tiles: tile/0/002.p/88"
            in ran.err
        )
        text = Checkpoint(ORIGIN, 0, bytes(32)).encode()
        server.files["checkpoint"] = Note(text, tuple(folder.log.key.sign(text))).encode()
        ran = folder.verify(server.log_url, "--key", folder.key)
        assert "checkpoint: the root of a log without entries is wrong" in ran.err
        text = "not a checkpoint\n"
        server.files["checkpoint"] = Note(text, tuple(folder.log.key.sign(text))).encode()
        ran = folder.verify(server.log_url, "--key", folder.key)
        assert "checkpoint: the checkpoint has fewer than three lines" in ran.err

    def test_an_interruption_proves_nothing(
        self, folder: Folder, server: LogServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*_: object) -> bytes:
            raise KeyboardInterrupt

        monkeypatch.setattr("client.api.Api.get_bytes", interrupt)
        ran = folder.verify(server.log_url, "--key", folder.key)
        assert (ran.code, ran.out, "interrupted" in ran.err) == (130, "", True)

    def test_an_empty_log(self, folder: Folder, server: LogServer) -> None:
        server.files = build_log(0).files()
        ran = folder.verify(server.log_url, "--key", folder.key)
        assert ran.out.startswith("Proved: no entries of the log")


class TestPin:
    def test_what_was_pinned_is_trusted_and_compared_later(
        self, folder: Folder, tmp_path: Path
    ) -> None:
        ran = folder.pin(folder.export(), "--key", folder.key)
        assert ran.code == 0, ran.err
        [pinned] = (tmp_path / "config/strongroom/audit").iterdir()
        assert f"Kept in {pinned}." in ran.out
        assert stat.S_IMODE(pinned.stat().st_mode) == 0o600
        later = build_log(900)
        ran = folder.verify(folder.export(500, 700, log=later))
        assert ran.code == 0, ran.err
        assert "only appended to since the 600 entries that you kept" in ran.out

    def test_a_fork_is_found(self, folder: Folder) -> None:
        assert folder.pin(folder.export(), "--key", folder.key).code == 0
        fork = build_log(900)
        fork.entries[5]["action"] = "document.read"
        fork = BuiltLog(fork.entries)
        for export in (
            folder.export(500, 700, log=fork),
            folder.export(10, 20, log=fork, grown_from=600),
        ):
            ran = folder.verify(export)
            assert ran.code == 1
            assert "entries were changed, or the log was forked" in ran.err or "growth" in ran.err
            assert folder.pin(export).code == 1
        same_size = BuiltLog(fork.entries[:600])
        assert "forked" in folder.verify(folder.export(500, 510, log=same_size)).err

    def test_an_export_that_does_not_show_growth_says_what_would(self, folder: Folder) -> None:
        assert folder.pin(folder.export(), "--key", folder.key).code == 0
        later = build_log(901)
        ran = folder.verify(folder.export(700, 710, log=later))
        assert ran.code == 1
        assert "export again with kept=600, or verify the log's URL" in ran.err
        ran = folder.verify(folder.export(700, 710, log=later, grown_from=600))
        assert (ran.code, "only appended to" in ran.out) == (0, True)
        assert (
            "not from the 600"
            in folder.verify(folder.export(700, 710, log=later, grown_from=599)).err
        )
        proof = folder.write("p", later.proof(1).encode())
        entry = folder.write("e", later.leaves[1])
        assert "verify the log's URL" in folder.verify(proof, "--entry", entry).err

    def test_older_evidence_is_proved_and_not_compared(
        self, folder: Folder, server: LogServer
    ) -> None:
        assert folder.pin(folder.export(), "--key", folder.key).code == 0
        older = folder.export(1, 2, log=build_log(500))
        ran = folder.verify(older)
        assert (ran.code, "older than the 600 entries that you kept" in ran.out) == (0, True)
        assert "older" in folder.pin(older).err
        server.files = build_log(500).files()
        ran = folder.verify(server.log_url)
        assert (ran.code, "entries were removed from its end" in ran.err) == (1, True)

    def test_since_takes_a_pin_or_a_checkpoint(self, folder: Folder) -> None:
        later = folder.export(100, 800, log=build_log(900))
        note = folder.write("kept.checkpoint", folder.log.note().encode())
        ran = folder.verify(later, "--since", note, "--key", folder.key)
        assert (ran.code, "only appended to since the 600" in ran.out) == (0, True)
        pin = folder.path / "kept" / "pin.json"
        assert folder.pin(folder.export(), "--key", folder.key, "--out", pin).code == 0
        ran = folder.verify(later, "--since", pin)
        assert (ran.code, "only appended to since the 600" in ran.out) == (0, True)
        older = folder.export(1, 2, log=build_log(500))
        assert folder.verify(older, "--since", pin).code == 1
        other = BuiltLog(build_log(700).entries, LogKey("other/log"), "other/log")
        ran = folder.verify(
            folder.export(1, 2, log=other), "--since", pin, "--key", other.key.verifier
        )
        assert ran.code == 1

    def test_a_pin_that_was_changed_is_refused(self, folder: Folder) -> None:
        pin = folder.path / "pin.json"
        assert folder.pin(folder.export(), "--key", folder.key, "--out", pin).code == 0
        members = json.loads(pin.read_text())
        smaller = members["checkpoint"].replace("600", "599")
        pin.write_text(json.dumps(members | {"checkpoint": smaller}))
        ran = folder.verify(folder.export(), "--since", pin)
        assert (ran.code, f"checkpoint in {pin}" in ran.err) == (1, True)
        others = [{"format": "x"}, {"policy": ""}, {"policy": None}, {"more": 1}]
        for change in [*others, {"policy": "log x\nquorum none\n"}, {"checkpoint": "text"}]:
            pin.write_text(json.dumps(members | change))
            ran = folder.verify(folder.export(), "--since", pin)
            assert (ran.code, "is not a checkpoint" in ran.err) == (2, True)

    def test_a_rotated_key_is_trusted_when_it_is_given(self, folder: Folder) -> None:
        assert folder.pin(folder.export(), "--key", folder.key).code == 0
        rotated = BuiltLog(build_log(700).entries, LogKey(seed=2))
        export = folder.export(500, 650, log=rotated)
        assert folder.verify(export).code == 1
        ran = folder.pin(export, "--key", rotated.key.verifier)
        assert (ran.code, "only appended to since the 600" in ran.out) == (0, True)
        assert folder.verify(export).code == 0

    def test_a_place_that_cannot_be_written(self, folder: Folder) -> None:
        file = folder.write("file", b"")
        ran = folder.pin(folder.export(), "--key", folder.key, "--out", file / "pin.json")
        assert ran.code in (1, 2)
        assert ran.err.count("\n") == 1


class TestWitnesses:
    keys = tuple(Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32)) for seed in (5, 6))
    names = ("witness.example/w1", "witness.example/w2")

    def vkeys(self) -> list[str]:
        return [
            str(
                VerifierKey(name, SignatureType.COSIGNATURE_V1, key.public_key().public_bytes_raw())
            )
            for name, key in zip(self.names, self.keys, strict=True)
        ]

    def cosigned(self, folder: Folder, *numbers: int) -> Path:
        def sign(text: str) -> list[NoteSignature]:
            cosigned = [cosign_ed25519(self.keys[n], self.names[n], text, AT) for n in numbers]
            return [*folder.log.key.sign(text), *cosigned]

        folder.log.sign = sign
        return folder.export()

    def test_all_or_a_quorum_must_have_cosigned(self, folder: Folder) -> None:
        first, second = self.vkeys()
        options = ("--key", folder.key, "--witness", first, "--witness", second)
        ran = folder.verify(self.cosigned(folder, 0, 1), *options)
        assert (ran.code, "cosigned by witness.example/w1" in ran.out) == (0, True)
        one = self.cosigned(folder, 0)
        assert (
            "cosigned by 1 of the 2 witnesses that you gave, which is no quorum"
            in folder.verify(one, *options).err
        )
        assert folder.verify(one, *options, "--quorum", 1).code == 0
        none = self.cosigned(folder)
        assert folder.verify(none, *options, "--quorum", 1).code == 1

    def test_a_pin_keeps_the_witnesses(self, folder: Folder) -> None:
        first, _ = self.vkeys()
        signed = self.cosigned(folder, 0)
        assert folder.pin(signed, "--key", folder.key, "--witness", first).code == 0
        assert folder.verify(signed).code == 0
        ran = folder.verify(self.cosigned(folder))
        assert (ran.code, "cosigned by 0" in ran.err) == (1, True)

    def test_a_policy_takes_the_place_of_the_options(self, folder: Folder) -> None:
        first, second = self.vkeys()
        policy = folder.write(
            "policy",
            f"log {folder.key} https://strongroom.example.com/log\n"
            f"witness one {first}\nwitness two {second}\ngroup both all one two\nquorum both\n",
        )
        signed = self.cosigned(folder, 0, 1)
        assert folder.pin(signed, "--policy", policy).code == 0
        assert folder.verify(signed).code == 0
        one = self.cosigned(folder, 1)
        assert folder.verify(one).code == 1
        assert folder.verify(one, "--policy", policy).code == 1
        assert folder.verify(one, "--witness", second).code == 0
        for options in (("--witness", first), ("--quorum", 0)):
            ran = folder.verify(signed, "--policy", policy, *options)
            assert (ran.code, "give it alone" in ran.err) == (2, True)
        assert folder.verify(signed, "--policy", folder.path / "missing").code == 2
        policy.write_text(f"log {folder.key}\n")
        ran = folder.verify(signed, "--policy", policy)
        assert (ran.code, "the policy has no quorum" in ran.err) == (2, True)

    def test_one_key_under_two_names_is_refused(self, folder: Folder) -> None:
        first, _ = self.vkeys()
        self.keys = (self.keys[0], self.keys[0])
        twice = self.vkeys()[1]
        signed = self.cosigned(folder, 0, 1)
        ran = folder.verify(signed, "--key", folder.key, "--witness", first, "--witness", twice)
        assert (ran.code, "the public key is there twice" in ran.err) == (2, True)
