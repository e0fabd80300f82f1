"""Addresses and credentials that can be a target's, and those that cannot."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from shared.adapters.external.dialing import Dialer
from shared.adapters.external.endpoints import (
    Endpoint,
    check_address,
    check_credentials,
    endpoint_of,
)
from shared.adapters.external.targets import ExternalTargets
from shared.base.errors import InvalidInput
from shared.ports.clock import Runtime, SystemClock, system_entropy
from shared.ports.targets import TargetAddress, TargetCredentials, TargetKind

RUNTIME = Runtime(SystemClock(), system_entropy)


def address(kind: TargetKind = "s3", **fields: Any) -> TargetAddress:
    return TargetAddress(**{"kind": kind, "bucket": "bucket", "account": ""} | fields)


def endpoint(made: TargetAddress) -> Endpoint:
    check_address(made)
    return endpoint_of(made, Dialer())


@pytest.mark.parametrize(
    ("made", "url", "bucket_in_host", "region"),
    [
        (
            address(region="eu-central-1"),
            "https://bucket.s3.eu-central-1.amazonaws.com",
            True,
            "eu-central-1",
        ),
        (
            address(region="eu-central-1", bucket="with.dots"),
            "https://s3.eu-central-1.amazonaws.com",
            False,
            "eu-central-1",
        ),
        (
            address(region="cn-north-1"),
            "https://bucket.s3.cn-north-1.amazonaws.com.cn",
            True,
            "cn-north-1",
        ),
        (address(endpoint="https://S3.Example.com/"), "https://s3.example.com", False, "us-east-1"),
        (
            address(endpoint="https://s3.example.com:443"),
            "https://s3.example.com:443",
            False,
            "us-east-1",
        ),
        (address(endpoint="https://8.8.8.8"), "https://8.8.8.8", False, "us-east-1"),
        (address(endpoint="https://[2606:4700::1]"), "https://[2606:4700::1]", False, "us-east-1"),
        (
            address(endpoint="https://bucket.example.com", bucket_in_host=True, region="auto"),
            "https://bucket.example.com",
            True,
            "auto",
        ),
        (
            address(endpoint="https://bucket.example.com"),
            "https://bucket.example.com",
            False,
            "us-east-1",
        ),
        (
            address("azure-blob", account="acme1"),
            "https://acme1.blob.core.windows.net",
            False,
            "",
        ),
        (
            address(
                "azure-blob", account="acme1", endpoint="https://acme1.blob.core.chinacloudapi.cn"
            ),
            "https://acme1.blob.core.chinacloudapi.cn",
            False,
            "us-east-1",
        ),
        (address("google-cloud-storage"), "https://storage.googleapis.com", False, ""),
    ],
)
def test_where_requests_go(made, url, bucket_in_host, region):
    found = endpoint(made)
    assert (found.url, found.bucket_in_host, found.region) == (url, bucket_in_host, region)
    assert found.port == 443
    assert found.host in url


@pytest.mark.parametrize(
    "url",
    [
        "http://s3.example.com",
        "ftp://s3.example.com",
        "s3.example.com",
        "//s3.example.com",
        "https://",
        "https://localhost",
        "https://strongroom",
        "https://127.0.0.1",
        "https://10.0.0.1",
        "https://169.254.169.254",
        "https://2130706433",
        "https://0x7f.1",
        "https://127.1",
        "https://0177.0.0.1",
        "https://[::1]",
        "https://[::ffff:8.8.8.8]",
        "https://[fe80::1%25eth0]",
        "https://user@s3.example.com",
        "https://user:password@s3.example.com",
        "https://s3.example.com@127.0.0.1",
        "https://s3.example.com:8443",
        "https://s3.example.com:80",
        "https://s3.example.com:0",
        "https://s3.example.com:99999",
        "https://s3.example.com:x",
        "https://s3.example.com?a=b",
        "https://s3.example.com#a",
        "https://s3.example.com/../admin",
        "https://s3.example.com/a%2fb",
        "https://s3.example.com\\@127.0.0.1",
        "https://s3.example.com\t.internal",
        "https://s3.exam\nple.com",
        " https://s3.example.com",
        "https://s3.ex\u0430mple.com",
        "https://\u2460.example.com",
        "https://exa\u3002mple.com",
    ],
)
def test_endpoints_that_are_refused(url):
    for kind in ("s3", "azure-blob", "google-cloud-storage"):
        account = "acme1" if kind == "azure-blob" else ""
        with pytest.raises(InvalidInput):
            endpoint(address(kind, endpoint=url, account=account))


@pytest.mark.parametrize(
    "made",
    [
        address(),  # AWS, and no region
        address(region="EU"),
        address(region="eu-1.evil.example/"),
        address(region="eu-1", bucket="ab"),
        address(region="eu-1", bucket="Bucket"),
        address(region="eu-1", bucket="a/b"),
        address(region="eu-1", bucket="a..b"),
        address(region="eu-1", bucket="evil.example/"),
        address(region="eu-1", bucket="bucket@evil"),
        address(region="eu-1", bucket_in_host=True),
        address(endpoint="https://other.example.com", bucket_in_host=True),
        address("azure-blob"),
        address("azure-blob", account="evil.example/"),
        address("azure-blob", account="Acme"),
        address("azure-blob", account="acme1", bucket="a--b"),
        address("azure-blob", account="acme1", bucket_in_host=True),
        address("google-cloud-storage", bucket="a/b"),
        address("folder", endpoint="https://s3.example.com"),
        address("folder", region="eu-1"),
        address("folder", account="acme1"),
    ],
    ids=range(20),
)
def test_addresses_that_are_refused(made):
    with pytest.raises(InvalidInput):
        endpoint(made)


def credentials(**fields: str) -> TargetCredentials:
    return TargetCredentials(**{name: SecretStr(value) for name, value in fields.items()})


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("s3", {}),
        ("s3", {"access_key_id": "a"}),
        ("s3", {"access_key_id": "a", "secret_access_key": ""}),
        ("s3", {"access_key_id": "a", "secret_access_key": "b", "sas_token": "c"}),
        ("s3", {"account_key": "a"}),
        ("azure-blob", {}),
        ("azure-blob", {"account_key": "a", "sas_token": "b"}),
        ("azure-blob", {"access_key_id": "a", "secret_access_key": "b"}),
        ("google-cloud-storage", {"sas_token": "a"}),
        ("google-cloud-storage", {"service_account": "not JSON"}),
        ("google-cloud-storage", {"service_account": "[]"}),
        ("google-cloud-storage", {"service_account": "{}"}),
        ("google-cloud-storage", {"service_account": '{"client_email":1,"private_key":2}'}),
        ("folder", {"account_key": "a"}),
    ],
)
def test_credentials_of_another_kind_are_refused(kind, sent):
    with pytest.raises(InvalidInput) as refused:
        check_credentials(kind, credentials(**sent))
    assert not any(value in refused.value.detail.split() for value in sent.values() if value)


def ec_key() -> str:
    return (
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode()
    )


@pytest.mark.parametrize(
    "pem", ["x", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", ec_key()]
)
def test_a_service_account_whose_key_is_none_is_refused(pem):
    account = {"client_email": "a@b.example", "private_key": pem, "private_key_id": "1"}
    sent = credentials(service_account=json.dumps(account))
    with pytest.raises(InvalidInput, match="RSA"):
        ExternalTargets(RUNTIME, None).open("ten_a", address("google-cloud-storage"), sent)


@pytest.mark.parametrize(
    "sent",
    [{"account_key": "not Base64!"}, {"account_key": "AAB="}, {"sas_token": "sv=2024-01-01&sp=rw"}],
)
def test_malformed_credentials_of_azure_are_refused(sent):
    made = address("azure-blob", account="acme1")
    with pytest.raises(InvalidInput, match=next(iter(sent))):
        ExternalTargets(RUNTIME, None).open("ten_a", made, credentials(**sent))


SCRIPT = """
import sys
from pydantic import SecretStr
from shared.adapters.external.targets import ExternalTargets
from shared.ports.clock import Runtime, SystemClock, system_entropy
from shared.ports.targets import TargetAddress, TargetCredentials

targets = ExternalTargets(Runtime(SystemClock(), system_entropy), None)
targets.open(
    "ten_a",
    TargetAddress(kind="s3", bucket="bucket", region="eu-central-1"),
    TargetCredentials(access_key_id=SecretStr("a"), secret_access_key=SecretStr("b")),
)
print(*sorted(name for name in sys.modules if name.split(".")[0] in ("obstore", "joserfc")))
"""


def test_the_client_is_imported_when_a_target_is_first_used():
    ran = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""
