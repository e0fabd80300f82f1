"""Targets of every kind, as their contract suite wants them.

The gate of these connectors reaches this machine, which only a dialer that is handed in can do.
"""

from __future__ import annotations

import atexit
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

import httpx
from azure.storage.blob import BlobServiceClient, generate_container_sas
from pydantic import SecretStr

from shared.adapters.external.dialing import Dialer
from shared.adapters.external.targets import ExternalTargets
from shared.adapters.memory.targets import MemoryTargets
from shared.ports.clock import Runtime, SystemClock, system_entropy
from shared.ports.targets import TargetAddress, TargetCredentials, TargetStore
from tests.support.contract.azure import machine
from tests.support.emulators.front import ACCOUNT, ACCOUNT_KEY
from tests.support.emulators.objectstores import GoogleFront, S3Server

RUNTIME = Runtime(SystemClock(), system_entropy)
LOCAL = Dialer(allows=lambda _: True, ports=None)
S3_CREDENTIALS = TargetCredentials(
    access_key_id=SecretStr("AKIAEXAMPLE"), secret_access_key=SecretStr("s3cr3t-of-the-test")
)


@dataclass
class TargetsHarness:
    """``beside`` opens a target of the same bucket with another prefix."""

    store: TargetStore
    now: Callable[[], datetime]
    beside: Callable[[str], TargetStore]


@lru_cache(maxsize=1)
def s3_server() -> S3Server:
    """moto's S3, started once a process."""
    server = S3Server(machine().certificate).start()
    atexit.register(server.stop)
    return server


def new_bucket() -> str:
    """A fresh bucket in it."""
    name = f"bucket-{uuid.uuid4().hex}"
    context = machine().certificate.client_context()
    httpx.put(f"{s3_server().url}/{name}", verify=context).raise_for_status()
    return name


def external_targets(dialer: Dialer = LOCAL, runtime: Runtime = RUNTIME) -> ExternalTargets:
    """A connector that reaches this machine and trusts its emulators."""
    pem = machine().certificate.certificate.read_text()
    return ExternalTargets(runtime, None, dialer=dialer, certificate=pem)


@asynccontextmanager
async def folder(path: Path) -> AsyncIterator[TargetsHarness]:
    connector = ExternalTargets(RUNTIME, path)

    def beside(prefix: str) -> TargetStore:
        address = TargetAddress(kind="folder", bucket="box", prefix=prefix)
        return connector.open("ten_a", address, TargetCredentials())

    yield TargetsHarness(beside("strongroom/"), RUNTIME.now, beside)
    await connector.close()


@asynccontextmanager
async def memory(_path: Path) -> AsyncIterator[TargetsHarness]:
    connector = MemoryTargets(RUNTIME)

    def beside(prefix: str) -> TargetStore:
        address = TargetAddress(kind="s3", bucket="box", prefix=prefix, region="eu-central-1")
        return connector.open("ten_a", address, S3_CREDENTIALS)

    yield TargetsHarness(beside("strongroom/"), RUNTIME.now, beside)
    await connector.close()


@asynccontextmanager
async def opened(
    address: TargetAddress, credentials: TargetCredentials
) -> AsyncIterator[TargetsHarness]:
    """A target in an object store on this machine, below the prefix ``strongroom/``."""
    connector = external_targets()
    stores = []

    def beside(prefix: str) -> TargetStore:
        moved = address.model_copy(update={"prefix": prefix})
        stores.append(connector.open("ten_a", moved, credentials))
        return stores[-1]

    try:
        yield TargetsHarness(beside("strongroom/"), RUNTIME.now, beside)
    finally:
        for store in stores:
            await store.close()
        await connector.close()


@asynccontextmanager
async def s3(_path: Path) -> AsyncIterator[TargetsHarness]:
    address = TargetAddress(
        kind="s3", bucket=new_bucket(), endpoint=s3_server().url, region="us-east-1"
    )
    async with opened(address, S3_CREDENTIALS) as harness:
        yield harness


@asynccontextmanager
async def google(_path: Path) -> AsyncIterator[TargetsHarness]:
    front = GoogleFront(s3_server().port, machine().certificate).start()
    address = TargetAddress(kind="google-cloud-storage", bucket=new_bucket(), endpoint=front.url)
    credentials = TargetCredentials(service_account=SecretStr(front.service_account()))
    try:
        async with opened(address, credentials) as harness:
            yield harness
        assert len(front.tokens) <= 2  # one a target, not one a request
    finally:
        front.stop()


def new_container() -> TargetAddress:
    """A fresh container in Azurite."""
    url = f"https://127.0.0.1:{machine().azurite()}/{ACCOUNT}"
    name = f"target-{uuid.uuid4().hex}"
    certificate = str(machine().certificate.certificate)
    with BlobServiceClient(url, ACCOUNT_KEY, connection_verify=certificate) as service:
        service.create_container(name)
    return TargetAddress(kind="azure-blob", bucket=name, endpoint=url, account=ACCOUNT)


def container_sas(address: TargetAddress, permission: str) -> TargetCredentials:
    """A shared access signature for a container, for an hour."""
    token = generate_container_sas(
        ACCOUNT,
        address.bucket,
        account_key=ACCOUNT_KEY,
        permission=permission,
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    return TargetCredentials(sas_token=SecretStr(token))


@asynccontextmanager
async def azure_key(_path: Path) -> AsyncIterator[TargetsHarness]:
    credentials = TargetCredentials(account_key=SecretStr(ACCOUNT_KEY))
    async with opened(new_container(), credentials) as harness:
        yield harness


@asynccontextmanager
async def azure_sas(_path: Path) -> AsyncIterator[TargetsHarness]:
    address = new_container()
    async with opened(address, container_sas(address, "rwdl")) as harness:
        yield harness
