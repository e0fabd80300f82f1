"""MemoryKeyVault: private keys in a dictionary."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from shared.adapters import softkeys
from shared.adapters.checks import check_digest, check_key_name, check_plaintext
from shared.adapters.softkeys import PrivateKey, make_private_key
from shared.base.errors import Conflict, NotFound
from shared.ports.clock import Entropy
from shared.ports.keys import KeyUse, Signature, WrappedKey


@dataclass(slots=True)
class _Key:
    """A key with its versions, the current one last; none once it is destroyed."""

    use: KeyUse
    versions: dict[str, PrivateKey] = field(default_factory=dict)

    @property
    def current(self) -> str:
        return next(reversed(self.versions))


@dataclass(slots=True)
class MemoryKeyVault:
    """A ``KeyVault`` whose keys are gone with the process.

    Attributes:
        entropy: Makes the names of versions.
        make_key: Makes private keys; tests that need many may hand out prepared ones.
    """

    entropy: Entropy
    make_key: Callable[[KeyUse], PrivateKey] = make_private_key
    _keys: dict[str, _Key] = field(default_factory=dict, init=False)

    async def create(self, name: str, use: KeyUse) -> str:
        """See ``KeyVault.create``."""
        check_key_name(name)
        if name not in self._keys:
            made = await asyncio.to_thread(self.make_key, use)
            fresh = _Key(use, {self.entropy(16).hex(): made})
            self._keys.setdefault(name, fresh)  # another caller may have been faster
        key = self._keys[name]
        if not key.versions:
            raise Conflict("A key of this name was destroyed; choose another name.")
        if key.use != use:
            raise Conflict("A key of this name exists for another use.")
        return key.current

    async def wrap(self, name: str, plaintext: bytes) -> WrappedKey:
        """See ``KeyVault.wrap``."""
        check_plaintext(plaintext)
        key = self._key(name)
        return WrappedKey(name, key.current, softkeys.wrap(key.versions[key.current], plaintext))

    async def unwrap(self, wrapped: WrappedKey) -> bytes:
        """See ``KeyVault.unwrap``."""
        return softkeys.unwrap(self._version(wrapped.name, wrapped.version), wrapped.ciphertext)

    async def sign(self, name: str, digest: bytes) -> Signature:
        """See ``KeyVault.sign``."""
        check_digest(digest)
        key = self._key(name)
        return Signature(name, key.current, softkeys.sign(key.versions[key.current], digest))

    async def public_key(self, name: str, version: str | None = None) -> bytes:
        """See ``KeyVault.public_key``."""
        return softkeys.public_pem(self._version(name, version or self._key(name).current))

    async def rotate(self, name: str) -> str:
        """See ``KeyVault.rotate``."""
        made = await asyncio.to_thread(self.make_key, self._key(name).use)
        key = self._key(name)  # it may have been destroyed since
        version = self.entropy(16).hex()
        key.versions[version] = made
        return version

    async def destroy(self, name: str) -> None:
        """See ``KeyVault.destroy``. The name stays taken."""
        check_key_name(name)
        if name in self._keys:
            self._keys[name].versions.clear()

    def _key(self, name: str) -> _Key:
        check_key_name(name)
        key = self._keys.get(name)
        if key is None or not key.versions:
            raise NotFound("There is no such key.")
        return key

    def _version(self, name: str, version: str) -> PrivateKey:
        try:
            return self._key(name).versions[version]
        except KeyError:
            raise NotFound("There is no such version of the key.") from None
