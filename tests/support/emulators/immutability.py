"""Versions and their immutability policies, which Azurite lacks, in a proxy before it.

Its rules are those that the service documents, for an account with versioning and a container with
immutability of versions:

- https://learn.microsoft.com/azure/storage/blobs/versioning-overview
- https://learn.microsoft.com/azure/storage/blobs/immutable-version-level-worm-policies
- https://learn.microsoft.com/rest/api/storageservices/set-blob-immutability-policy

Azurite keeps the current versions. What a write or a deletion makes a previous version is kept here. The
code of a refusal to end a locked policy earlier is a guess; the adapter reads none into it.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit
from xml.etree import ElementTree as Xml

from azure.storage.blob import generate_blob_sas

from .front import ACCOUNT, ACCOUNT_KEY, StorageFront
from .servers import Request, Response
from .tls import Certificate

_UNTIL = "x-ms-immutability-policy-until-date"
_MODE = "x-ms-immutability-policy-mode"
_LISTED = ("Creation-Time", "Last-Modified", "Etag", "Content-Type")
_CHANGES_NOTHING = frozenset({"block", "lease"})
"""What a PUT of a blob can be about without writing the blob."""


@dataclass
class Version:
    """A version of a blob. ``previous`` is what it was when it stopped being the current one."""

    id: str
    until: datetime | None = None
    locked: bool = False
    previous: Response | None = None


@dataclass
class Target:
    """What a request is about."""

    path: str
    query: dict[str, str] = field(default_factory=dict)


class ImmutableFront(StorageFront):
    """Azurite as an account whose versions can be made immutable.

    Args:
        upstream: Azurite's port.
        certificate: What it and the proxy show.
        container: The container with versions; all others are Azurite's.
        now: The service's clock.
        default: How long the account retains what comes without a policy; None: not at all.
    """

    def __init__(
        self,
        upstream: int,
        certificate: Certificate,
        container: str,
        now: Callable[[], datetime],
        default: timedelta | None = None,
    ) -> None:
        super().__init__(upstream, certificate)
        self.container = container
        self.default = default
        self._path = f"/{ACCOUNT}/{container}"
        self._now = now
        self._versions: dict[str, list[Version]] = {}
        self._turn = threading.RLock()

    def versions(self, name: str) -> list[Version]:
        """What there is of a blob, the oldest first."""
        return list(self._versions.get(f"{self._path}/{name}", []))

    def _forward(self, request: Request) -> Response:
        url = urlsplit(request.target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        target = Target(unquote(url.path), query)
        lists_versions = query.get("comp") == "list" and "versions" in query.get("include", "")
        if lists_versions and target.path == self._path:
            answer = self._list
        elif (
            not target.path.startswith(self._path + "/")
            or "skoid" in query
            or query.get("comp") in _CHANGES_NOTHING
        ):
            return super()._forward(request)
        elif query.get("comp") == "immutabilityPolicies":
            answer = self._set_policy
        elif request.method == "DELETE":
            answer = self._delete
        else:
            answer = self._read if request.method in ("GET", "HEAD") else self._write
        with self._turn:
            return answer(request, target)

    def _read(self, request: Request, target: Target) -> Response:
        wanted = target.query.pop("versionid", None)
        version = self._version(target, wanted)
        if wanted is not None and version is None:
            return _refusal(404, "BlobNotFound")
        if version is not None and version.previous is not None:
            response = _part(request, version.previous)
        else:
            response = super()._forward(_towards(request, target))
        return Response(response.status, response.body, {**response.headers, **_headers(version)})

    def _write(self, request: Request, target: Target) -> Response:
        current = self._version(target, None)
        comp = target.query.get("comp")
        if comp not in (None, "blocklist"):
            if current is not None and self._protected(current):
                return _refusal(409, "BlobImmutableDueToPolicy")
            return super()._forward(request)
        until = _date(request)
        if until is not None and until <= self._now():
            return _refusal(400, "InvalidHeaderValue")
        previous = self._whole(target) if current is not None else None
        response = super()._forward(request)
        if response.status != 201:
            return response
        if current is not None:
            current.previous = previous
        if until is None and self.default is not None:
            until = self._now() + self.default
        made = Version(self._new_id(), until, request.headers.get(_MODE) == "Locked")
        self._versions.setdefault(target.path, []).append(made)
        return Response(response.status, response.body, {**response.headers, **_headers(made)})

    def _delete(self, request: Request, target: Target) -> Response:
        wanted = target.query.get("versionid")
        version = self._version(target, wanted)
        if wanted is None:
            previous = self._whole(target) if version is not None else None
            response = super()._forward(request)
            if response.status == 202 and version is not None:
                version.previous = previous
            return response
        if version is None:
            return _refusal(404, "BlobNotFound")
        if version.previous is None:
            return _refusal(403, "OperationNotAllowedOnRootBlob")
        if self._protected(version):
            return _refusal(409, "BlobImmutableDueToPolicy")
        self._versions[target.path].remove(version)
        return Response(202)

    def _set_policy(self, request: Request, target: Target) -> Response:
        version = self._version(target, target.query.get("versionid"))
        if version is None:
            return _refusal(404, "BlobNotFound")
        until = _date(request)
        mode = request.headers.get(_MODE, "Unlocked")
        if request.method == "DELETE" or until is None:
            if version.locked:
                return _refusal(409, "BlobImmutableDueToPolicy")
            version.until = None
            return Response(200)
        if until <= self._now():
            return _refusal(400, "InvalidHeaderValue")
        earlier = version.until is not None and until < version.until
        if version.locked and (earlier or mode != "Locked"):
            return _refusal(409, "BlobImmutableDueToPolicy")
        version.until, version.locked = until, mode == "Locked"
        return Response(200, b"", _headers(version))

    def _list(self, request: Request, target: Target) -> Response:
        """All versions in the order of their names, the oldest first, page by page."""
        prefix = f"{target.path}/{target.query.get('prefix', '')}"
        found: list[tuple[str, str, Xml.Element]] = []
        for blob in self._current(request, target):
            name = blob.findtext("Name") or ""
            version = self._version(Target(f"{target.path}/{name}"), None)
            found.append((name, version.id if version else "", _described(blob, version)))
        for path, versions in list(self._versions.items()):
            if path.startswith(prefix):
                name = path.removeprefix(target.path + "/")
                found += [
                    (name, version.id, _described(_entry(name, version.previous), version))
                    for version in list(versions)
                    if version.previous is not None
                ]
        found.sort(key=lambda version: version[:2])
        start, size = int(target.query.get("marker", "0")), int(target.query["maxresults"])
        answer = Xml.Element("EnumerationResults", ContainerName=target.path)
        Xml.SubElement(answer, "Blobs").extend(
            element for _, _, element in found[start : start + size]
        )
        rest = str(start + size) if start + size < len(found) else ""
        Xml.SubElement(answer, "NextMarker").text = rest
        return Response(200, Xml.tostring(answer), {"Content-Type": "application/xml"})

    def _current(self, request: Request, target: Target) -> Iterator[Xml.Element]:
        """What Azurite lists."""
        query = {name: value for name, value in target.query.items() if name != "include"}
        query |= {"maxresults": "5000", "marker": ""}
        listed = super()._forward(_towards(request, Target(target.path, query)))
        yield from Xml.fromstring(listed.body).iter("Blob")

    def _version(self, target: Target, wanted: str | None) -> Version | None:
        """The version with this id; without one, the current one."""
        for version in self._versions.get(target.path, []):
            if version.id == wanted or (wanted is None and version.previous is None):
                return version
        return None

    def _protected(self, version: Version) -> bool:
        return version.until is not None and version.until > self._now()

    def _whole(self, target: Target) -> Response:
        """The current version as Azurite has it."""
        _, _, container, name = target.path.split("/", 3)
        expiry = datetime.now(UTC) + timedelta(hours=1)
        signature = generate_blob_sas(
            ACCOUNT, container, name, account_key=ACCOUNT_KEY, permission="r", expiry=expiry
        )
        return super()._forward(Request("GET", f"{quote(target.path)}?{signature}", {}, b""))

    def _new_id(self) -> str:
        self.counts["version"] += 1
        return f"{self._now():%Y-%m-%dT%H:%M:%S}.{self.counts['version']:07}Z"


def _towards(request: Request, target: Target) -> Request:
    return Request(
        request.method,
        f"{quote(target.path)}?{urlencode(target.query)}",
        request.headers,
        request.body,
    )


def _date(request: Request) -> datetime | None:
    until = request.headers.get(_UNTIL)
    return None if until is None else parsedate_to_datetime(until).astimezone(UTC)


def _headers(version: Version | None) -> dict[str, str]:
    if version is None:
        return {}
    headers = {"x-ms-version-id": version.id}
    if version.until is not None:
        headers[_UNTIL] = format_datetime(version.until, usegmt=True)
        headers[_MODE] = "locked" if version.locked else "unlocked"
    return headers


def _part(request: Request, whole: Response) -> Response:
    """A previous version, or the range of it that was asked for."""
    wanted = request.headers.get("x-ms-range")
    if wanted is None:
        return whole
    first, last = (int(number) for number in wanted.removeprefix("bytes=").split("-"))
    body = whole.body[first : last + 1]
    headers = {
        **{name.lower(): value for name, value in whole.headers.items()},
        "content-range": f"bytes {first}-{first + len(body) - 1}/{len(whole.body)}",
        "content-md5": base64.b64encode(hashlib.md5(body).digest()).decode(),
    }
    return Response(206, body, headers)


def _entry(name: str, previous: Response | None) -> Xml.Element:
    """A previous version as an entry of a listing."""
    blob = Xml.Element("Blob")
    Xml.SubElement(blob, "Name").text = name
    properties = Xml.SubElement(blob, "Properties")
    headers = {key.lower(): value for key, value in (previous.headers if previous else {}).items()}
    for key in _LISTED:
        sent = headers.get("x-ms-creation-time" if key == "Creation-Time" else key.lower())
        Xml.SubElement(properties, key).text = sent
    Xml.SubElement(properties, "Content-Length").text = str(len(previous.body if previous else b""))
    Xml.SubElement(properties, "BlobType").text = "BlockBlob"
    return blob


def _described(blob: Xml.Element, version: Version | None) -> Xml.Element:
    """An entry of a listing with what is known of its version."""
    if version is None:
        return blob
    Xml.SubElement(blob, "VersionId").text = version.id
    if version.previous is None:
        Xml.SubElement(blob, "IsCurrentVersion").text = "true"
    properties = blob.find("Properties")
    if version.until is not None and properties is not None:
        date = format_datetime(version.until, usegmt=True)
        Xml.SubElement(properties, "ImmutabilityPolicyUntilDate").text = date
        Xml.SubElement(properties, "ImmutabilityPolicyMode").text = (
            "locked" if version.locked else "unlocked"
        )
    return blob


def _refusal(status: int, code: str) -> Response:
    return Response(status, b"", {"x-ms-error-code": code})
