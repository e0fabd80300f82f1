"""The commands that talk to the API, against a server on a real socket."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.cli import Ran, invoke
from tests.support.fake_api import (
    PASSWORD,
    SET_ID,
    SETS,
    TEMPORARY,
    TOKEN,
    FakeApi,
    verification,
)


@pytest.fixture(autouse=True)
def _own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("STRONGROOM_SERVER", raising=False)
    monkeypatch.delenv("STRONGROOM_TOKEN", raising=False)
    monkeypatch.setattr("client.api.time", SimpleNamespace(sleep=lambda _: None))


@pytest.fixture
def server() -> Iterator[FakeApi]:
    server = FakeApi().start()
    yield server
    server.stop()


@pytest.fixture
def signed_in(server: FakeApi, monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    monkeypatch.setenv("STRONGROOM_SERVER", server.url)
    monkeypatch.setenv("STRONGROOM_TOKEN", TOKEN)
    return server


class TestSignIn:
    def sign_in(self, server: FakeApi, monkeypatch: pytest.MonkeyPatch, *lines: str) -> Ran:
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        return invoke("sign-in", "--server", server.url, "--tenant", "acme", "--username", "ann")

    def test_the_token_is_kept_and_not_shown(
        self, server: FakeApi, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ran = self.sign_in(server, monkeypatch, PASSWORD)
        assert ran.code == 0
        assert ran.lines == [f"Signed in at {server.url} until 2999-01-01 12:00 UTC."]
        assert TOKEN not in ran.out + ran.err
        assert invoke("backups", "list").code == 0
        assert invoke("sign-out").lines == ["Signed out."]
        assert invoke("sign-out").lines == ["Nobody was signed in."]
        ran = invoke("backups", "list")
        assert ran.code == 1
        assert "sign in first" in ran.err

    def test_a_wrong_password_is_refused(
        self, server: FakeApi, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ran = self.sign_in(server, monkeypatch, "wrong")
        assert ran.code == 1
        assert ran.err == "strongroom: Invalid tenant, username or password.\n"
        assert "wrong" not in ran.out

    def test_a_temporary_password_is_replaced(
        self, server: FakeApi, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ran = self.sign_in(server, monkeypatch, TEMPORARY, PASSWORD)
        assert ran.code == 0
        assert "choose one of your own" in ran.err

    def test_a_password_is_not_sent_unencrypted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(PASSWORD))
        ran = invoke(
            *("sign-in", "--server", "http://example.com", "--tenant", "a", "--username", "b")
        )
        assert ran.code == 2
        assert "https" in ran.err


class TestBackups:
    def test_all_sets_are_listed(self, signed_in: FakeApi) -> None:
        ran = invoke("backups", "list")
        assert len(ran.lines) == SETS
        assert ran.lines[0].split("\t")[1:] == [
            "2026-11-26T10:00:00+00:00",
            "hourly",
            "2026-11-27",
            "15",
            "3.4 GB",
            "1.0 kB",
        ]
        assert invoke("backups", "list", "--tenant", "ten_1").code == 0
        assert [each["sequence"] for each in invoke("backups", "list", "--json").events] == list(
            range(SETS)
        )

    def test_a_set_is_shown(self, signed_in: FakeApi) -> None:
        ran = invoke("backups", "show", SET_ID)
        assert "parts\t3" in ran.lines
        assert "previous\tnone" in ran.lines
        assert "content_bytes\t3.4 GB" in ran.lines
        [event] = invoke("backups", "show", SET_ID, "--json").events
        assert (event["event"], event["parts"]) == ("backup", 3)

    def test_the_report_is_shown(self, signed_in: FakeApi) -> None:
        ran = invoke("backups", "report")
        assert "recovery_point_seconds\t4 minutes" in ran.lines
        assert f"last_set\tid {SET_ID}, made_at 2026-11-26T10:00:00Z" in ran.lines
        assert "findings\tnone" in ran.lines

    def test_a_set_that_is_missing_is_said(self, signed_in: FakeApi) -> None:
        ran = invoke("backups", "show", "set_2")
        assert (ran.code, ran.err) == (1, "strongroom: There is no such set.\n")

    @pytest.mark.parametrize("id", ["../users", "a/b", "a?b", ""])
    def test_what_is_no_id_is_not_sent(self, signed_in: FakeApi, id: str) -> None:
        for command in (("backups", "show"), ("backups", "verify"), ("restore", "--resume")):
            assert invoke(*command, id).code == 2
        assert signed_in.requests == []

    def test_verifying_is_followed_to_its_end(self, signed_in: FakeApi) -> None:
        signed_in.verifications.clear()
        signed_in.verifications.extend(verification(checked) for checked in (0, 0, 50, 100))
        ran = invoke("backups", "verify")
        assert ran.code == 0
        assert ran.lines == ["Verified 100 objects, 100.0 kB: 0 findings."]
        assert signed_in.requests[0] == ("POST", "backups/verifications", {"set": None})
        assert len(signed_in.requests) == 4

    def test_findings_are_listed(self, signed_in: FakeApi) -> None:
        finding = {"kind": "missing", "object": "packs/1", "detail": "it is\nmissing"}
        signed_in.verifications[0] = verification(100, finding)
        ran = invoke("backups", "verify", SET_ID)
        assert ran.code == 1
        assert ran.lines[0] == "missing: packs/1: it is\ufffdmissing"
        assert signed_in.requests[0][2] == {"set": SET_ID}
        events = invoke("backups", "verify", "--json").events
        assert [event["event"] for event in events] == ["finding", "summary"]
        assert events[1]["findings"] == 1


class TestRestore:
    def done(self, **members: object) -> dict[str, object]:
        progress = {
            "documents": 12,
            "restored": 9,
            "versions": 15,
            "bytes": 3_400_000_000,
            "records": 3,
        }
        return {"state": "done", "progress": progress} | members

    def test_a_restore_is_planned_started_and_followed(self, signed_in: FakeApi) -> None:
        signed_in.states.extend([{"state": "running"}, {"state": "running"}, self.done()])
        ran = invoke("restore", "--yes", "--at", "2026-11-26T14:00:00+01:00", "--overwrite")
        assert (ran.code, ran.err) == (0, "")
        assert ran.lines == [
            f"rst_1: as of 2026-11-26T10:00:00+00:00 ({SET_ID}): 15 versions of 12 documents, 3.4 GB, "
            "2 minutes; 2 documents changed since, left as they are; 1 document erased since, not "
            "brought back.",
            "rst_1 is done: 9 documents of 12 restored, 15 versions, 3.4 GB.",
        ]
        methods = [(method, path) for method, path, _ in signed_in.requests]
        assert methods[:2] == [("POST", "restores"), ("POST", "restores/rst_1/start")]
        at = datetime.fromisoformat(signed_in.requests[0][2].pop("at"))
        assert at == datetime(2026, 11, 26, 13, tzinfo=UTC)
        assert signed_in.requests[0][2] == {"overwrite": True}

    def test_what_is_wanted_is_sent(self, signed_in: FakeApi) -> None:
        chosen = ("--set", SET_ID, "--document", "doc_1", "--version", 3, "--tenant", "ten_1")
        assert invoke("restore", "--plan-only", *chosen).code == 0
        assert signed_in.requests[0][2] == {
            "set": SET_ID,
            "document": "doc_1",
            "version": 3,
            "overwrite": False,
            "tenant": "ten_1",
        }

    def test_a_plan_alone_says_how_to_go_on(self, signed_in: FakeApi) -> None:
        ran = invoke("restore", "--plan-only")
        assert ran.lines[-1] == "Start it with: strongroom restore --resume rst_1"
        signed_in.states.append(self.done())
        assert invoke("restore", "--resume", "rst_1").code == 0

    def test_problems_are_listed(self, signed_in: FakeApi) -> None:
        problems = [
            {"document": "doc_1", "version": 2, "problem": "missing"},
            {"document": "doc_2", "version": 0, "problem": "newer"},
            {"document": "", "version": 0, "problem": "of a later release"},
        ]
        signed_in.states.append(self.done(problems=problems, problem_count=1_234))
        ran = invoke("restore", "--yes")
        assert ran.code == 1
        assert ran.lines[1:4] == [
            "not restored: doc_1, version 2: it is missing in the backup",
            "not restored: doc_2: it was changed since; --overwrite makes a new version of it",
            "not restored: another record: of a later release",
        ]
        assert ran.err == "strongroom: 1,234 problems; see the list above.\n"

    @pytest.mark.parametrize(
        ("state", "said"), [("cancelled", "rst_1 was cancelled"), ("paused", "--resume rst_1")]
    )
    def test_a_restore_that_does_not_get_done_is_said(
        self, signed_in: FakeApi, state: str, said: str
    ) -> None:
        signed_in.states.append({"state": state})
        ran = invoke("restore", "--yes", "--json")
        assert ran.code == 1
        assert said in ran.err
        assert ran.events_of("summary")[0]["state"] == state

    @pytest.mark.parametrize(
        ("state", "started"),
        [("planned", True), ("paused", True), ("running", False), ("done", False)],
    )
    def test_a_restore_is_taken_up_where_it_is(
        self, signed_in: FakeApi, state: str, started: bool
    ) -> None:
        signed_in.restore(state=state)
        signed_in.states.extend([{"state": state}, self.done()])
        assert invoke("restore", "--resume", "rst_1").code == 0
        assert (("POST", "restores/rst_1/start", {}) in signed_in.requests) == started

    def test_a_restore_is_paused_cancelled_and_listed(self, signed_in: FakeApi) -> None:
        signed_in.restore(state="running")
        ran = invoke("restore", "--pause", "rst_1")
        assert ran.lines == ["rst_1 is paused; go on with: strongroom restore --resume rst_1"]
        assert invoke("restore", "--list").lines == [f"rst_1\t{SET_ID}\tpaused\t12\t3.4 GB"]
        assert invoke("restore", "--cancel", "rst_1").code == 0
        assert invoke("restore", "--list", "--json").events == []

    @pytest.mark.parametrize(
        "arguments",
        [
            (),
            ("--json",),
            ("--version", "1", "--yes"),
            ("--at", "yesterday", "--yes"),
            ("--list", "--pause", "rst_1"),
            ("--resume", "rst_1", "--cancel", "rst_1"),
            ("--resume", "rst_1", "--document", "doc_1"),
            ("--list", "--overwrite"),
        ],
        ids=" ".join,
    )
    def test_wrong_usage_is_said(self, signed_in: FakeApi, arguments: tuple[str, ...]) -> None:
        ran = invoke("restore", *arguments)
        assert ran.code == 2
        assert ran.err
        assert signed_in.requests == []
