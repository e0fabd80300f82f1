"""Probes: the step that fails first is named, with what to do; nothing is left behind."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from shared.adapters.external.dialing import Dialer
from shared.adapters.external.targets import ExternalTargets
from shared.ports.clock import Runtime, SystemClock, system_entropy
from shared.ports.targets import ProbeResult, TargetAddress, TargetStore
from tests.support.contract.azure import machine
from tests.support.contract.targets import S3_CREDENTIALS, new_bucket, s3_server
from tests.support.emulators.objectstores import S3Front
from tests.support.emulators.servers import Fault, FaultProxy, Request, Response
from tests.support.emulators.tls import Certificate, make_certificate

pytestmark = pytest.mark.anyio

RUNTIME = Runtime(SystemClock(), system_entropy)
STEPS = ["resolve", "connect", "tls", "write", "read", "delete"]


async def here(_name: str) -> Sequence[str]:
    return ["127.0.0.1"]


def dialer(**changed: object) -> Dialer:
    settings: dict[str, object] = {"resolver": here, "allows": lambda _: True, "ports": None}
    return Dialer(**(settings | {"timeout": 5.0} | changed))  # type: ignore[arg-type]


@asynccontextmanager
async def target(
    url: str, certificate: Certificate | None, bucket: str = "bucket", **changed: object
) -> AsyncIterator[TargetStore]:
    pem = certificate.certificate.read_text() if certificate else ""
    connector = ExternalTargets(RUNTIME, None, dialer=dialer(**changed), certificate=pem)
    address = TargetAddress(kind="s3", bucket=bucket, endpoint=url, prefix="backups/")
    store = connector.open("ten_a", address, S3_CREDENTIALS)
    yield store
    await store.close()
    await connector.close()


def failed(results: Sequence[ProbeResult]) -> ProbeResult:
    """The last result, which is the first that failed."""
    assert [result.step for result in results] == STEPS[: len(results)]
    assert [result.ok for result in results] == [True] * (len(results) - 1) + [False]
    assert [result.detail for result in results[:-1]] == [""] * (len(results) - 1)
    return results[-1]


@pytest.fixture
def front() -> Iterator[FaultProxy]:
    """moto's S3, made to fail."""
    made = S3Front(s3_server().port, machine().certificate).start()
    yield made
    made.stop()


async def test_a_name_that_does_not_resolve():
    async def nowhere(_name: str) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    async with target("https://nowhere.example.com", None, resolver=nowhere) as store:
        found = failed(await store.probe())
    assert (found.step, found.detail) == (
        "resolve",
        "The name cannot be resolved; check its spelling.",
    )


async def test_a_name_that_is_at_a_private_address():
    inside = "https://inside.example.com"
    async with target(inside, None, allows=Dialer().allows) as store:
        found = failed(await store.probe())
    assert (found.step, found.detail) == ("resolve", "The host is not at a public address.")


async def test_a_host_that_refuses():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        async with target(f"https://127.0.0.1:{closed.getsockname()[1]}", None) as store:
            found = failed(await store.probe())
    assert found.step == "connect"
    assert found.detail == "The host refused the connection; check its name and its firewall."


async def test_a_host_that_does_not_respond():
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for client in (first, second):  # whoever comes after them is left waiting
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        url = f"https://127.0.0.1:{full.getsockname()[1]}"
        async with target(url, None, timeout=0.1) as store:
            found = failed(await store.probe())
    assert found.step == "connect"
    assert found.detail == "The host did not respond in time; check its name and its firewall."


@asynccontextmanager
async def listening(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], object],
    certificate: Certificate | None = None,
) -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            handle(reader, writer)
            await reader.read()
        except OSError:
            return
        finally:
            writer.transport.abort()

    context = certificate.server_context() if certificate else None
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    yield f"https://store.example.com:{server.sockets[0].getsockname()[1]}"
    server.close()


async def test_a_host_that_speaks_something_else():
    greeting = b"SSH-2.0-OpenSSH_9.2\r\n"
    serving = listening(lambda _, writer: writer.write(greeting))
    async with serving as url, target(url, None) as store:
        found = failed(await store.probe())
    assert (found.step, found.detail) == ("tls", "The host does not speak TLS 1.2 or later.")


async def test_a_host_that_never_begins_tls():
    async with listening(lambda *_: None) as url, target(url, None, timeout=0.1) as store:
        found = failed(await store.probe())
    assert (found.step, found.detail) == ("tls", "The host did not begin TLS in time.")


@pytest.mark.parametrize(
    ("names", "valid_until", "trusted", "detail"),
    [
        (["store.example.com"], timedelta(days=1), False, "not of an authority that is trusted."),
        (["other.example.com"], timedelta(days=1), True, "for another name."),
        (["store.example.com"], timedelta(hours=-1), True, "expired."),
    ],
)
async def test_a_certificate_that_will_not_do(tmp_path, names, valid_until, trusted, detail):
    certificate = make_certificate(tmp_path, *names, valid_until=valid_until)
    serving = listening(lambda *_: None, certificate)
    async with serving as url, target(url, certificate if trusted else None) as store:
        found = failed(await store.probe())
    assert found.step == "tls"
    assert found.detail.startswith("The host's certificate ")
    assert found.detail.endswith(detail)


DENIED = b"<Error><Code>AccessDenied</Code></Error>"


@pytest.mark.parametrize(
    ("method", "step", "detail"),
    [
        ("PUT", "write", "The credentials do not allow to write objects."),
        ("GET", "read", "The credentials do not allow to read objects."),
        ("DELETE", "delete", "The credentials do not allow to delete objects."),
    ],
)
async def test_a_permission_that_is_missing(front, method, step, detail):
    front.answer(403, times=100, method=method, body=DENIED)
    bucket = new_bucket()
    async with target(front.url, machine().certificate, bucket) as store:
        found = failed(await store.probe())
    assert found.step == step
    async with target(s3_server().url, machine().certificate, bucket) as store:
        left = [info.name async for info in store.list()]
    if step == "delete":
        [name] = left
        assert found.detail == f"{detail} The object {name} was left; delete it."
    else:
        assert (found.detail, left) == (detail, [])


async def test_lists_that_are_denied_or_lack_what_was_written(front):
    bucket = new_bucket()
    answers = [(403, DENIED), (200, b"<ListBucketResult></ListBucketResult>")]
    for status, body in answers:
        front.for_target(
            "list-type=2&prefix=backups%2F",
            method="GET",
            fault=lambda proxy, s=status, b=body: proxy.answer(s, body=b),
        )
    async with target(front.url, machine().certificate, bucket) as store:
        details = [failed(await store.probe()).detail for _ in answers]
        assert [info async for info in store.list()] == []
    assert details == [
        "The credentials do not allow to list objects.",
        "The target does not list what was written.",
    ]
    assert front.pending_faults == 0


async def test_content_that_comes_back_changed(front):
    front.arm(
        Fault(
            1, lambda request: "/probe-" in request.target and request.method == "GET", damaged=True
        )
    )
    async with target(front.url, machine().certificate, new_bucket()) as store:
        found = failed(await store.probe())
        assert [info async for info in store.list()] == []
    assert found.detail == "The target gave back something else than was written."


async def test_a_bucket_that_does_not_exist(front):
    async with target(front.url, machine().certificate, "no-such-bucket") as store:
        found = failed(await store.probe())
    assert found.step == "write"
    assert found.detail == (
        "The bucket or container does not exist; create it, or correct its name."
    )


async def test_a_bucket_of_another_region(front):
    body = b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>"
    front.answer(400, times=100, body=body)
    async with target(front.url, machine().certificate) as store:
        found = failed(await store.probe())
    assert found.step == "write"
    assert found.detail == (
        "The bucket is in another region, or at another endpoint; correct the region."
    )


async def test_a_write_whose_response_is_lost_leaves_nothing(front):
    bucket = new_bucket()
    front.lose_answers(times=100, method="PUT")
    async with target(front.url, machine().certificate, bucket) as store:
        assert failed(await store.probe()).step == "write"
        assert [info async for info in store.list()] == []


async def test_a_probe_that_is_cancelled_leaves_nothing(front):
    bucket = new_bucket()
    written = asyncio.Event()
    loop = asyncio.get_running_loop()
    upstream: Callable[[Request], Response] = front.handle

    def hold(request: Request) -> Response:
        if request.method == "GET":
            loop.call_soon_threadsafe(written.set)
        return upstream(request)

    front.hang(method="GET")
    front.handle = hold
    async with target(front.url, machine().certificate, bucket) as store:
        probing = asyncio.create_task(store.probe())
        await written.wait()
        probing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probing
        assert [info async for info in store.list()] == []
