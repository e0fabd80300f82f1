"""Every call to the store of backups fails once, and for good; and an intruder tries to undo backups.

The intruder has the identity of the app, and with it every right that the app has on the container. The
rules that stop them are those of ``tests.support.emulators.immutability``, a model of the service:
Azurite has none of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import ImmutabilityPolicy
from azure.storage.blob.aio import BlobClient

from shared.adapters.azure.write_once import AzureWriteOnce
from shared.base.errors import Conflict, InternalError, NotFound, Retained, Unavailable
from tests.support.clock import FakeClock
from tests.support.emulators.servers import Request
from tests.support.faults.cases import FAULTS

pytestmark = pytest.mark.anyio

WHOLE = bytes(range(256)) * 20_000
HOUR = timedelta(hours=1)


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def content(backup: AzureWriteOnce, name: str = "old") -> bytes:
    return b"".join([piece async for piece in backup.get(name)])


async def names(backup: AzureWriteOnce) -> list[str]:
    return [info.name async for info in backup.list()]


@pytest.fixture
async def date(backup, present):
    """The date of ``old``, an object of two blocks."""
    date = present.now() + HOUR
    await backup.put("old", pieces(WHOLE), retain_until=date)
    return date


async def assert_untouched(backup, date) -> None:
    assert await content(backup) == WHOLE
    info = await backup.head("old")
    assert (info.size, info.retain_until) == (len(WHOLE), date)
    assert [info async for info in backup.list("old")] == [info]


async def put(backup: AzureWriteOnce, clock: FakeClock) -> None:
    date = clock.now() + HOUR
    assert await backup.put("new", pieces(WHOLE), retain_until=date) == len(WHOLE)
    assert await content(backup, "new") == WHOLE
    assert (await backup.head("new")).retain_until == date


async def get(backup: AzureWriteOnce, _clock: FakeClock) -> None:
    assert await content(backup) == WHOLE


async def head(backup: AzureWriteOnce, clock: FakeClock) -> None:
    assert (await backup.head("old")).retain_until == clock.now() + HOUR


async def listing(backup: AzureWriteOnce, _clock: FakeClock) -> None:
    assert await names(backup) == ["old"]


async def extend(backup: AzureWriteOnce, clock: FakeClock) -> None:
    await backup.extend("old", clock.now() + 2 * HOUR)
    assert (await backup.head("old")).retain_until == clock.now() + 2 * HOUR


async def delete(backup: AzureWriteOnce, clock: FakeClock) -> None:
    clock.advance(3_600)
    await backup.delete("old")
    assert await names(backup) == []


async def copy(backup: AzureWriteOnce, clock: FakeClock) -> None:
    date = clock.now() + HOUR
    source = backup._blobs
    assert await backup.copy_from(source, "old", "copy", retain_until=date) == len(WHOLE)
    assert await content(backup, "copy") == WHOLE
    assert (await backup.head("copy")).retain_until == date


CALLS = [put, get, head, listing, extend, delete, copy]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", CALLS)
async def test_a_call_that_fails_once_succeeds(
    backup, date, backup_proxy, present, operation, fault
):
    FAULTS[fault](backup_proxy)
    await operation(backup, present)
    assert backup_proxy.pending_faults == 0


COMMITS = {"comp=blocklist": (put, "PUT"), "comp=immutabilityPolicies": (extend, "PUT")}
COMMITS["/old"] = (delete, "DELETE")
COMMITS["versionid="] = (delete, "DELETE")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("part", COMMITS)
async def test_a_change_that_fails_once_takes_effect_once(
    backup, date, backup_proxy, present, part, fault
):
    operation, method = COMMITS[part]
    armed = backup_proxy.for_target("", method=method, fault=FAULTS[fault])
    armed.matches = lambda request: (
        request.method == method
        and (part in request.target if "=" in part else request.target.endswith(part))
    )
    await operation(backup, present)
    assert armed.times == 0


@pytest.mark.parametrize("operation", CALLS)
async def test_an_account_that_refuses_connections_for_a_moment(
    backup, date, backup_proxy, present, waits, operation
):
    backup_proxy.stop()
    waits.meanwhile = backup_proxy.start
    await operation(backup, present)
    assert len(waits.seconds) == 1


@pytest.mark.parametrize("operation", CALLS)
async def test_an_account_that_stays_away_is_unavailable(
    backup, date, backup_proxy, present, operation
):
    backup_proxy.answer(503, times=100)
    with pytest.raises(Unavailable):
        await operation(backup, present)


@pytest.mark.parametrize("operation", CALLS[:6])
async def test_a_container_that_was_not_deployed_is_no_missing_object(
    clients, backup_proxy, present, operation
):
    elsewhere = AzureWriteOnce(clients, f"{backup_proxy.url}/devstoreaccount1", "absent", present)
    with pytest.raises(InternalError) as refusal:
        await operation(elsewhere, present)
    assert type(refusal.value) is InternalError


async def test_an_object_has_its_locked_date_from_the_first_moment(
    backup, backup_proxy, present, monkeypatch
):
    """The request that makes the object visible carries the date; no second one has to follow."""
    seen: list[Request] = []
    handle = backup_proxy.handle

    def watched(request: Request) -> object:
        seen.append(request)
        return handle(request)

    monkeypatch.setattr(backup_proxy, "handle", watched)
    await backup.put("new", pieces(WHOLE), retain_until=present.now() + HOUR)
    *staged, commit = [request for request in seen if request.method == "PUT"]
    assert all("comp=block&" in request.target for request in staged)
    assert commit.headers["x-ms-immutability-policy-mode"] == "Locked"
    assert "x-ms-immutability-policy-until-date" in commit.headers
    assert commit.headers["if-none-match"] == "*"
    [version] = backup_proxy.versions("new")
    assert (version.until, version.locked) == (present.now() + HOUR, True)


Attack = Callable[[BlobClient, str], Awaitable[object]]


async def _shorten(blob: BlobClient, version: str | None, mode: str) -> None:
    date = (await blob.get_blob_properties()).immutability_policy.expiry_time
    assert date is not None
    policy = ImmutabilityPolicy(expiry_time=date - timedelta(minutes=30), policy_mode=mode)
    await blob.set_immutability_policy(policy, version_id=version)


REFUSED: dict[str, Attack] = {
    "delete the version": lambda blob, version: blob.delete_blob(version_id=version),
    "remove the policy": lambda blob, _: blob.delete_immutability_policy(),
    "remove the version's policy": lambda blob, version: blob.delete_immutability_policy(
        version_id=version
    ),
    "shorten the policy": lambda blob, _: _shorten(blob, None, "Locked"),
    "shorten the version's policy": lambda blob, version: _shorten(blob, version, "Locked"),
    "unlock the policy": lambda blob, version: _shorten(blob, version, "Unlocked"),
    "change the metadata": lambda blob, _: blob.set_blob_metadata({"mark": "other"}),
}


@pytest.mark.parametrize("attack", REFUSED)
async def test_the_service_refuses(backup, date, backup_container, backup_proxy, attack):
    [version] = backup_proxy.versions("old")
    with pytest.raises(HttpResponseError):
        await REFUSED[attack](backup_container.get_blob_client("old"), version.id)
    await assert_untouched(backup, date)


async def _put_over(blob: BlobClient) -> None:
    await blob.upload_blob(b"junk", overwrite=True)


async def _put_over_often(blob: BlobClient) -> None:
    for _ in range(25):
        await _put_over(blob)


async def _delete_and_put(blob: BlobClient) -> None:
    await blob.delete_blob()
    await _put_over(blob)


async def _put_and_delete(blob: BlobClient) -> None:
    await _put_over(blob)
    await blob.delete_blob()


ALLOWED: dict[str, Callable[[BlobClient], Awaitable[object]]] = {
    "delete the blob": lambda blob: blob.delete_blob(),
    "put another over it": _put_over,
    "put more over it than one page lists": _put_over_often,
    "delete it and put another": _delete_and_put,
    "put another and delete that": _put_and_delete,
}


@pytest.mark.parametrize("attack", ALLOWED)
async def test_what_the_service_allows_with_the_name_changes_nothing(
    backup, date, backup_container, backup_proxy, present, attack
):
    await ALLOWED[attack](backup_container.get_blob_client("old"))
    await assert_untouched(backup, date)
    with pytest.raises(Retained):
        await backup.delete("old")
    with pytest.raises(Conflict):
        await backup.put("old", pieces(b"other"), retain_until=date)
    with pytest.raises(Conflict):
        await backup.copy_from(backup._blobs, "old", "old", retain_until=date)
    await backup.extend("old", date + HOUR)
    await assert_untouched(backup, date + HOUR)
    present.advance(7_200)
    await backup.delete("old")
    assert await names(backup) == []
    assert backup_proxy.versions("old") == []


async def test_a_version_with_a_date_of_its_own_delays_the_deletion_and_nothing_else(
    backup, date, backup_container, backup_proxy, present
):
    """Such as one that got the default of the account."""
    backup_proxy.default = 24 * HOUR
    await _put_over(backup_container.get_blob_client("old"))
    await assert_untouched(backup, date)
    present.advance(7_200)
    with pytest.raises(Retained):
        await backup.delete("old")
    await assert_untouched(backup, date)
    present.advance(22 * 3_600)
    await backup.delete("old")
    assert backup_proxy.versions("old") == []


async def test_a_clock_that_is_ahead_removes_nothing_that_the_service_retains(
    clients, backup, date, backup_proxy, backup_container, present
):
    ahead = FakeClock(present.now() + 48 * HOUR)
    account = f"{backup_proxy.url}/devstoreaccount1"
    hasty = AzureWriteOnce(clients, account, backup_container.container_name, ahead)
    with pytest.raises(Retained):
        await hasty.delete("old")
    await assert_untouched(backup, date)


async def test_a_clock_that_is_behind_waits(clients, backup, date, backup_proxy, present):
    behind = FakeClock(present.now())
    present.advance(7_200)
    account = f"{backup_proxy.url}/devstoreaccount1"
    slow = AzureWriteOnce(clients, account, backup_proxy.container, behind)
    with pytest.raises(Retained):
        await slow.delete("old")
    await assert_untouched(backup, date)


async def test_a_legal_hold_retains_too(backup, date, backup_proxy, present):
    present.advance(7_200)
    held = {"x-ms-error-code": "BlobImmutableDueToLegalHold"}
    backup_proxy.answer(409, method="DELETE", headers=held)
    with pytest.raises(Retained):
        await backup.delete("old")
    await assert_untouched(backup, date)


async def test_a_deletion_that_was_interrupted_is_finished_by_the_next(
    backup, date, backup_container, backup_proxy, present
):
    present.advance(3_600)
    await backup_container.get_blob_client("old").delete_blob()
    assert await names(backup) == ["old"]
    with pytest.raises(Conflict):
        await backup.put("old", pieces(b"other"), retain_until=present.now() + HOUR)
    await backup.delete("old")
    assert await names(backup) == []
    assert backup_proxy.versions("old") == []
    await backup.put("old", pieces(b"other"), retain_until=present.now() + HOUR)


async def test_what_was_written_without_a_date_is_not_retained(backup, backup_container, present):
    await backup_container.get_blob_client("junk").upload_blob(b"junk")
    info = await backup.head("junk")
    assert info.retain_until == info.modified_at
    present.advance(60)
    await backup.delete("junk")
    assert await names(backup) == []


async def test_an_extension_that_came_second_is_content_with_the_later_date(
    backup, date, backup_proxy, monkeypatch
):
    set_policy = backup_proxy._set_policy

    def overtaken(*called: object) -> object:
        [version] = backup_proxy.versions("old")
        version.until = date + 5 * HOUR
        return set_policy(*called)

    monkeypatch.setattr(backup_proxy, "_set_policy", overtaken)
    await backup.extend("old", date + HOUR)
    assert (await backup.head("old")).retain_until == date + 5 * HOUR


async def test_an_extension_that_the_service_refuses_is_an_error(backup, date, backup_proxy):
    armed = backup_proxy.for_target("", method="PUT", fault=lambda proxy: proxy.answer(400))
    armed.matches = lambda request: "comp=immutabilityPolicies" in request.target
    with pytest.raises(InternalError):
        await backup.extend("old", date + HOUR)
    await assert_untouched(backup, date)


async def test_pages_of_a_listing_may_end_between_the_versions_of_a_name(
    backup, backup_container, present, monkeypatch
):
    monkeypatch.setattr("shared.adapters.azure.write_once._LISTED_AT_ONCE", 3)
    date = present.now() + HOUR
    wanted = [f"ten_a/{number}" for number in range(4)]
    for name in wanted:
        await backup.put(name, pieces(name.encode()), retain_until=date)
        for _ in range(3):
            await _put_over(backup_container.get_blob_client(name))
    await backup_container.get_blob_client(wanted[1]).delete_blob()
    listed = [(info.name, info.size, info.retain_until) async for info in backup.list()]
    assert listed == [(name, len(name), date) for name in wanted]


async def test_an_object_that_is_deleted_while_it_is_read_is_not_found(backup, date, present):
    reading = backup.get("old")
    read = await anext(reading)
    present.advance(3_600)
    await backup.delete("old")
    with pytest.raises(NotFound):
        await anext(reading)
    assert read == WHOLE[: len(read)]


async def test_writers_and_intruders_at_once_leave_what_was_first(backup, date, backup_container):
    blob = backup_container.get_blob_client("old")
    calls = [_put_over(blob), backup.extend("old", date + HOUR), blob.delete_blob()]
    calls += [backup.delete("old"), backup.put("old", pieces(b"x"), retain_until=date)]
    await asyncio.gather(*calls, return_exceptions=True)
    await assert_untouched(backup, date + HOUR)
