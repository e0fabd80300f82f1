"""What an address and credentials of a target must be, and the endpoint that they mean."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

from shared.adapters.external.addresses import HTTPS_PORT, is_name, parse_address
from shared.adapters.external.dialing import Dialer
from shared.base.errors import InvalidInput
from shared.ports.targets import TargetAddress, TargetCredentials, TargetKind

_BUCKETS: Final[Mapping[TargetKind, re.Pattern[str]]] = {
    "s3": re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"),
    "azure-blob": re.compile(r"[a-z0-9](?!.*--)[a-z0-9-]{1,61}[a-z0-9]"),
    "google-cloud-storage": re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"),
    "folder": re.compile(r"[a-z0-9_-][a-z0-9._-]{0,199}"),
}
_PREFIX: Final = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}/)*")
_REGION: Final = re.compile(r"[a-z0-9-]{1,64}")
_ACCOUNT: Final = re.compile(r"[a-z0-9]{3,24}")
_PATH: Final = re.compile(r"(?:/[A-Za-z0-9_-]+)*")
_DEFAULT_REGION: Final = "us-east-1"
"""What services that are compatible with S3, and have no regions, expect in signatures."""

CredentialField = Literal[
    "access_key_id", "secret_access_key", "account_key", "sas_token", "service_account"
]
_FORMS: Final[Mapping[TargetKind, tuple[frozenset[CredentialField], ...]]] = {
    "s3": (frozenset({"access_key_id", "secret_access_key"}),),
    "azure-blob": (frozenset({"account_key"}), frozenset({"sas_token"})),
    "google-cloud-storage": (frozenset({"service_account"}),),
    "folder": (frozenset(),),
}
_SERVICE_ACCOUNT: Final = ("client_email", "private_key", "private_key_id")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the requests of a target go.

    Attributes:
        url: ``https``, without a trailing slash.
        host: Its host, a name or an address.
        port: Its port.
        region: For signatures.
        bucket_in_host: Whether the host names the bucket, so that paths do not.
    """

    url: str
    host: str
    port: int
    region: str = ""
    bucket_in_host: bool = False


def check_address(address: TargetAddress) -> None:
    """Refuse names that cannot be a bucket's, a prefix, a region or an account.

    Raises:
        InvalidInput: One of them is not.
    """
    if _BUCKETS[address.kind].fullmatch(address.bucket) is None or ".." in address.bucket:
        raise InvalidInput("Invalid bucket or container name; send it as the provider shows it.")
    if _PREFIX.fullmatch(address.prefix) is None:
        raise InvalidInput(
            "Invalid prefix: send nothing, or segments of letters, digits, '.', '_' and '-', each"
            " followed by '/'."
        )
    if address.region and _REGION.fullmatch(address.region) is None:
        raise InvalidInput("Invalid region; send its short name, such as eu-central-1.")
    if address.account and _ACCOUNT.fullmatch(address.account) is None:
        raise InvalidInput("Invalid storage account; send its name, without the host's ending.")
    if address.kind == "azure-blob" and not address.account:
        raise InvalidInput("Send the `account` of the container.")
    if address.bucket_in_host and not (address.kind == "s3" and address.endpoint):
        raise InvalidInput("`bucket_in_host` is for an S3 `endpoint` alone; leave it out.")
    if address.kind == "folder" and (address.endpoint or address.region or address.account):
        raise InvalidInput("A folder has no `endpoint`, `region` or `account`; leave them out.")


def check_credentials(kind: TargetKind, credentials: TargetCredentials) -> None:
    """Refuse credentials that are not of the kind.

    Raises:
        InvalidInput: There are none, others, or both.
    """
    sent = {
        name
        for name in TargetCredentials.model_fields
        if getattr(credentials, name) is not None and getattr(credentials, name).get_secret_value()
    }
    if sent not in _FORMS[kind]:
        forms = " or ".join(
            " and ".join(f"`{name}`" for name in sorted(form)) for form in _FORMS[kind]
        )
        raise InvalidInput(f"A target of this kind takes {forms or 'no credentials'} alone.")
    if credentials.service_account is not None:
        parse_service_account(credentials.service_account.get_secret_value())


def parse_service_account(text: str) -> Mapping[str, str]:
    """What signs in as a service account of Google: e-mail, private key and the key's id.

    Nothing else of the JSON is used: it may name places to send requests to.

    Raises:
        InvalidInput: It is not the JSON of a service account's key.
    """
    try:
        found = json.loads(text)
        account = {name: found[name] for name in _SERVICE_ACCOUNT}
    except (ValueError, TypeError, LookupError):
        account = {}
    if not account or not all(isinstance(value, str) and value for value in account.values()):
        raise InvalidInput("Send the JSON of a service account's key as `service_account`.")
    return account


def endpoint_of(address: TargetAddress, dialer: Dialer) -> Endpoint:
    """The endpoint of a target that is not a folder.

    Args:
        address: One that ``check_address`` let pass.
        dialer: Knows what may be connected to.

    Raises:
        InvalidInput: The endpoint is not one that requests may go to.
    """
    if address.endpoint:
        return _custom(address, dialer)
    if address.kind == "google-cloud-storage":
        return _at("storage.googleapis.com")
    if address.kind == "azure-blob":
        return _at(f"{address.account}.blob.core.windows.net")
    if not address.region:
        raise InvalidInput("Send the `region` of the bucket, or the `endpoint` of the service.")
    service = f"s3.{address.region}.amazonaws.com"
    if address.region.startswith("cn-"):
        service += ".cn"
    if "." in address.bucket:  # no certificate of the service's covers a name with more labels
        return _at(service, address.region)
    return _at(f"{address.bucket}.{service}", address.region, bucket_in_host=True)


def _at(host: str, region: str = "", *, bucket_in_host: bool = False) -> Endpoint:
    return Endpoint(f"https://{host}", host, HTTPS_PORT, region, bucket_in_host)


def _custom(address: TargetAddress, dialer: Dialer) -> Endpoint:
    try:
        url = urlsplit(address.endpoint.rstrip("/"))
        host, port = (url.hostname or "").lower(), url.port or HTTPS_PORT
        # Written again from its parts, so that whoever reads it next reads the same host.
        literal = parse_address(host)
        shown = f"[{host}]" if ":" in host else host
        authority = shown if url.port is None else f"{shown}:{port}"
        rebuilt = f"https://{authority}{url.path}"
    except ValueError:
        raise InvalidInput("Invalid endpoint; send a URL such as https://s3.example.com.") from None
    if rebuilt.lower() != address.endpoint.rstrip("/").lower() or not _PATH.fullmatch(url.path):
        raise InvalidInput(
            "Invalid endpoint; send https:// and a host, without a user, a query or a fragment."
        )
    if not dialer.takes_port(port):
        raise InvalidInput(f"The endpoint must be on port {HTTPS_PORT}; leave the port out.")
    if not is_name(host) if literal is None else not dialer.allows(literal):
        raise InvalidInput("The endpoint's host must be a full name or a public address.")
    if address.bucket_in_host and not host.startswith(address.bucket + "."):
        raise InvalidInput("With `bucket_in_host`, the endpoint's host must begin with the bucket.")
    region = address.region or _DEFAULT_REGION
    return Endpoint(rebuilt, host, port, region, address.bucket_in_host)
