"""Every call to Blob Storage fails once, and for good."""

from __future__ import annotations

import asyncio
import ssl
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.adapters.azure.blobs import AzureBlobs
from shared.adapters.azure.clients import AzureClients
from shared.base.errors import Conflict, InternalError, NotFound, Unavailable
from shared.ports.clock import SystemClock
from tests.support.contract.azure import machine
from tests.support.emulators.front import ACCOUNT_KEY
from tests.support.faults.cases import FAULTS

pytestmark = pytest.mark.anyio

WHOLE = bytes(range(256)) * 40_000


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def content(blobs: AzureBlobs, name: str, **part: int | None) -> bytes:
    return b"".join([piece async for piece in blobs.get(name, **part)])  # type: ignore[arg-type]


async def put(blobs: AzureBlobs) -> None:
    assert await blobs.put("new", pieces(WHOLE)) == len(WHOLE)
    assert await content(blobs, "new") == WHOLE


async def put_all(blobs: AzureBlobs) -> None:
    await blobs.put_all([("new", b"small")])
    assert await content(blobs, "new") == b"small"


async def get(blobs: AzureBlobs) -> None:
    assert await content(blobs, "old", start=5) == WHOLE[5:]


async def head(blobs: AzureBlobs) -> None:
    assert (await blobs.head("old")).size == len(WHOLE)


async def listing(blobs: AzureBlobs) -> None:
    assert [info.name async for info in blobs.list()] == ["old"]


async def delete(blobs: AzureBlobs) -> None:
    await blobs.delete("old")
    with pytest.raises(NotFound):
        await blobs.head("old")


async def copy(blobs: AzureBlobs) -> None:
    assert await blobs.copy_from(blobs, "old", "copy") == len(WHOLE)
    assert await content(blobs, "copy") == WHOLE


async def grant(blobs: AzureBlobs) -> None:
    expires_at = SystemClock().now() + timedelta(hours=1)
    granted = await blobs.grant_upload("staged", max_size=10, expires_at=expires_at)
    assert "skoid=" in granted.url


CALLS = [put, put_all, get, head, listing, delete, copy, grant]


@pytest.fixture
async def ready(blobs):
    """The adapter with one object of three blocks."""
    await blobs.put("old", pieces(WHOLE))
    return blobs


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", CALLS)
async def test_a_call_that_fails_once_succeeds(ready, blobs_proxy, operation, fault):
    FAULTS[fault](blobs_proxy)
    await operation(ready)
    assert blobs_proxy.pending_faults == 0


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", [put, copy])
async def test_a_commit_that_fails_once_takes_effect_once(ready, blobs_proxy, operation, fault):
    armed = blobs_proxy.for_target("comp=blocklist", method="PUT", fault=FAULTS[fault])
    await operation(ready)
    assert armed.times == 0


@pytest.mark.parametrize("operation", CALLS)
async def test_an_account_that_refuses_connections_for_a_moment(
    ready, blobs_proxy, waits, operation
):
    blobs_proxy.stop()
    waits.meanwhile = blobs_proxy.start
    await operation(ready)
    assert len(waits.seconds) == 1


async def test_an_account_that_goes_away_while_it_is_read_comes_back(ready, blobs_proxy, waits):
    reading = ready.get("old")
    read = await anext(reading)
    blobs_proxy.stop()
    waits.meanwhile = blobs_proxy.start
    read += b"".join([piece async for piece in reading])
    assert read == WHOLE


async def test_a_piece_that_arrives_damaged_is_read_again(ready, blobs_proxy, waits):
    damaged = blobs_proxy.damage_reads(1)
    assert await content(ready, "old") == WHOLE
    assert damaged.times == 0


async def test_a_lost_response_does_not_hide_another_writers_object(ready, blobs_proxy):
    blobs_proxy.for_target("comp=blocklist", method="PUT", fault=FAULTS["connection broken"])
    with pytest.raises(Conflict):
        await ready.put("old", pieces(b"mine"))
    assert await content(ready, "old") == WHOLE


async def test_a_put_whose_account_stays_away_leaves_nothing(ready, blobs_proxy, waits):
    blobs_proxy.answer(503, times=100, method="PUT")
    with pytest.raises(Unavailable):
        await ready.put("new", pieces(WHOLE))
    assert 0 < sum(waits.seconds) <= 30
    assert [info.name async for info in ready.list()] == ["old"]


async def test_a_longer_wait_than_a_caller_should_bear_is_passed_on(ready, blobs_proxy, waits):
    blobs_proxy.answer(503, headers={"Retry-After": "60"})
    with pytest.raises(Unavailable) as refusal:
        await ready.head("old")
    assert refusal.value.retry_after == 60
    assert waits.seconds == []


@pytest.mark.parametrize("operation", CALLS[:5])
async def test_a_container_that_was_not_deployed_is_no_missing_object(
    clients, blobs_proxy, operation
):
    account = f"{blobs_proxy.url}/devstoreaccount1"
    elsewhere = AzureBlobs(clients, account, "absent", SystemClock())
    with pytest.raises(InternalError) as refusal:
        await operation(elsewhere)
    assert type(refusal.value) is InternalError


@pytest.mark.parametrize(
    ("method", "code"),
    [("GET", "BlobArchived"), ("DELETE", "BlobImmutableDueToPolicy"), ("HEAD", "BlobArchived")],
)
async def test_a_conflict_of_another_kind_does_not_say_that_the_object_exists(
    ready, blobs_proxy, method, code
):
    blobs_proxy.answer(409, method=method, headers={"x-ms-error-code": code})
    operation = {"GET": get, "DELETE": delete, "HEAD": head}[method]
    with pytest.raises(InternalError) as refusal:
        await operation(ready)
    assert type(refusal.value) is InternalError


@pytest.mark.parametrize(("size", "fetches"), [(0, 0), (1, 1), (1_000_000, 1), (2_500_000, 3)])
async def test_the_service_copies_by_itself_where_it_may(
    blobs, blobs_proxy, monkeypatch, size, fetches
):
    monkeypatch.setattr("shared.adapters.azure.blobs._FETCHED_AT_ONCE", 1_000_000)
    await blobs.put("source", pieces(WHOLE[:size]))
    assert await blobs.copy_from(blobs, "source", "copy") == size
    assert await content(blobs, "copy") == WHOLE[:size]
    assert blobs_proxy.counts["copy"] == fetches


async def test_where_the_service_may_not_copy_the_content_passes_through(ready, blobs_proxy):
    blobs_proxy.copies = False
    await copy(ready)
    assert await ready.copy_from(ready, "old", "again") == len(WHOLE)
    assert blobs_proxy.counts["copy"] == 1


def send(url: str, method: str, headers: dict[str, str], body: bytes | None) -> int:
    request = urllib.request.Request(url, body, headers, method=method)
    trust: ssl.SSLContext = machine().certificate.client_context()
    try:
        with urllib.request.urlopen(request, context=trust) as response:
            return response.status  # type: ignore[no-any-return]
    except urllib.error.HTTPError as refusal:
        return refusal.code


@pytest.fixture(params=["delegation", "account key"])
async def grantor(request, blobs, blobs_proxy) -> AsyncIterator[AzureBlobs]:
    """The adapter with each of the two ways to sign a grant."""
    if request.param == "delegation":
        yield blobs
        return
    account = (
        "DefaultEndpointsProtocol=https;AccountName=devstoreaccount1;"
        f"AccountKey={ACCOUNT_KEY};BlobEndpoint={blobs_proxy.url}/devstoreaccount1;"
    )
    container = f"vault-{uuid.uuid4().hex}"
    clients = AzureClients()
    await clients.blob_service(account).create_container(container)
    yield AzureBlobs(clients, account, container, SystemClock())
    await clients.close()


async def test_a_grant_lets_its_holder_create_one_object_and_nothing_else(grantor):
    expires_at = SystemClock().now() + timedelta(minutes=10)
    granted = await grantor.grant_upload("upl_1", max_size=100, expires_at=expires_at)
    headers = dict(granted.headers)

    async def attempt(url: str, method: str, body: bytes | None = None) -> int:
        return await asyncio.to_thread(send, url, method, headers, body)

    assert await attempt(granted.url, granted.method, b"content") == 201
    assert await content(grantor, "upl_1") == b"content"
    assert await attempt(granted.url, granted.method, b"other") in (403, 409)
    assert await attempt(granted.url, "GET") == 403
    assert await attempt(granted.url, "DELETE") == 403
    assert await attempt(granted.url.replace("upl_1", "upl_2"), granted.method, b"x") == 403
    assert await content(grantor, "upl_1") == b"content"


async def test_the_coding_that_a_client_names_is_found(blobs):
    expires_at = SystemClock().now() + timedelta(minutes=10)
    for name, coding in (("upl_1", ""), ("upl_2", "gzip")):
        granted = await blobs.grant_upload(name, max_size=100, expires_at=expires_at)
        # Azure takes Content-Encoding for it as well; Azurite does not.
        headers = dict(granted.headers) | ({"x-ms-blob-content-encoding": coding} if coding else {})
        status = await asyncio.to_thread(send, granted.url, granted.method, headers, b"content")
        assert status == 201
        # With it the SDK would decompress what it reads, whatever it is.
        assert (await blobs.head(name)).coding == coding


async def test_a_grant_ends(blobs):
    expires_at = SystemClock().now() - timedelta(minutes=1)
    granted = await blobs.grant_upload("upl_1", max_size=100, expires_at=expires_at)
    assert send(granted.url, granted.method, dict(granted.headers), b"late") == 403


async def test_an_account_that_limits_how_long_grants_last_can_tell_that_this_one_fits(grantor):
    """Such an account wants a beginning, and counts what has none among its violations."""
    expires_at = SystemClock().now() + timedelta(minutes=10)
    granted = await grantor.grant_upload("upl_1", max_size=100, expires_at=expires_at)
    query = parse_qs(urlsplit(granted.url).query)
    begins, ends = (datetime.fromisoformat(query[field][0]) for field in ("st", "se"))
    assert timedelta() < ends - begins < timedelta(hours=1)


async def test_a_grant_names_the_gateway_in_front(clients, blobs_proxy, blobs):
    gateway = "https://uploads.example.com/staged"
    account = f"{blobs_proxy.url}/devstoreaccount1"
    store = AzureBlobs(clients, account, "vault", SystemClock(), public_base_url=gateway)
    expires_at = SystemClock().now() + timedelta(minutes=10)
    granted = await store.grant_upload("ten/upl_1", max_size=100, expires_at=expires_at)
    assert granted.url.startswith(gateway + "/vault/ten/upl_1?")


@pytest.mark.parametrize(
    "account",
    [
        "AccountName=a;AccountKey=aw==;BlobEndpoint=https://a.blob.core.windows.net;",
        "AccountName=a;AccountKey=aw==;EndpointSuffix=core.windows.net;",
    ],
)
async def test_a_connection_string_that_leads_away_is_refused(clients, account):
    with pytest.raises(InternalError):
        clients.blob_service(account)
