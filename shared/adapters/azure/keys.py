"""AzureKeys: the KeyVault port on Azure Key Vault."""

from __future__ import annotations

import asyncio
import base64
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote

from shared.adapters.azure.calls import Attempts, Classification, Classify, call, classify_http
from shared.adapters.azure.clients import AzureClients
from shared.adapters.checks import check_digest, check_key_name, check_plaintext
from shared.adapters.measuring import measured
from shared.base.errors import Conflict, Damaged, NotFound, Unavailable
from shared.ports.keys import KeyUse, Signature, WrappedKey

if TYPE_CHECKING:
    from azure.keyvault.keys import KeyVaultKey
    from azure.keyvault.keys.aio import KeyClient
    from azure.keyvault.keys.crypto.aio import CryptographyClient

T = TypeVar("T")

_RSA_BITS: Final = 3072
_KNOWN_VERSIONS: Final = 1_024
"""How many versions' clients are kept: each saves the request that fetches its public key."""


class AzureKeys:
    """A ``KeyVault`` in Azure Key Vault.

    Keys are made in the vault's hardware module and never leave it, unless it is told otherwise.
    Wrapping needs the public key alone and happens here, with one request for the current version;
    unwrapping and signing happen in the vault.

    Args:
        clients: The process's clients.
        vault: The vault's URL. It must be of the premium tier, which has the hardware.
        in_hardware: Whether new keys are made there. A key stays where it was made, and so do its later
            versions.
    """

    def __init__(self, clients: AzureClients, vault: str, *, in_hardware: bool = True) -> None:
        self._clients = clients
        self._vault = vault
        self._in_hardware = in_hardware
        self._versions: OrderedDict[tuple[str, str], CryptographyClient] = OrderedDict()
        # A second creation would make a second version.
        self._creating = asyncio.Lock()

    @measured
    async def create(self, name: str, use: KeyUse) -> str:
        """See ``KeyVault.create``."""
        check_key_name(name)
        async with self._creating:
            try:
                key = await self._current(name)
            except NotFound:
                key = await self._call(lambda: self._create(name, use), _classify_creating)
        if _use(key) != use:
            raise Conflict("A key of this name exists for another use.")
        return _version(key)

    @measured
    async def wrap(self, name: str, plaintext: bytes) -> WrappedKey:
        """See ``KeyVault.wrap``."""
        from azure.keyvault.keys.crypto import KeyWrapAlgorithm
        from azure.keyvault.keys.crypto.aio import CryptographyClient

        check_key_name(name)
        check_plaintext(plaintext)
        key = await self._current(name)
        if _use(key) != "wrap":
            raise ValueError("This key is for signing, not for wrapping.")
        local = CryptographyClient.from_jwk(key.key)
        wrapped = await local.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, plaintext)
        return WrappedKey(name, _version(key), wrapped.encrypted_key)

    @measured
    async def unwrap(self, wrapped: WrappedKey) -> bytes:
        """See ``KeyVault.unwrap``.

        The SDK's cryptography client would send two requests, the first for the public key, which
        unwrapping does not need.
        """
        from azure.core.rest import HttpRequest

        check_key_name(wrapped.name)
        if not wrapped.version:
            raise NotFound("There is no such version of the key.")
        path = f"keys/{wrapped.name}/{quote(wrapped.version, safe='')}/unwrapkey"
        body = {"alg": "RSA-OAEP-256", "value": _to_base64url(wrapped.ciphertext)}

        async def unwrap() -> bytes:
            response = await self._client.send_request(HttpRequest("POST", path, json=body))
            response.raise_for_status()
            return _from_base64url(response.json()["value"])

        return await self._call(unwrap, _classify_unwrapping)

    @measured
    async def sign(self, name: str, digest: bytes) -> Signature:
        """See ``KeyVault.sign``."""
        from azure.keyvault.keys.crypto import SignatureAlgorithm

        check_key_name(name)
        check_digest(digest)
        key = await self._current(name)
        if _use(key) != "sign":
            raise ValueError("This key is for wrapping, not for signing.")
        client = self._client_of(name, _version(key))
        signed = await self._call(lambda: client.sign(SignatureAlgorithm.es256, digest))
        return Signature(name, _version(key), signed.signature)

    @measured
    async def public_key(self, name: str, version: str | None = None) -> bytes:
        """See ``KeyVault.public_key``."""
        check_key_name(name)
        return _pem(await self._current(name, version))

    @measured
    async def rotate(self, name: str) -> str:
        """See ``KeyVault.rotate``."""
        check_key_name(name)
        return _version(await self._call(lambda: self._client.rotate_key(name)))

    @measured
    async def destroy(self, name: str) -> None:
        """See ``KeyVault.destroy``.

        From its return on, nothing can be done with the key. Where the vault has purge protection,
        an operator may still ``recover`` it until the vault's retention ends.
        """
        check_key_name(name)
        for version in [known for known in self._versions if known[0] == name]:
            del self._versions[version]
        # Where it is deleted already, a destruction that was cut short is finished.
        with suppress(NotFound):
            await self._call(lambda: self._client.delete_key(name))
        await self._call(lambda: self._purge(name))

    async def recover(self, name: str) -> None:
        """Bring back a destroyed key with all of its versions, while the vault still has it.

        Raises:
            NotFound: The vault has no such destroyed key.
        """
        check_key_name(name)
        await self._call(lambda: self._client.recover_deleted_key(name))

    @property
    def _client(self) -> KeyClient:
        return self._clients.keys(self._vault)

    async def _create(self, name: str, use: KeyUse) -> KeyVaultKey:
        from azure.keyvault.keys import KeyCurveName, KeyOperation

        if use == "wrap":
            return await self._client.create_rsa_key(
                name,
                size=_RSA_BITS,
                hardware_protected=self._in_hardware,
                key_operations=[KeyOperation.wrap_key, KeyOperation.unwrap_key],
            )
        return await self._client.create_ec_key(
            name,
            curve=KeyCurveName.p_256,
            hardware_protected=self._in_hardware,
            key_operations=[KeyOperation.sign, KeyOperation.verify],
        )

    async def _purge(self, name: str) -> None:
        from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

        try:
            await self._client.purge_deleted_key(name)
        except ResourceNotFoundError:
            return
        except HttpResponseError as error:
            # 403: purge protection; the vault purges by itself when the retention ends.
            if error.status_code != 403:
                raise

    async def _current(self, name: str, version: str | None = None) -> KeyVaultKey:
        return await self._call(lambda: self._client.get_key(name, version))

    def _client_of(self, name: str, version: str) -> CryptographyClient:
        """The client of one version, which never changes; the least used make room."""
        client = self._versions.pop((name, version), None)
        if client is None:
            client = self._client.get_cryptography_client(name, key_version=version)
        self._versions[name, version] = client
        if len(self._versions) > _KNOWN_VERSIONS:
            self._versions.popitem(last=False)
        return client

    async def _call(
        self, operation: Callable[[], Awaitable[T]], classify: Classify | None = None
    ) -> T:
        async def attempt(_attempts: Attempts) -> T:
            return await operation()

        return await call(attempt, classify or _classify, self._clients.timeouts)


def _classify(error: Exception) -> Classification | None:
    """What Key Vault's errors mean."""
    status = _status(error)
    if status == 404:
        return Classification(NotFound("There is no such key, or no such version of it."))
    if status == 409:
        # The vault deletes and recovers in its own time, and refuses everything else until then.
        busy = Unavailable("The key is being destroyed or brought back; try again.")
        return Classification(busy, again=True)
    return classify_http("The key vault", error)


def _classify_creating(error: Exception) -> Classification | None:
    """What they mean when a key is made."""
    if _status(error) == 409:
        return Classification(Conflict("A key of this name was destroyed; use another name."))
    return _classify(error)


def _classify_unwrapping(error: Exception) -> Classification | None:
    """What they mean when a key is unwrapped."""
    if _status(error) == 400:
        return Classification(Damaged("The wrapped key is not one that this key's version made."))
    return _classify(error)


def _status(error: Exception) -> int | None:
    from azure.core.exceptions import HttpResponseError

    return error.status_code if isinstance(error, HttpResponseError) else None


def _to_base64url(data: bytes) -> str:
    """RFC 7515, section 2: without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _from_base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _use(key: KeyVaultKey) -> KeyUse:
    return "sign" if vars(key.key)["n"] is None else "wrap"


def _version(key: KeyVaultKey) -> str:
    version = key.properties.version
    if version is None:
        raise NotFound("There is no such version of the key.")
    return version


def _pem(key: KeyVaultKey) -> bytes:
    """The public key of a JSON Web Key (RFC 7518, section 6) as PEM SubjectPublicKeyInfo."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    jwk = vars(key.key)
    public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey
    if _use(key) == "wrap":
        n, e = (int.from_bytes(part, "big") for part in (jwk["n"], jwk["e"]))
        public = rsa.RSAPublicNumbers(e, n).public_key()
    else:
        x, y = (int.from_bytes(part, "big") for part in (jwk["x"], jwk["y"]))
        public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
