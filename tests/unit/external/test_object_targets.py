"""Attacks on targets in object stores through the real client, and what it says of services that fail."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from pydantic import SecretStr

from shared.adapters.external.addresses import IPAddress
from shared.adapters.external.dialing import Dialer
from shared.adapters.external.targets import ExternalTargets
from shared.base.buffers import Buffer
from shared.base.errors import Forbidden, InvalidInput, NotFound, StrongroomError, Unavailable
from shared.ports.clock import Runtime, SystemClock, system_entropy
from shared.ports.targets import TargetAddress, TargetCredentials, TargetKind, TargetStore
from tests.support.contract.targets import S3_CREDENTIALS, new_bucket, opened, s3_server
from tests.support.emulators.objectstores import GoogleFront
from tests.support.emulators.servers import HttpServer, Request, Response
from tests.support.emulators.tls import Certificate, make_certificate

pytestmark = pytest.mark.anyio

RUNTIME = Runtime(SystemClock(), system_entropy)
MEBIBYTE = 1_048_576
SECRETS = ("s3cr3t-of-the-test", "AKIAEXAMPLE", "Signature", "127.0.0.1", "store.example")
ACCOUNT_KEY = "c2VjcmV0IG9mIHRoZSB0ZXN0"


class Service(HttpServer):
    """An object store that answers everything with one response, or with a function's."""

    def __init__(self, certificate: Certificate | None) -> None:
        super().__init__(certificate)
        self.requests: list[Request] = []
        self.answer: Response | Callable[[Request], Response] = Response(200)

    def handle(self, request: Request) -> Response:
        self.requests.append(request)
        return self.answer if isinstance(self.answer, Response) else self.answer(request)


def xml(status: int, code: str, **headers: str) -> Response:
    body = f"<Error><Code>{code}</Code><Message>the message of the service</Message></Error>"
    return Response(status, body.encode(), {"Content-Type": "application/xml", **headers})


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"), "store.example.com", "*.example.com")


@pytest.fixture
def service(certificate: Certificate) -> Iterator[Service]:
    made = Service(certificate).start()
    yield made
    made.stop()


@pytest.fixture
def connector(certificate: Certificate) -> Callable[..., ExternalTargets]:
    def make(**changed: object) -> ExternalTargets:
        settings: dict[str, object] = {"allows": lambda _: True, "ports": None} | changed
        pem = certificate.certificate.read_text()
        return ExternalTargets(RUNTIME, None, dialer=Dialer(**settings), certificate=pem)  # type: ignore[arg-type]

    return make


@asynccontextmanager
async def target(
    connector: ExternalTargets, url: str, *, kind: TargetKind = "s3", **changed: object
) -> AsyncIterator[TargetStore]:
    """A target at a URL, of whatever kind."""
    fields: dict[str, object] = {"kind": kind, "bucket": "bucket", "endpoint": url} | changed
    credentials = S3_CREDENTIALS
    if kind == "azure-blob":
        fields["account"] = "account"
        credentials = TargetCredentials(account_key=SecretStr(ACCOUNT_KEY))
    store = connector.open("ten_a", TargetAddress.model_validate(fields), credentials)
    yield store
    await store.close()
    await connector.close()


async def stream(*chunks: Buffer) -> AsyncIterator[Buffer]:
    for chunk in chunks:
        yield chunk


async def put(store: TargetStore) -> None:
    await store.put("ten_a/doc", stream(b"content"), 7)


async def get(store: TargetStore) -> bytes:
    return b"".join([piece async for piece in store.get("ten_a/doc")])


async def names(store: TargetStore) -> list[str]:
    return [info.name async for info in store.list()]


async def delete(store: TargetStore) -> None:
    await store.delete("ten_a/doc")


OPERATIONS = {"write": put, "read": get, "list": names, "delete": delete}
Operation = Callable[[TargetStore], object]


async def refused(store: TargetStore, doing: str) -> StrongroomError:
    """The error of an operation, which holds nothing that it must not."""
    with pytest.raises(StrongroomError) as raised:
        await OPERATIONS[doing](store)
    said = "".join(traceback.format_exception(raised.value)) + repr(raised.value)
    for secret in (*SECRETS, ACCOUNT_KEY, "the message of the service", "bucket/"):
        assert secret not in said
    return raised.value


# Where requests go


class Resolver:
    """Answers with one list after the other; the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, name: str) -> Sequence[str]:
        self.asked.append(name)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def is_the_first(address: IPAddress) -> bool:
    return address == ip_address("127.0.0.1")


@pytest.mark.parametrize("kind", ["s3", "azure-blob"])
async def test_a_name_that_moves_to_a_private_address_is_not_followed(service, connector, kind):
    resolver = Resolver(["127.0.0.1"], ["127.0.0.66"])
    service.answer = Response(200, headers={"ETag": '"1"', "Connection": "close"})
    made = connector(resolver=resolver, allows=is_the_first)
    async with target(made, f"https://store.example.com:{service.port}", kind=kind) as store:
        await put(store)
        error = await refused(store, "write")
    assert error.detail == "The host is not at a public address."
    assert set(resolver.asked) == {"store.example.com"}
    assert len(service.requests) == 1


@pytest.mark.parametrize("status", [302, 307, 308])
@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "https://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1:{plain}/",
        "https://127.0.0.66:{port}/",
        "https://metadata.internal.example:{port}/",
        "file:///etc/passwd",
    ],
)
@pytest.mark.parametrize("doing", ["write", "read"])
async def test_redirects_reach_nothing_private(
    service, connector, certificate, location, status, doing
):
    plain = Service(None).start()
    to = location.format(plain=plain.port, port=service.port)
    service.answer = Response(status, headers={"Location": to})
    resolver = Resolver(["127.0.0.66"])
    try:
        async with target(connector(resolver=resolver, allows=is_the_first), service.url) as store:
            assert isinstance(await refused(store, doing), Unavailable)
        assert plain.requests == []
        # Of what came back to the service, nothing was what the redirect asked for.
        assert {request.target for request in service.requests} == {"/bucket/ten_a/doc"}
    finally:
        plain.stop()


@pytest.mark.parametrize("kind", ["s3", "azure-blob", "google-cloud-storage"])
async def test_nothing_of_the_machines_own_settings_is_used(
    service, connector, certificate, monkeypatch, tmp_path, kind
):
    stranger = Service(certificate).start()
    there = stranger.url
    adc = tmp_path / ".config" / "gcloud" / "application_default_credentials.json"
    adc.parent.mkdir(parents=True)
    adc.write_text(
        '{"type":"authorized_user","client_id":"x","client_secret":"x","refresh_token":"x"}'
    )
    hostile = {
        "HOME": str(tmp_path),
        "HTTPS_PROXY": there,
        "https_proxy": there,
        "ALL_PROXY": there,
        "NO_PROXY": "*",
        "no_proxy": "*",
        "AWS_PROXY_URL": there,
        "AWS_PROXY_EXCLUDES": "*",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ENDPOINT": there,
        "AWS_ENDPOINT_URL": there,
        "AWS_ENDPOINT_URL_S3": there,
        "AWS_ACCESS_KEY_ID": "AKIAOFTHEMACHINE",
        "AWS_SECRET_ACCESS_KEY": "of the machine",
        "AWS_SESSION_TOKEN": "of-the-machine",
        "AWS_SKIP_SIGNATURE": "true",
        "AWS_S3_EXPRESS": "true",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": there,
        "AWS_METADATA_ENDPOINT": there,
        "AWS_REGION": "of-the-machine",
        "AZURE_STORAGE_ENDPOINT": there,
        "AZURE_ENDPOINT": there,
        "AZURE_STORAGE_ACCOUNT_NAME": "ofthemachine",
        "AZURE_STORAGE_ACCOUNT_KEY": "b2YgdGhlIG1hY2hpbmU=",
        "AZURE_STORAGE_TOKEN": "of-the-machine",
        "AZURE_STORAGE_USE_EMULATOR": "true",
        "AZURE_SKIP_SIGNATURE": "true",
        "AZURE_CLIENT_ID": "of-the-machine",
        "AZURE_TENANT_ID": "of-the-machine",
        "AZURE_FEDERATED_TOKEN_FILE": "/of/the/machine",
        "IDENTITY_ENDPOINT": there,
        "GOOGLE_BASE_URL": there,
        "GOOGLE_BUCKET": "of-the-machine",
        "GOOGLE_BEARER_TOKEN": "of-the-machine",
        "GOOGLE_SKIP_SIGNATURE": "true",
    }
    for name, value in hostile.items():
        monkeypatch.setenv(name, value)
    service.answer = Response(200, headers={"ETag": '"1"'})
    front = GoogleFront(service.port, certificate)
    google = TargetCredentials(service_account=SecretStr(front.service_account()))
    made = connector()
    try:
        if kind == "google-cloud-storage":
            address = TargetAddress(kind=kind, bucket="bucket", endpoint=service.url)
            await put(made.open("ten_a", address, google))
            await made.close()
        else:
            async with target(made, service.url, kind=kind, region="eu-west-9") as store:
                await put(store)
    finally:
        stranger.stop()
    assert stranger.requests == []
    [request] = service.requests
    assert request.target.split("/")[1] == "bucket"
    assert "machine" not in repr(request).lower()
    sent = request.headers["authorization"]
    expected = {
        "s3": "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/",
        "azure-blob": "SharedKey account:",
        "google-cloud-storage": "Bearer ey",
    }
    assert sent.startswith(expected[kind])
    assert kind != "s3" or "/eu-west-9/s3/" in sent


async def test_a_bucket_in_the_host_is_not_in_the_path(service, connector):
    service.answer = Response(200, headers={"ETag": '"1"'})
    made = connector(resolver=Resolver(["127.0.0.1"]))
    url = f"https://bucket.example.com:{service.port}"
    async with target(made, url, bucket_in_host=True) as store:
        await put(store)
    assert service.requests[0].target == "/ten_a/doc"
    assert service.requests[0].headers["host"] == f"bucket.example.com:{service.port}"


async def test_what_is_opened_as_in_production_cannot_reach_this_machine(service):
    made = ExternalTargets(RUNTIME, None)
    for url in (service.url, "https://127.0.0.1", "https://localhost", "http://store.example.com"):
        address = TargetAddress(kind="s3", bucket="bucket", endpoint=url)
        with pytest.raises(InvalidInput):
            made.open("ten_a", address, S3_CREDENTIALS)
    assert service.requests == []


# What errors mean


NO_BUCKET = "The bucket or container does not exist; create it, or correct its name."
OTHER_REGION = "The bucket is in another region, or at another endpoint; correct the region."
NOT_ACCEPTED = "The service does not accept the credentials; they are wrong or have expired."
FAULTS = {
    "no bucket": (xml(404, "NoSuchBucket"), Unavailable, NO_BUCKET),
    "no container": (xml(404, "ContainerNotFound"), Unavailable, NO_BUCKET),
    "redirect": (xml(301, "PermanentRedirect"), Unavailable, OTHER_REGION),
    "region": (xml(400, "AuthorizationHeaderMalformed"), Unavailable, OTHER_REGION),
    "bare redirect": (Response(301), Unavailable, OTHER_REGION),
    "who": (Response(401), Forbidden, NOT_ACCEPTED),
    "key id": (xml(403, "InvalidAccessKeyId"), Forbidden, NOT_ACCEPTED),
    "signature": (xml(403, "SignatureDoesNotMatch"), Forbidden, NOT_ACCEPTED),
    "shared key": (xml(403, "AuthenticationFailed"), Forbidden, NOT_ACCEPTED),
    "unknown code": (
        xml(409, "SomethingNew"),
        Unavailable,
        "The service responded with the status 409.",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("doing", OPERATIONS)
async def test_what_a_service_refuses_is_told_without_its_words(service, connector, doing, fault):
    service.answer, expected, detail = FAULTS[fault]
    async with target(connector(), service.url) as store:
        error = await refused(store, doing)
    assert type(error) is expected
    assert error.detail == detail


@pytest.mark.parametrize("doing", OPERATIONS)
async def test_what_credentials_do_not_allow_is_named(service, connector, doing):
    service.answer = xml(403, "AccessDenied")
    async with target(connector(), service.url) as store:
        error = await refused(store, doing)
    assert type(error) is Forbidden
    assert error.detail == f"The credentials do not allow to {doing} objects."


async def test_a_missing_object_is_not_found_and_a_write_that_is_not_found_has_no_bucket(
    service, connector
):
    service.answer = Response(404)
    async with target(connector(), service.url) as store:
        assert type(await refused(store, "read")) is NotFound
        await delete(store)
        assert (await refused(store, "write")).detail == NO_BUCKET


@pytest.mark.parametrize("doing", OPERATIONS)
async def test_a_service_that_fails_is_asked_a_few_times_and_no_more(service, connector, doing):
    service.answer = Response(500)
    async with target(connector(), service.url) as store:
        error = await refused(store, doing)
    assert type(error) is Unavailable
    assert error.detail == "The service responded with the status 500."
    assert 2 <= len(service.requests) <= 4


@pytest.mark.parametrize("doing", OPERATIONS)
async def test_a_host_that_cannot_be_reached_is_told_by_the_gate(service, connector, doing):
    url = service.url
    service.stop()
    async with target(connector(), url) as store:
        error = await refused(store, doing)
    service.start()
    assert type(error) is Unavailable
    assert error.detail == ("The host refused the connection; check its name and its firewall.")


async def test_a_certificate_that_is_not_trusted_is_told(service):
    made = ExternalTargets(RUNTIME, None, dialer=Dialer(allows=lambda _: True, ports=None))
    async with target(made, service.url) as store:
        error = await refused(store, "write")
    assert type(error) is Unavailable
    assert error.detail == "The host's certificate is not trusted, or is for another name."
    assert service.requests == []


async def test_an_object_that_is_replaced_while_it_is_read_is_noticed(tmp_path: Path):
    address = TargetAddress(
        kind="s3", bucket=new_bucket(), endpoint=s3_server().url, region="us-east-1"
    )
    async with opened(address, S3_CREDENTIALS) as harness:
        for seed in (b"a", b"b"):
            whole = seed * 9 * MEBIBYTE
            if seed == b"b":
                reading = harness.store.get("doc")
                assert await anext(reading) == b"a" * 5 * MEBIBYTE
            await harness.store.put("doc", stream(whole), len(whole))
        with pytest.raises(Unavailable, match="replaced"):
            await anext(reading)


async def test_a_list_of_a_beginning_does_not_read_all_that_is_there():
    address = TargetAddress(
        kind="s3", bucket=new_bucket(), endpoint=s3_server().url, region="us-east-1"
    )
    async with opened(address, S3_CREDENTIALS) as harness:
        for name in ("content/doc_1/1", "content/doc_2/1", "keys/doc_1/1", "strongroom.json"):
            await harness.store.put(name, stream(b"x"), 1)
        s3_server().requests.clear()
        for prefix, expected in {
            "strongroom.json": ["strongroom.json"],
            "content/doc_1": ["content/doc_1/1"],
            "con": ["content/doc_1/1", "content/doc_2/1"],
        }.items():
            assert [info.name async for info in harness.store.list(prefix)] == expected
    asked = [parse_qs(query) for _, query in s3_server().requests]
    assert [query["prefix"] for query in asked if "delimiter" not in query] == [
        ["strongroom/content/doc_1/"],
        ["strongroom/content/"],
    ]


async def test_a_put_that_is_cancelled_removes_its_parts():
    address = TargetAddress(
        kind="s3", bucket=new_bucket(), endpoint=s3_server().url, region="us-east-1"
    )
    half_way = asyncio.Event()

    async def endless() -> AsyncIterator[Buffer]:
        yield bytes(10 * MEBIBYTE)
        half_way.set()
        await asyncio.Event().wait()

    async with opened(address, S3_CREDENTIALS) as harness:
        s3_server().requests.clear()
        putting = asyncio.create_task(harness.store.put("doc", endless(), 20 * MEBIBYTE))
        await half_way.wait()
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
    requests = s3_server().requests
    begun = [query for method, query in requests if (method, query) == ("POST", "uploads=")]
    ended = [query for method, query in requests if method == "DELETE" and "uploadId=" in query]
    assert len(begun) == len(ended) == 1


async def test_puts_beyond_what_runs_at_once_wait_for_their_turn(service, connector):
    service.answer = Response(200, headers={"ETag": '"1"'})
    async with target(connector(), service.url) as store:
        await asyncio.gather(*(put(store) for _ in range(100)))
    assert len(service.requests) == 100
