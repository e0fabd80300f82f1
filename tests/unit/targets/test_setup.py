"""Setting up: probed first, written once, never in place of another; secrets sealed and bound."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from pydantic import SecretStr, ValidationError

from shared.base.errors import (
    Conflict,
    Forbidden,
    IdempotencyKeyReused,
    InvalidInput,
    NotFound,
    PreconditionFailed,
    StrongroomError,
    Unavailable,
)
from shared.base.partitions import Partition
from shared.journal.idempotency import IdempotencyKey
from shared.ports.records import Record, Replace
from shared.ports.targets import ProbeStep, TargetAddress, TargetCredentials
from shared.targets.errors import TargetChangedError, TargetUnusableError
from shared.targets.models import MAX_TARGETS
from shared.targets.requests import Recovery, TargetChange
from tests.support.audit import entries as entries_of
from tests.support.keys import TENANT, KilledError
from tests.support.targets import (
    ADMINISTRATOR,
    CREDENTIALS,
    HOLDERS,
    RECIPIENTS,
    SECRET,
    TargetData,
    TargetProcess,
    new_target,
    opened,
)

pytestmark = pytest.mark.anyio

STEPS: list[ProbeStep] = ["resolve", "connect", "tls", "write", "read", "delete"]
OTHERS = TargetCredentials(
    access_key_id=SecretStr("AKIAOTHER"), secret_access_key=SecretStr("another secret")
)


def key(value: str = "a key of the client's") -> IdempotencyKey:
    return IdempotencyKey(TENANT, "targets", value)


async def refusals(process: TargetProcess) -> list[tuple[str, str]]:
    """What the audit log says was refused or failed: actions and reasons."""
    audit = process.documents.audit
    await audit.log.append_pending(Partition(TENANT))
    page = await entries_of(audit.reader, ADMINISTRATOR, limit=200)
    return [(i.entry.action.value, i.entry.reason) for i in page.items if i.entry.reason]


async def test_a_target_says_what_it_is_in_clear(data: TargetData) -> None:
    process = data.start()
    described = await process.services.targets.create(ADMINISTRATOR, new_target(), None)
    assert [(step.step, step.ok) for step in described.steps] == [(step, True) for step in STEPS]
    assert data.objects().keys() == {"strongroom.json"}
    assert json.loads(data.objects()["strongroom.json"]) == {
        "format": "strongroom-target/1",
        "environment": "development",
        "tenant": TENANT,
        "recipients": list(RECIPIENTS),
        "quorum": 1,
        "holders": 3,
        "segment_size": 1_048_576,
        "key_template": "AES256_GCM_HKDF_1MB",
    }


async def test_a_quorum_gets_shares_and_one_recipient(data: TargetData) -> None:
    process = data.start()
    await process.create(new_target(quorum=3))
    manifest = json.loads(data.objects()["strongroom.json"])
    assert "recipients" not in manifest
    assert manifest["recipient"] not in RECIPIENTS
    assert (manifest["quorum"], manifest["holders"]) == (3, 3)
    for number, holder in enumerate(HOLDERS, start=1):
        share = opened(data.objects()[f"holders/{number}.age"], holder)
        assert set(share) == {"index", "threshold", "share"}
        assert (share["index"], share["threshold"]) == (number, 3)


async def test_without_recovery_keys_there_is_no_recipient(data: TargetData) -> None:
    process = data.start()
    await process.create(replace(new_target(), recovery=None))
    manifest = json.loads(data.objects()["strongroom.json"])
    assert (manifest["recipients"], manifest["quorum"], manifest["holders"]) == ([], 0, 0)


@pytest.mark.parametrize("step", STEPS)
async def test_a_step_that_fails_refuses_the_target_and_is_named(
    data: TargetData, step: ProbeStep
) -> None:
    process = data.start()
    with (
        data.outage(step, Forbidden("The credentials do not allow this.")),
        pytest.raises(TargetUnusableError) as refusal,
    ):
        await process.create()
    assert [each.step for each in refusal.value.steps] == STEPS[: STEPS.index(step) + 1]
    assert [each.ok for each in refusal.value.steps][-1] is False
    assert step in refusal.value.detail
    assert data.objects() == {}
    assert (await process.services.targets.all(ADMINISTRATOR)).items == []
    assert await refusals(process) == [("target.create", "target-unusable")]
    await process.create()  # the place is free


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"recovery": Recovery(recipients=RECIPIENTS, quorum=4)}, "quorum"),
        ({"recovery": Recovery(recipients=RECIPIENTS[:1] * 2)}, "once"),
        ({"bytes_per_second": 1}, "limit"),
        ({"credentials": TargetCredentials(account_key=SecretStr("x"))}, "secret_access_key"),
        ({"address": TargetAddress(kind="s3", bucket="UPPER")}, "bucket"),
    ],
)
async def test_what_cannot_be_a_target_is_refused(
    data: TargetData, change: dict[str, object], fault: str
) -> None:
    process = data.start()
    with pytest.raises(InvalidInput, match=fault):
        await process.create(replace(new_target(), **change))  # type: ignore[arg-type]
    await process.create()


def test_a_recipient_that_is_none_is_refused_without_being_repeated() -> None:
    with pytest.raises(ValidationError) as refusal:
        Recovery(recipients=(str(HOLDERS[0]),))
    assert "X25519" in str(refusal.value.errors()[0]["msg"])
    assert str(HOLDERS[0]) not in str(refusal.value.errors()[0]["msg"])


async def test_a_place_that_was_a_target_is_not_written_over(data: TargetData) -> None:
    process = data.start()
    target = await process.set_up()
    await process.documents.create(b"content")
    await data.work(process)
    await process.services.targets.delete(ADMINISTRATOR, target.id)
    before = data.objects()
    with pytest.raises(Conflict, match=r"strongroom\.json"):
        await process.create()
    assert data.objects() == before


async def test_one_place_is_taken_once_however_many_ask(data: TargetData) -> None:
    processes = [data.start() for _ in range(4)]
    outcomes = await asyncio.gather(
        *(process.create() for process in processes), return_exceptions=True
    )
    errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert len(errors) == 3
    assert all(isinstance(error, Conflict) for error in errors)
    assert len((await processes[0].services.targets.all(ADMINISTRATOR)).items) == 1
    assert data.objects().keys() == {"strongroom.json"}


async def test_a_tenant_has_few_targets_however_many_are_asked_for(data: TargetData) -> None:
    outcomes = await asyncio.gather(
        *(data.start().create(new_target(f"bucket-{number}")) for number in range(MAX_TARGETS + 3)),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 3
    process = data.start()
    described = (await process.services.targets.all(ADMINISTRATOR)).items
    assert len(described) == MAX_TARGETS
    await process.services.targets.delete(ADMINISTRATOR, described[0].target.id)
    await process.create(new_target("bucket-again"))
    with pytest.raises(Conflict, match="at most"):
        await process.create(new_target("bucket-too-many"))


async def test_a_request_that_is_repeated_makes_one_target(data: TargetData) -> None:
    targets = data.start().services.targets
    first = await targets.create(ADMINISTRATOR, new_target(), key())
    second = await targets.create(ADMINISTRATOR, new_target(), key())
    assert first.target.id == second.target.id
    assert (second.tag, second.steps) == (first.tag, first.steps)
    with pytest.raises(IdempotencyKeyReused):
        await targets.create(ADMINISTRATOR, new_target("other"), key())
    with pytest.raises(IdempotencyKeyReused):
        await targets.create(ADMINISTRATOR, replace(new_target(), credentials=OTHERS), key())


async def test_a_process_that_is_killed_before_the_commit_reserves_the_place_for_minutes(
    data: TargetData,
) -> None:
    process = data.start()
    data.records.killed_before = "target"
    with pytest.raises(KilledError):
        await process.create()
    data.records.killed_before = ""
    # It has written there, and nobody can tell that from copies: another prefix it is.
    with pytest.raises(Conflict, match=r"strongroom\.json"):
        await data.start().create()
    elsewhere = new_target().address.model_copy(update={"prefix": "again/"})
    await data.start().create(replace(new_target(), address=elsewhere))


async def test_a_commit_that_fails_leaves_nothing_at_the_place(
    data: TargetData, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = data.start()

    async def conflicts(*_: object) -> None:
        raise Conflict("Setting up the target took too long; try again.")

    with monkeypatch.context() as slow:
        slow.setattr(type(process.services.targets.places), "keep", conflicts)
        with pytest.raises(Unavailable):
            await process.create(new_target(quorum=2))
    assert data.objects() == {}
    await process.create(new_target(quorum=2))


async def test_credentials_are_in_no_record(data: TargetData) -> None:
    process = data.start()
    target = await process.set_up()
    await process.services.targets.change(
        ADMINISTRATOR, target.id, TargetChange(credentials=OTHERS), None
    )
    everything = repr(data.records)
    assert target.id in everything
    for secret in (SECRET, "AKIAIOSFODNN7EXAMPLE", "another secret", "AKIAOTHER"):
        assert secret not in everything
    assert "copies" not in everything  # nor where the copies are
    assert SECRET not in repr(await process.described(target))


async def test_the_configuration_of_one_target_is_worthless_in_another(data: TargetData) -> None:
    """Who can write records can turn the copies neither to another place nor to another recipient."""
    process = data.start()
    one, other = await process.create(), await process.create(new_target("other"))
    store = process.services.targets.store
    mine, theirs = await store.find(one), await store.find(other)
    assert mine is not None
    assert theirs is not None
    swapped = mine.value.model_copy(update={"configuration": theirs.value.configuration})
    await data.records.commit(Partition(TENANT), [store.targets.replace(mine, swapped)])
    with pytest.raises(StrongroomError) as refusal:
        await data.start().described(one)
    assert refusal.value.slug == "damaged"
    await data.work(data.start())
    assert data.objects().keys() == {"strongroom.json"}


async def test_new_credentials_are_tried_before_they_are_kept(data: TargetData) -> None:
    process = data.start()
    target = await process.create()
    change = TargetChange(credentials=OTHERS)
    targets = process.services.targets
    with (
        data.outage("write", Forbidden("The credentials do not allow this.")),
        pytest.raises(TargetUnusableError),
    ):
        await targets.change(ADMINISTRATOR, target.id, change, None)
    assert (await process.described(target)).configuration.credentials == CREDENTIALS
    changed = await targets.change(ADMINISTRATOR, target.id, change, None)
    assert [step.step for step in changed.steps] == STEPS
    assert (await process.described(target)).configuration.credentials == OTHERS
    data.clock.advance(120)
    await process.services.timer.run()
    assert data.connector.opened[-1] == (OTHERS, 0)


async def test_credentials_that_lead_elsewhere_are_refused(data: TargetData) -> None:
    process = data.start()
    target = await process.create()
    data.connector.buckets["copies"].clear()
    with pytest.raises(TargetChangedError):
        await process.services.targets.change(
            ADMINISTRATOR, target.id, TargetChange(credentials=OTHERS), None
        )
    with pytest.raises(TargetChangedError):
        await process.services.targets.probe(ADMINISTRATOR, target.id)


async def test_a_change_needs_the_current_etag(data: TargetData) -> None:
    process = data.start()
    target = await process.create()
    targets = process.services.targets
    etag = (await process.described(target)).tag
    renamed = await targets.change(ADMINISTRATOR, target.id, TargetChange(name="New"), etag)
    assert renamed.target.name == "New"
    with pytest.raises(PreconditionFailed):
        await targets.change(ADMINISTRATOR, target.id, TargetChange(name="Newer"), etag)
    copied = await targets.read(ADMINISTRATOR, target.id)
    await process.documents.create(b"content")
    await data.work(process)
    # Copying changes how the target fares, not the target.
    assert (await process.described(target)).tag == copied.tag


async def test_a_probe_that_fails_changes_nothing(data: TargetData) -> None:
    process = data.start()
    target = await process.create()
    with (
        data.outage("connect", Unavailable("The target does not respond.")),
        pytest.raises(TargetUnusableError, match="connect"),
    ):
        await process.services.targets.probe(ADMINISTRATOR, target.id)
    assert await refusals(process) == [("target.probe", "target-unusable")]


async def test_what_is_not_there_is_not_found(data: TargetData) -> None:
    targets = data.start().services.targets
    nobody = "tgt_" + "0" * 26
    for call in (
        targets.read(ADMINISTRATOR, nobody),
        targets.change(ADMINISTRATOR, nobody, TargetChange(name="x"), None),
        targets.probe(ADMINISTRATOR, nobody),
        targets.delete(ADMINISTRATOR, nobody),
    ):
        with pytest.raises(NotFound):
            await call


async def test_a_configuration_of_another_form_is_damaged_and_is_not_quoted(
    data: TargetData,
) -> None:
    process = data.start()
    target = await process.create()
    configurations = process.services.targets.setup.connections.configurations
    stored = await process.services.targets.store.find(target)
    assert stored is not None
    sealed = await configurations.seal(TENANT, target.id, _Odd())  # type: ignore[arg-type]
    odd = stored.value.model_copy(update={"configuration": sealed.sealed, "epoch": sealed.epoch})
    record = replace(stored.record, body=odd.model_dump(mode="json"))
    assert isinstance(record, Record)
    await data.records.commit(Partition(TENANT), [Replace(record)])
    with pytest.raises(StrongroomError, match="damaged") as refusal:
        await process.described(target)
    assert refusal.value.__cause__ is None
    assert SECRET not in repr(refusal.value.__context__) or refusal.value.__suppress_context__


class _Odd:
    def with_secrets(self) -> dict[str, object]:
        return {"credentials": {"secret_access_key": SECRET}}
