"""Clients of object stores, made so that nothing of this machine's own gets into them.

obstore fills what is not set from environment variables, and looks for credentials in files and at
metadata services. So each place and each switch is set, and the credentials are handed over as a function,
which leaves it nothing to look for.

Google Cloud Storage is spoken to through its XML API. No emulator that the package registries offer knows
that API (fake-gcs-server and gcp-storage-emulator know the JSON API), so its tests run against moto's S3,
whose protocol it shares, behind a server that checks tokens as Google does.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from pydantic import SecretStr

from shared.adapters.external.endpoints import Endpoint
from shared.adapters.external.google import token_source
from shared.base.errors import InvalidInput
from shared.ports.targets import TargetAddress, TargetCredentials

if TYPE_CHECKING:
    from obstore.store import (
        AzureCredential,
        ClientConfig,
        GCSCredential,
        ObjectStore,
        RetryConfig,
        S3Credential,
    )

_RETRIES: Final = 3
_RETRY_SECONDS: Final = 60
_CONNECT_SECONDS: Final = 20
"""More than the gate takes, so that it is the gate that says what is wrong."""

_REQUEST_SECONDS: Final = 300
"""A part of 5 MiB over a line of 20 KB/s."""

_POOL_IDLE_SECONDS: Final = 60
"""Less than the gate leaves an idle tunnel open."""

Credential = Callable[[], "S3Credential | AzureCredential | GCSCredential"]
StoreMaker = Callable[[str], "ObjectStore"]
"""Makes a client that does everything through the proxy of the URL."""


def store_maker(
    address: TargetAddress,
    credentials: TargetCredentials,
    endpoint: Endpoint,
    now: Callable[[], datetime],
    certificate: str,
) -> StoreMaker:
    """How to make the client of a target.

    Args:
        address: Where it is; ``check_address`` let it pass.
        credentials: For it; ``check_credentials`` let them pass.
        endpoint: Where its requests go.
        now: The time.
        certificate: A certificate, PEM, that is trusted besides the machine's own; empty: none.

    Raises:
        InvalidInput: The credentials are malformed.
    """
    provider = _credential(credentials, now)

    def make(proxy_url: str) -> ObjectStore:
        from obstore.store import AzureStore, GCSStore, S3Store

        client: ClientConfig = {
            "proxy_url": proxy_url,
            "proxy_excludes": "",
            "allow_http": False,
            "allow_invalid_certificates": False,
            "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
            "timeout": timedelta(seconds=_REQUEST_SECONDS),
            "pool_idle_timeout": timedelta(seconds=_POOL_IDLE_SECONDS),
            "user_agent": "strongroom",
        }
        if certificate:
            client["root_certificate"] = certificate
        retry: RetryConfig = {
            "max_retries": _RETRIES,
            "retry_timeout": timedelta(seconds=_RETRY_SECONDS),
        }
        if address.kind == "s3":
            return S3Store(
                address.bucket,
                client_options=client,
                retry_config=retry,
                credential_provider=provider,  # type: ignore[arg-type]
                endpoint=endpoint.url,
                aws_endpoint_url_s3=endpoint.url,
                region=endpoint.region,
                virtual_hosted_style_request=endpoint.bucket_in_host,
                s3_express=False,
                skip_signature=False,
                # Many services that are compatible with S3 cannot delete several objects at once.
                disable_bulk_delete=True,
            )
        if address.kind == "azure-blob":
            return AzureStore(
                address.bucket,
                client_options=client,
                retry_config=retry,
                credential_provider=provider,  # type: ignore[arg-type]
                account_name=address.account,
                endpoint=endpoint.url,
                use_emulator=False,
                use_fabric_endpoint=False,
                skip_signature=False,
            )
        return GCSStore(
            address.bucket,
            client_options=client,
            retry_config=retry,
            credential_provider=provider,  # type: ignore[arg-type]
            base_url=endpoint.url,
            skip_signature=False,
        )

    return make


def _credential(credentials: TargetCredentials, now: Callable[[], datetime]) -> Credential:
    if credentials.service_account is not None:
        return token_source(credentials.service_account.get_secret_value(), now)
    if credentials.account_key is not None:
        key = _shown(credentials.account_key)
        if not _is_base64(key):
            raise InvalidInput("The `account_key` is not Base64; send it as Azure shows it.")
        return lambda: {"access_key": key, "expires_at": None}
    if credentials.sas_token is not None:
        pairs = parse_qsl(_shown(credentials.sas_token).removeprefix("?"))
        if "sig" not in dict(pairs):
            raise InvalidInput("The `sas_token` is not a shared access signature.")
        return lambda: {"sas_token": pairs, "expires_at": None}
    key_id, secret = _shown(credentials.access_key_id), _shown(credentials.secret_access_key)
    return lambda: {
        "access_key_id": key_id,
        "secret_access_key": secret,
        "token": None,
        "expires_at": None,
    }


def _is_base64(text: str) -> bool:
    """Whether this is what encoding gives: the client is stricter than Python in what it decodes."""
    try:
        return base64.b64encode(base64.b64decode(text, validate=True)).decode() == text
    except ValueError:
        return False


def _shown(secret: SecretStr | None) -> str:
    return "" if secret is None else secret.get_secret_value()
