"""Where a target lies: a folder, or a bucket or container that obstore reads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, LocalStore, S3Store

from client.errors import CommandError, ExitCode

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

SCHEMES: Final = ("s3", "az", "gs")

# A request carries a few MiB at most. On a slow line that takes minutes, and is alive as long as
# something arrives.
_CLIENT: Final[ClientConfig] = {
    "timeout": timedelta(minutes=15),
    "read_timeout": timedelta(seconds=60),
}
_RETRIES: Final[RetryConfig] = {"max_retries": 5, "retry_timeout": timedelta(seconds=60)}


_PAST_THE_END: Final = ("status code: 416", "InvalidRange")
"""How obstore says that an object ends before a range begins."""


class SourceError(Exception):
    """An object cannot be read. The text says why, in a part of a sentence, without secrets."""


class Missing(SourceError):
    """There is no such object."""


class Refused(SourceError):
    """The credentials do not allow it."""


class Unreachable(SourceError):
    """The service does not respond, or not as it should."""


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object, as a listing has it; its size is in bytes."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Read:
    """A range of an object, and the size of the whole object, bytes.

    Where the object ends before the range, there is no data, and the size is where the range began.
    """

    data: bytes
    object_size: int


class Source:
    """Reads a target's objects.

    Args:
        store: Where they lie.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def read(self, name: str, start: int, end: int) -> Read:
        """A range of an object, as far as the object reaches.

        Raises:
            Missing: There is no such object.
            Refused: The credentials do not allow it.
            Unreachable: The service does not respond.
        """
        try:
            found = await obstore.get_async(self._store, name, options={"range": (start, end)})
            return Read(bytes(await found.bytes_async()), found.meta["size"])
        except (BaseError, OSError) as error:
            if any(sign in str(error) for sign in _PAST_THE_END):
                return Read(b"", start)
            raise _source_error(error) from None

    async def list(self, prefix: str) -> list[ListedObject]:
        """The objects below a folder, in no certain order.

        Raises:
            Refused: The credentials do not allow it.
            Unreachable: The service does not respond.
        """
        try:
            found = await obstore.list(self._store, prefix).collect_async()
            return [ListedObject(each["path"], each["size"]) for each in found]
        except (BaseError, OSError) as error:
            raise _source_error(error) from None


def open_source(place: str, endpoint: str | None) -> Source:
    """Open a folder, or what a URL names; credentials come from the environment.

    Args:
        place: A path, ``s3://bucket/prefix``, ``az://account/container/prefix`` or
            ``gs://bucket/prefix``.
        endpoint: The URL of the service, if not the provider's own.

    Raises:
        CommandError: It is neither, there is no such folder, or the endpoint is not a URL.
    """
    if "://" not in place:
        if not Path(place).is_dir():
            raise CommandError(f"There is no folder {place}.", ExitCode.USAGE)
        return Source(LocalStore(Path(place).absolute()))
    parts = urlsplit(place)
    bucket, path = parts.netloc, parts.path.strip("/")
    if parts.scheme not in SCHEMES or not bucket or parts.query or "@" in bucket:
        known = ", ".join(f"{scheme}://..." for scheme in SCHEMES)
        raise CommandError(f"SOURCE is a folder or one of {known}.", ExitCode.USAGE)
    if endpoint is not None and not endpoint.startswith(("https://", "http://")):
        raise CommandError("The endpoint is a URL: https://...", ExitCode.USAGE)
    client: ClientConfig = dict(_CLIENT)  # type: ignore[assignment]
    if endpoint is not None and endpoint.startswith("http://"):
        client["allow_http"] = True
    try:
        return Source(_open_store(parts.scheme, bucket, path, endpoint, client))
    except (BaseError, OSError, ValueError) as error:
        raise CommandError(f"SOURCE cannot be opened: {_cause(str(error))}.") from None


def _open_store(
    scheme: str, bucket: str, path: str, endpoint: str | None, client: ClientConfig
) -> ObjectStore:
    if scheme == "s3":
        return S3Store(
            bucket,
            prefix=path or None,
            config={"endpoint": endpoint} if endpoint else {},
            client_options=client,
            retry_config=_RETRIES,
        )
    if scheme == "gs":
        return GCSStore(
            bucket,
            prefix=path or None,
            config={"base_url": endpoint} if endpoint else {},
            client_options=client,
            retry_config=_RETRIES,
        )
    container, _, prefix = path.partition("/")
    if not container:
        raise CommandError(
            "An Azure target is az://account/container, or with /prefix.", ExitCode.USAGE
        )
    return AzureStore(
        container,
        prefix=prefix or None,
        account_name=bucket,
        config={"endpoint": endpoint} if endpoint else {},
        client_options=client,
        retry_config=_RETRIES,
    )


def _source_error(error: Exception) -> SourceError:
    if isinstance(error, FileNotFoundError):
        return Missing("the object is missing")
    if isinstance(error, (PermissionDeniedError, UnauthenticatedError, PermissionError)):
        return Refused("the credentials do not allow it")
    return Unreachable(_cause(str(error)))


_CAUSES: Final = (
    ("<Code>NoSuchBucket</Code>", "there is no such bucket"),
    ("<Code>ContainerNotFound</Code>", "there is no such container"),
    ("without LOCATION", "the bucket is in another region; set AWS_REGION"),
    # Without credentials in the environment, the service of the machine that gives them is asked.
    ("169.254.169.254", "there are no credentials for it in the environment"),
    ("metadata.google.internal", "there are no credentials for it in the environment"),
    ("dns error", "the name of the service cannot be resolved"),
    ("ConnectionRefused", "the service refuses the connection"),
    ("certificate", "the service's TLS certificate is not trusted"),
    ("TimedOut", "the service does not respond in time"),
)
_STATUS: Final = re.compile(r"status code: (\d{3})|<Code>(\w{1,64})</Code>")


def _cause(message: str) -> str:
    """Why it failed, from obstore's message, which may hold signed URLs and must not be shown."""
    for sign, cause in _CAUSES:
        if sign in message:
            return cause
    found = [status or code for status, code in _STATUS.findall(message)]
    if found:
        return f"the service responds with {' '.join(dict.fromkeys(found))}"
    return "the service does not respond as it should"
