"""A Key Vault emulator: HTTPS on 127.0.0.1, as far as azure-keyvault-keys speaks it.

Reference: https://learn.microsoft.com/rest/api/keyvault/keys. The clock is the machine's, and
nothing here waits: a deleted key is deleted when the answer leaves, or when ``slow_deletions`` more
requests for it were refused.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from .servers import HttpServer, Request, Response
from .tls import Certificate

LOGIN = "https://login.microsoftonline.com/7f0c7a3e-6a54-4b0a-9d38-0d6a5a0f5c11"
RETENTION_SECONDS = 7 * 86_400
OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
KEY = re.compile(
    r"/keys/(?P<name>[0-9a-zA-Z-]+)(?:/(?P<version>[0-9a-f]*))?(?:/(?P<operation>\w+))?"
)
DELETED = re.compile(r"/deletedkeys/(?P<name>[0-9a-zA-Z-]+)(?:/(?P<operation>recover))?")
OPERATIONS = ["wrapKey", "unwrapKey", "sign", "verify", "encrypt", "decrypt"]
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
RSA_BITS = 3_072
AT_HAND = 12
"""RSA keys that are there before a vault listens, as many as a test makes at once."""


@dataclass
class Version:
    private: PrivateKey
    created: int


@dataclass
class Key:
    kind: str
    operations: list[str]
    size: int | None
    tags: dict[str, str]
    versions: dict[str, Version] = field(default_factory=dict)
    deleted_at: int | None = None
    refusals_left: int = 0

    @property
    def current(self) -> str:
        return list(self.versions)[-1]


class VaultError(Exception):
    """An answer with the error body of the service."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.response = Response(status, {"error": {"code": code, "message": message}})


class Vault(HttpServer):
    """The emulator. ``counts`` has one entry an operation, and ``challenge`` for the handshakes.

    Args:
        certificate: What it is served under.
        accepts: Whether a bearer token is one that the identity endpoint issued.
        purge_protection: Whether deleted keys stay until their retention is over.
        premium: Whether the vault has a hardware module; without, it refuses to make keys in it.
    """

    slow_deletions = 0

    def __init__(
        self,
        certificate: Certificate,
        accepts: Callable[[str], bool],
        *,
        purge_protection: bool = False,
        premium: bool = True,
    ) -> None:
        super().__init__(certificate)
        self.keys: dict[str, Key] = {}
        self.purge_protection = purge_protection
        self._premium = premium
        self._accepts = accepts
        self._lock = threading.Lock()
        self._taken: Counter[int] = Counter()

    def start(self) -> Self:
        """Listen. To find an RSA key takes up to seconds, and clients do not wait so long for an answer."""
        _rsa_key(RSA_BITS, AT_HAND - 1)
        return super().start()

    def handle(self, request: Request) -> Response:
        # The authority that clients know may be that of a proxy in front.
        authority = request.headers["host"]
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not self._accepts(token):
            self.counts["challenge"] += 1
            # The SDK wants the resource to be a parent domain of the vault's own name, so 127.0.0.1
            # takes the part of "vault" and the rest of its digits that of "vault.azure.net".
            resource = "https://" + authority.partition(".")[2]
            challenge = f'Bearer authorization="{LOGIN}", resource="{resource}"'
            return Response(
                401,
                {"error": {"code": "Unauthorized", "message": "A token is missing."}},
                {"WWW-Authenticate": challenge},
            )
        with self._lock:
            try:
                return self._route(request, "https://" + authority)
            except VaultError as error:
                return error.response

    def _route(self, request: Request, base: str) -> Response:
        path, query = urlsplit(request.target)[2:4]
        if "api-version=" not in query:
            raise VaultError(400, "BadParameter", "The api-version query parameter is missing.")
        if found := DELETED.fullmatch(path):
            return self._deleted(request.method, found["name"], found["operation"], base)
        found = KEY.fullmatch(path)
        if found is None:
            raise VaultError(404, "NotFound", path)
        name, version, operation = found["name"], found["version"] or "", found["operation"]
        body = json.loads(request.body) if request.body else {}
        if request.method == "POST" and operation == "create":
            return self._create(name, body, base)
        if request.method == "POST" and operation == "rotate":
            self.counts["rotate"] += 1
            key = self._live(name)
            self._add_version(key)
            return Response(200, _bundle(base, name, key, key.current))
        if request.method == "GET" and operation == "versions":
            self.counts["versions"] += 1
            key = self._live(name)
            items = [_identity(base, name, key, v) for v in key.versions]
            return Response(200, {"value": items, "nextLink": None})
        if request.method == "GET" and operation is None:
            self.counts["get"] += 1
            key = self._live(name)
            return Response(200, _bundle(base, name, key, self._version(key, version)))
        if request.method == "DELETE" and operation is None:
            self.counts["delete"] += 1
            key = self._live(name)
            key.deleted_at = int(time.time())
            key.refusals_left = self.slow_deletions
            return Response(200, _deleted_bundle(base, name, key))
        if request.method == "POST" and operation is not None:
            return self._use(name, version, operation, body, base)
        raise VaultError(405, "MethodNotAllowed", request.method)

    def _known(self, name: str) -> Key | None:
        """The key, deleted or not; while it is being deleted, everything is refused."""
        key = self.keys.get(name)
        if key is not None and key.refusals_left > 0:
            key.refusals_left -= 1
            raise VaultError(409, "Conflict", f"Key {name} is currently being deleted.")
        return key

    def _live(self, name: str) -> Key:
        key = self._known(name)
        if key is None or key.deleted_at is not None:
            raise VaultError(404, "KeyNotFound", f"A key with (name/id) {name} was not found.")
        return key

    def _version(self, key: Key, version: str) -> str:
        chosen = version or key.current
        if chosen not in key.versions:
            raise VaultError(404, "KeyNotFound", "There is no such version of the key.")
        return chosen

    def _create(self, name: str, body: dict[str, Any], base: str) -> Response:
        self.counts["create"] += 1
        kind: str = body["kty"]
        if kind.endswith("-HSM") and not self._premium:
            raise VaultError(400, "BadParameter", "HSM keys need a vault of the premium tier.")
        key = self._known(name)
        if key is not None and key.deleted_at is not None:
            raise VaultError(409, "Conflict", f"Key {name} is deleted but recoverable.")
        if key is None:
            size = body["key_size"] if kind.startswith("RSA") else None
            key = self.keys[name] = Key(
                kind, body.get("key_ops") or OPERATIONS, size, body.get("tags") or {}
            )
        self._add_version(key)
        return Response(200, _bundle(base, name, key, key.current))

    def _add_version(self, key: Key) -> None:
        private: PrivateKey
        if key.size is None:
            private = ec.generate_private_key(ec.SECP256R1())
        else:
            private = _rsa_key(key.size, self._taken[key.size])
            self._taken[key.size] += 1
        key.versions[secrets.token_hex(16)] = Version(private, int(time.time()))

    def _deleted(self, method: str, name: str, operation: str | None, base: str) -> Response:
        key = self._known(name)
        if key is None or key.deleted_at is None:
            raise VaultError(404, "KeyNotFound", f"Deleted key {name} was not found.")
        if operation == "recover":
            self.counts["recover"] += 1
            key.deleted_at = None
            return Response(200, _bundle(base, name, key, key.current))
        if method == "DELETE":
            self.counts["purge"] += 1
            if self.purge_protection:
                raise VaultError(403, "Forbidden", "Operation purge is not allowed on this vault.")
            del self.keys[name]
            return Response(204)
        self.counts["get-deleted"] += 1
        return Response(200, _deleted_bundle(base, name, key))

    def _use(
        self, name: str, version: str, operation: str, body: dict[str, Any], base: str
    ) -> Response:
        key = self._live(name)
        version = self._version(key, version)
        private = key.versions[version].private
        value = _decode(body["value"])
        self.counts[operation.removesuffix("key")] += 1
        permitted = {"wrapkey": "wrapKey", "unwrapkey": "unwrapKey"}.get(operation, operation)
        if permitted not in key.operations:
            raise VaultError(403, "Forbidden", f"Operation {operation} is not permitted.")
        if isinstance(private, rsa.RSAPrivateKey) and body["alg"] == "RSA-OAEP-256":
            if operation == "wrapkey":
                result = private.public_key().encrypt(value, OAEP)
            else:
                try:
                    result = private.decrypt(value, OAEP)
                except ValueError as error:
                    raise VaultError(400, "BadParameter", "The parameter is incorrect.") from error
        elif isinstance(private, ec.EllipticCurvePrivateKey) and body["alg"] == "ES256":
            der = private.sign(value, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
            r, s = utils.decode_dss_signature(der)
            result = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        else:
            raise VaultError(400, "BadParameter", "Key and algorithm do not fit.")
        return Response(200, {"kid": f"{base}/keys/{name}/{version}", "value": _encode(result)})


_rsa_keys: dict[int, list[rsa.RSAPrivateKey]] = {}
_finding = threading.Lock()


def _rsa_key(bits: int, number: int) -> rsa.RSAPrivateKey:
    """One of the keys that all vaults of this process share; each vault takes the first ones, in turn."""
    with _finding:
        found = _rsa_keys.setdefault(bits, [])
        while len(found) <= number:
            found.append(rsa.generate_private_key(public_exponent=65537, key_size=bits))
        return found[number]


def _identity(base: str, name: str, key: Key, version: str) -> dict[str, Any]:
    created = key.versions[version].created
    attributes = {"enabled": True, "created": created, "updated": created}
    return {
        "kid": f"{base}/keys/{name}/{version}",
        "attributes": {**attributes, "recoveryLevel": "Recoverable", "recoverableDays": 7},
        "tags": key.tags,
    }


def _bundle(base: str, name: str, key: Key, version: str) -> dict[str, Any]:
    identity = _identity(base, name, key, version)
    private = key.versions[version].private
    jwk: dict[str, Any] = {"kid": identity.pop("kid"), "kty": key.kind, "key_ops": key.operations}
    if isinstance(private, rsa.RSAPrivateKey):
        numbers = private.public_key().public_numbers()
        jwk |= {"n": _number(numbers.n), "e": _number(numbers.e)}
    else:
        point = private.public_key().public_numbers()
        x, y = (_encode(part.to_bytes(32, "big")) for part in (point.x, point.y))
        jwk |= {"crv": "P-256", "x": x, "y": y}
    return {"key": jwk, **identity}


def _deleted_bundle(base: str, name: str, key: Key) -> dict[str, Any]:
    assert key.deleted_at is not None
    return {
        **_bundle(base, name, key, key.current),
        "recoveryId": f"{base}/deletedkeys/{name}",
        "deletedDate": key.deleted_at,
        "scheduledPurgeDate": key.deleted_at + RETENTION_SECONDS,
    }


def _number(value: int) -> str:
    return _encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
