"""Witnesses and time stamps: what a quorum has cosigned is served, and nobody is ever shown two logs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from shared.attestation.models import PAUSES, WITNESSED_KIND, witnessed_logs
from shared.base.errors import Unavailable
from shared.base.partitions import OPERATOR, Partition
from shared.crypto.checkpoints import Checkpoint, parse_checkpoint
from shared.crypto.notes import parse_note
from shared.crypto.timestamps import REPLY_TYPE, verify_timestamp
from shared.crypto.witnessing import SIZE_TYPE
from shared.ports.posting import PostResponse
from tests.support.app import App, Opened, problem
from tests.support.attestation import announce, one_line
from tests.support.records import find_records
from tests.support.timestamping import TestAuthority, require_openssl
from tests.support.webhooks import publish
from tests.support.witnesses import MemoryWitness, policy_text

pytestmark = pytest.mark.anyio

PATHS = ("witnessed", "timestamp", "timestamp/checkpoint")
TSA = "https://tsa.example/tsr"
HOUR = timedelta(hours=1).total_seconds()


@asynccontextmanager
async def attested(
    opened: Opened, witnesses: list[MemoryWitness], threshold: str = "all", **settings: Any
) -> AsyncIterator[App]:
    """The app with these witnesses."""
    policy = one_line(policy_text(witnesses, threshold))
    async with opened(audit_witness_policy=policy, **settings) as app:
        app.poster.services |= {witness.url: witness.respond for witness in witnesses}
        yield app


@asynccontextmanager
async def stamped(opened: Opened, authority: TestAuthority) -> AsyncIterator[App]:
    """The app with a time stamp authority."""
    roots = one_line(authority.root_file.read_text())
    async with opened(audit_timestamp_url=TSA, audit_timestamp_roots=roots) as app:
        app.poster.services[TSA] = authority.respond
        yield app


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    require_openssl()
    return TestAuthority(tmp_path / "authority")


async def grow(app: App, tenant: str) -> Checkpoint:
    """One more checkpoint of the log; it."""
    auth = await app.auth(tenant)
    await app.http.get("documents", headers=auth)
    await publish(app, tenant)
    return parse_checkpoint(
        parse_note(
            (await app.http.get(f"audit/log/{tenant}/checkpoint", headers=auth)).content
        ).text
    )


@asynccontextmanager
async def with_witness(
    opened: Opened, tenant: str
) -> AsyncIterator[tuple[App, MemoryWitness, Checkpoint]]:
    """An app with one witness, which has not been asked yet about the log's first checkpoint."""
    witness = MemoryWitness()
    async with attested(opened, [witness]) as app:
        yield app, witness, await grow(app, tenant)


async def turn(app: App, seconds: float = 120) -> None:
    """Let time pass and the timer run."""
    app.clock.advance(seconds)
    await app.services.attestations.run()


async def get(app: App, tenant: str, path: str) -> Any:
    return await app.http.get(f"audit/log/{tenant}/{path}", headers=await app.auth(tenant))


async def witnessed_size(app: App, tenant: str) -> int:
    """Entries of the cosigned checkpoint; 0 without one."""
    answer = await get(app, tenant, "witnessed")
    if answer.status_code == 404:
        return 0
    assert answer.status_code == 200, answer.text
    return parse_checkpoint(parse_note(answer.content).text).size


async def test_without_settings_nobody_is_asked(app: App, alpha: str) -> None:
    await grow(app, alpha)
    await turn(app)
    assert app.poster.posted == []
    assert not list(find_records(app.data, "agenda-attest-log"))
    for path in PATHS:
        answer = await get(app, alpha, path)
        assert problem(answer) == "not-found"


async def test_a_quorum_cosigns_and_each_witness_sees_the_log_grow(
    opened: Opened, alpha: str
) -> None:
    witnesses = [MemoryWitness(f"w{number}") for number in (1, 2, 3)]
    async with attested(opened, witnesses, "2") as app:
        assert await witnessed_size(app, alpha) == 0
        sizes = [0]
        for _ in range(3):
            checkpoint = await grow(app, alpha)
            sizes.append(checkpoint.size)
            await turn(app)
            answer = await get(app, alpha, "witnessed")
            assert answer.headers["Cache-Control"] == "private, no-cache"
            note = parse_note(answer.content)
            assert parse_checkpoint(note.text) == checkpoint
            newest = parse_note((await get(app, alpha, "checkpoint")).content)
            assert note.signatures[: len(newest.signatures)] == newest.signatures
            assert len(note.verified_by(each.key for each in witnesses)) == 3
        for witness in witnesses:
            assert witness.asked == list(pairwise(sizes))
        await turn(app)
        await turn(app)
        assert len(app.poster.posted) == 9, "what is cosigned is left alone"
        assert not list(find_records(app.data, "agenda-attest-log"))


FAILURES = [
    RuntimeError("what no one expects"),
    Unavailable("The service did not respond in time."),
    PostResponse(404, "text/plain", b"unknown"),
    PostResponse(403, "text/plain", b"no"),
    PostResponse(400, "text/plain", b"no"),
    PostResponse(429, "text/plain", b"later"),
    PostResponse(500, "text/html", b"<html>"),
    PostResponse(302, "", b""),
    PostResponse(200, "text/plain", b""),
    PostResponse(200, "text/plain", b"\xff\xfe\n"),
    PostResponse(200, "text/plain", b"<html>no</html>\n"),
    PostResponse(409, "text/plain", b"1\n"),
    PostResponse(409, SIZE_TYPE, b"0\n"),
    PostResponse(409, SIZE_TYPE, b"many\n"),
    PostResponse(409, SIZE_TYPE, b"1"),
    PostResponse(409, SIZE_TYPE, b"\xff\n"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
async def test_a_witness_that_fails_stays_due_and_holds_nobody_up(
    opened: Opened, alpha: str, failure: PostResponse | Exception
) -> None:
    good, bad = MemoryWitness("good"), MemoryWitness("bad")
    async with attested(opened, [good, bad]) as app:
        bad.responses = [failure] * 3
        first = await grow(app, alpha)
        await turn(app)
        assert await witnessed_size(app, alpha) == 0
        assert good.asked == [(0, first.size)]
        later = await grow(app, alpha)
        assert later.size > first.size, "checkpoints do not wait"
        for pause in PAUSES[:3]:
            await turn(app, pause.total_seconds() + 60)
        assert await witnessed_size(app, alpha) == later.size
        assert good.asked == [(0, first.size), (first.size, later.size)], "asked once each"


async def test_a_failing_witness_is_asked_more_and_more_rarely(opened: Opened, alpha: str) -> None:
    bad = MemoryWitness("bad", knows=False)
    async with attested(opened, [bad]) as app:
        await grow(app, alpha)
        for _ in range(24 * 60):
            await turn(app, 60)
        assert 24 <= len(bad.asked) <= 24 + len(PAUSES) + 2


async def test_a_quorum_suffices_and_a_silent_host_is_asked_once_a_run(
    opened: Opened, alpha: str, beta: str
) -> None:
    good, silent = MemoryWitness("good"), MemoryWitness("silent")
    async with attested(opened, [good, silent], "any") as app:
        del app.poster.services[silent.url]
        for tenant in (alpha, beta):
            await grow(app, tenant)
        await turn(app)
        for tenant in (alpha, beta):
            assert await witnessed_size(app, tenant) > 0
        asked = [each.url for each in app.poster.posted]
        assert 1 <= asked.count(silent.url) <= 2
        await turn(app)
        assert len(app.poster.posted) == len(asked)


async def test_what_is_not_the_witness_s_own_cosignature_is_refused(
    opened: Opened, alpha: str
) -> None:
    witness, other = MemoryWitness("w1"), MemoryWitness("w1")
    async with attested(opened, [witness]) as app:
        checkpoint = await grow(app, alpha)
        text = checkpoint.encode()
        longer = Checkpoint(checkpoint.origin, checkpoint.size + 1, checkpoint.root).encode()
        witness.responses = [
            other.cosigned(text),  # by another key of the same name
            witness.cosigned(longer),  # of another checkpoint
            PostResponse(200, "text/plain", witness.cosigned(text).body[:-1]),
            PostResponse(200, "text/plain", witness.cosigned(text).body + b"garbage\n"),
        ]
        for pause in PAUSES:
            await turn(app, pause.total_seconds() + 60)
            assert await witnessed_size(app, alpha) == 0
        assert not witness.responses
        # What others add is left out, as the specification asks.
        own, others = witness.cosigned(text).body, other.cosigned(text).body
        witness.responses = [PostResponse(200, "text/plain", others + own)]
        await turn(app, HOUR + 60)
        note = parse_note((await get(app, alpha, "witnessed")).content)
        assert note.verified_by([witness.key]) == (witness.key,)
        assert note.verified_by([other.key]) == ()


async def test_after_a_loss_of_the_records_a_witness_says_where_to_begin(
    opened: Opened, alpha: str
) -> None:
    """So it is when a process ends between the response and the commit."""
    async with with_witness(opened, alpha) as (app, witness, first):
        await turn(app)
        await forget(app, alpha)
        assert await witnessed_size(app, alpha) == 0
        second = await grow(app, alpha)
        await turn(app)
        assert await witnessed_size(app, alpha) == second.size
        assert witness.asked[1:] == [(0, second.size), (first.size, second.size)]
        await forget(app, alpha)
        third = await grow(app, alpha)
        witness.logs[third.origin] = third  # cosigned, and the process ended
        await turn(app)
        assert witness.asked[-2:] == [(0, third.size), (third.size, third.size)]
        assert await witnessed_size(app, alpha) == third.size


async def forget(app: App, tenant: str) -> None:
    """Remove what is known of witnesses."""
    logs = witnessed_logs(app.services.adapters.records)
    stored = await logs.get(Partition(tenant), "witnessed")
    await app.services.adapters.records.commit(Partition(tenant), [logs.delete(stored)])


async def test_a_log_with_two_faces_is_refused_and_raises_the_alert(
    opened: Opened, alpha: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with with_witness(opened, alpha) as (app, witness, first):
        # The witness has seen another log of this name and size.
        witness.logs[first.origin] = Checkpoint(first.origin, first.size, b"\x01" * 32)
        await turn(app)
        assert await witnessed_size(app, alpha) == 0
        second = await grow(app, alpha)
        await turn(app)
        assert witness.asked[-2:] == [(0, second.size), (first.size, second.size)]
        assert await witnessed_size(app, alpha) == 0
        lines = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
        assert len(lines) == 2
        assert all(line.startswith(f"audit.difference in the log of {alpha}") for line in lines)


async def test_two_checkpoints_that_disagree_are_never_sent(
    opened: Opened, alpha: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The service remembers what a witness cosigned, and finds out by itself."""
    async with with_witness(opened, alpha) as (app, witness, _):
        await turn(app)
        await change_status(app, alpha, root="01" * 32)
        await grow(app, alpha)
        await turn(app)
        assert len(witness.asked) == 1
        assert "audit.difference" in caplog.text


async def test_an_older_checkpoint_is_never_sent(
    opened: Opened, alpha: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with with_witness(opened, alpha) as (app, witness, checkpoint):
        witness.logs[checkpoint.origin] = Checkpoint(checkpoint.origin, 10_000, b"\x01" * 32)
        await turn(app)
        assert witness.asked == [(0, checkpoint.size)]
        assert "has cosigned 10000 entries, which it lacks" in caplog.text
        await change_status(app, alpha, size=10_000, failures=0, next_at=None)
        await turn(app)
        assert witness.asked == [(0, checkpoint.size)]
        assert "and a witness has cosigned 10000" in caplog.text


async def change_status(app: App, tenant: str, **change: Any) -> None:
    """Change what is known of the only witness."""
    records = app.services.adapters.records
    logs = witnessed_logs(records)
    stored = await logs.get(Partition(tenant), "witnessed")
    [status] = stored.value.witnesses
    changed = (status.model_copy(update=change),)
    value = stored.value.model_copy(update={"witnesses": changed})
    await records.commit(Partition(tenant), [logs.replace(stored, value)])


async def test_a_newer_checkpoint_that_another_process_sent_is_no_difference(
    opened: Opened, alpha: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with with_witness(opened, alpha) as (app, witness, _):
        old = await app.services.audit.checkpoints.newest(alpha)
        assert old is not None
        witnesses = app.services.attestations.witnesses
        assert witnesses is not None
        newer = await grow(app, alpha)
        witness.logs[newer.origin] = newer
        await witnesses.take(alpha, old, set())
        assert "audit.difference" not in caplog.text
        assert await witnessed_size(app, alpha) == 0
        await turn(app)
        assert await witnessed_size(app, alpha) == newer.size


async def test_a_process_that_ends_before_it_keeps_what_it_got_repeats_it(
    opened: Opened, alpha: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_witness(opened, alpha) as (app, witness, checkpoint):
        with monkeypatch.context() as patch:
            commit = app.services.adapters.records.commit

            async def broken(partition: Partition, changes: Any) -> Any:
                if any(
                    getattr(each, "record", None) and each.record.kind == WITNESSED_KIND
                    for each in changes
                ):
                    raise Unavailable("The store does not respond.")
                return await commit(partition, changes)

            patch.setattr(app.services.adapters.records, "commit", broken)
            await turn(app)
        assert await witnessed_size(app, alpha) == 0
        await turn(app)
        assert witness.asked == [(0, checkpoint.size), (0, checkpoint.size), (checkpoint.size,) * 2]
        assert await witnessed_size(app, alpha) == checkpoint.size


async def test_a_changed_policy_counts_from_the_next_checkpoint_on(
    opened: Opened, alpha: str
) -> None:
    one, two = MemoryWitness("w1"), MemoryWitness("w2")
    async with attested(opened, [one]) as app:
        first = await grow(app, alpha)
        await turn(app)
        start = app.clock.now()
    async with attested(opened, [one, two]) as app:
        app.clock.advance((start - app.clock.now()).total_seconds())
        assert await witnessed_size(app, alpha) == first.size
        second = await grow(app, alpha)
        await turn(app)
        assert two.asked == [(0, second.size)]
        note = parse_note((await get(app, alpha, "witnessed")).content)
        assert len(note.verified_by([one.key, two.key])) == 2


async def test_a_log_gets_a_time_stamp_once_an_hour_while_it_grows(
    opened: Opened, alpha: str, authority: TestAuthority
) -> None:
    async with stamped(opened, authority) as app:
        first = await grow(app, alpha)
        await turn(app)
        reply = await get(app, alpha, "timestamp")
        assert (reply.status_code, reply.headers["content-type"]) == (200, REPLY_TYPE)
        note = await get(app, alpha, "timestamp/checkpoint")
        assert parse_checkpoint(parse_note(note.content).text) == first
        assert verify_timestamp(reply.content, note.content, [authority.root])
        for _ in range(5):
            await grow(app, alpha)
            await turn(app)
        assert len(authority.requests) == 1
        later = await grow(app, alpha)
        await turn(app, HOUR)
        assert len(authority.requests) == 2
        note = await get(app, alpha, "timestamp/checkpoint")
        assert parse_checkpoint(parse_note(note.content).text) == later
        for _ in range(3):
            await turn(app, HOUR + 60)
        assert len(authority.requests) == 2, "a log that does not grow needs no other"


async def test_a_time_stamp_that_does_not_verify_is_not_kept(
    opened: Opened, alpha: str, authority: TestAuthority, tmp_path: Path
) -> None:
    other = TestAuthority(tmp_path / "other")
    async with stamped(opened, authority) as app:
        await grow(app, alpha)
        replies: list[Any] = [
            lambda body: PostResponse(200, REPLY_TYPE, other.reply(body)),
            lambda body: PostResponse(200, "text/html", authority.reply(body)),
            lambda body: PostResponse(503, REPLY_TYPE, authority.reply(body)),
            lambda body: PostResponse(200, REPLY_TYPE, authority.reply(body) + b"x"),
        ]
        for reply, pause in zip(replies, PAUSES, strict=True):
            app.poster.services[TSA] = reply
            await turn(app, pause.total_seconds() + 60)
            assert (await get(app, alpha, "timestamp")).status_code == 404
        del app.poster.services[TSA]
        await turn(app, HOUR + 60)
        app.poster.services[TSA] = authority.respond
        await turn(app, HOUR + 60)
        assert (await get(app, alpha, "timestamp")).status_code == 200
        assert len(app.poster.posted) == 6


async def test_an_authority_that_is_down_is_left_alone_for_a_while(
    opened: Opened, alpha: str, beta: str, authority: TestAuthority
) -> None:
    async with stamped(opened, authority) as app:
        del app.poster.services[TSA]
        for tenant in (alpha, beta):
            await grow(app, tenant)
        for _ in range(24 * 60):
            await turn(app, 60)
        assert 24 <= len(app.poster.posted) <= 2 * (24 + len(PAUSES) + 2)
        app.poster.services[TSA] = authority.respond
        await turn(app, HOUR + 60)
        for tenant in (alpha, beta):
            assert (await get(app, tenant, "timestamp")).status_code == 200


async def test_growth_is_no_reason_to_ask_a_failing_authority_earlier(
    opened: Opened, alpha: str, authority: TestAuthority
) -> None:
    async with stamped(opened, authority) as app:
        del app.poster.services[TSA]
        await grow(app, alpha)
        await turn(app)
        await grow(app, alpha)
        await turn(app, 10)
        assert len(app.poster.posted) == 1
        stamps = app.services.attestations.stamps
        newest = await app.services.audit.checkpoints.newest(alpha)
        assert stamps is not None
        assert newest is not None
        app.clock.advance(HOUR)
        assert await stamps.take(alpha, newest, {TSA}) == app.clock.now()
        assert len(app.poster.posted) == 1, "it was silent in this run"


async def test_a_witness_that_names_another_size_each_time_is_left(
    opened: Opened, alpha: str
) -> None:
    async with with_witness(opened, alpha) as (app, witness, checkpoint):
        witness.responses = [PostResponse(409, SIZE_TYPE, b"%d\n" % size) for size in (1, 2, 1)]
        await turn(app)
        assert witness.asked == [(0, checkpoint.size), (1, checkpoint.size)]


async def test_a_store_that_fails_is_no_fault_of_a_witness(
    opened: Opened, alpha: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_witness(opened, alpha) as (app, witness, _):
        await turn(app)
        checkpoint = await grow(app, alpha)

        async def broken(*_: object) -> list[bytes]:
            raise Unavailable("The store does not respond.")

        with monkeypatch.context() as patch:
            patch.setattr("shared.audit.tree.StoredTree.consistency", broken)
            await turn(app)
        assert len(witness.asked) == 1
        await turn(app, 1)
        assert await witnessed_size(app, alpha) == checkpoint.size, "it does not wait"


async def test_two_processes_that_ask_at_once_keep_one_result(opened: Opened, alpha: str) -> None:
    async with with_witness(opened, alpha) as (app, _, checkpoint):
        app.clock.advance(120)
        await asyncio.gather(*(app.services.attestations.run() for _ in range(3)))
        await turn(app)
        assert await witnessed_size(app, alpha) == checkpoint.size
        await turn(app)
        assert not list(find_records(app.data, "agenda-attest-log"))


async def test_a_run_ends_and_what_it_did_not_come_to_stays_due(
    opened: Opened, alpha: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_witness(opened, alpha) as (app, witness, checkpoint):
        with monkeypatch.context() as patch:
            patch.setattr("shared.attestation.timer.RUN", timedelta(0))
            await turn(app)
        assert witness.asked == []
        await turn(app)
        assert await witnessed_size(app, alpha) == checkpoint.size


async def test_a_log_without_a_checkpoint_is_taken_off(opened: Opened, beta: str) -> None:
    witness = MemoryWitness()
    async with attested(opened, [witness]) as app:
        await announce(app, beta)
        await turn(app)
        assert witness.asked == []
        assert not list(find_records(app.data, "agenda-attest-log"))


@pytest.mark.parametrize("more", [0, 1])
async def test_a_checkpoint_that_does_not_follow_what_was_cosigned_is_not_sent(
    opened: Opened, alpha: str, caplog: pytest.LogCaptureFixture, more: int
) -> None:
    """The log was set back, or written anew, in the records alone."""
    async with with_witness(opened, alpha) as (app, witness, checkpoint):
        await turn(app)
        records = app.services.adapters.records
        logs = witnessed_logs(records)
        stored = await logs.get(Partition(alpha), "witnessed")
        other = Checkpoint(checkpoint.origin, checkpoint.size + more, b"\x01" * 32)
        note = stored.value.note.replace(checkpoint.encode(), other.encode())
        value = stored.value.model_copy(update={"note": note, "size": other.size})
        await records.commit(Partition(alpha), [logs.replace(stored, value)])
        await announce(app, alpha)
        await turn(app)
        assert len(witness.asked) == 1
        assert f"audit.attestation-failed of the log of {alpha}: damaged" in caplog.text
        assert list(find_records(app.data, "agenda-attest-log"))


@pytest.mark.parametrize("path", PATHS)
async def test_nobody_reads_what_is_attested_of_another_s_log(
    app: App, alpha: str, beta: str, path: str
) -> None:
    url = f"audit/log/{alpha}/{path}"
    assert problem(await app.http.get(url)) == "unauthenticated"
    for tenant, username in ((beta, "admin"), (OPERATOR, "officer")):
        answer = await app.http.get(url, headers=await app.auth(tenant, username))
        assert problem(answer) == "not-found"
        assert answer.json()["detail"] == "There is no such log."
    for tenant, username in ((alpha, "reader"), (OPERATOR, "operator")):
        answer = await app.http.get(url, headers=await app.auth(tenant, username))
        assert problem(answer) == "forbidden"
