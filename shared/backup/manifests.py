"""Manifests: signed by the key vault, chained, and checked before anything of a set is used.

The object is a JWS in compact serialization (RFC 7515) with ES256 (RFC 7518 section 3.4); its ``kid`` is
the version of the key vault's key ``backup-manifests``.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Final

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from pydantic import ValidationError

from shared.backup.models import Manifest, PrecedingSet, object_name
from shared.base.errors import Damaged, NotFound
from shared.base.models import encode
from shared.base.streams import single
from shared.ports.keys import KeyVault
from shared.ports.write_once import WriteOnceStore

KEY_NAME: Final = "backup-manifests"
"""The key that signs, in the key vault."""

MAX_BYTES: Final = 16 << 20
"""The largest manifest that is read."""

_ALGORITHM: Final = "ES256"


@dataclass(slots=True)
class Manifests:
    """Writes and reads manifests.

    Attributes:
        store: Where sets are.
        key_vault: Signs.
        environment: Whose sets are read.
    """

    store: WriteOnceStore
    key_vault: KeyVault
    environment: str
    _public_keys: dict[str, ECKey] = field(init=False, default_factory=dict, repr=False)

    async def write(self, manifest: Manifest) -> PrecedingSet:
        """Sign a manifest and make it durable; how the next one is to name it.

        Raises:
            Conflict: The set exists.
            Unavailable: The key vault or the backup store does not respond.
        """
        signed = await self._signed(manifest.model_dump_json().encode())
        name = object_name(manifest.tenant, "sets", manifest.id)
        await self.store.put(name, single(signed), retain_until=manifest.retain_until)
        return PrecedingSet(id=manifest.id, sha256=hashlib.sha256(signed).digest())

    async def preceding(self, tenant: str, name: str) -> PrecedingSet:
        """How the manifest after a set names it.

        Raises:
            NotFound: As for ``read``, and so are the others.
            Damaged: See ``read``.
            Unavailable: See ``read``.
        """
        signed = await self._get(tenant, name)
        await self._checked(tenant, name, signed)
        return PrecedingSet(id=name, sha256=hashlib.sha256(signed).digest())

    async def read(self, tenant: str, id: str, sha256: bytes | None = None) -> Manifest:
        """The manifest of a set.

        Args:
            tenant: Whose.
            id: Of the set.
            sha256: What its object must hash to; None: it is not known.

        Raises:
            NotFound: There is no such set.
            Damaged: It is not what was signed, or belongs elsewhere.
            Unavailable: The key vault or the backup store does not respond.
        """
        signed = await self._get(tenant, id)
        if sha256 is not None and not hmac.compare_digest(hashlib.sha256(signed).digest(), sha256):
            raise Damaged("A backup's manifest is not the one that was written.")
        return await self._checked(tenant, id, signed)

    async def _get(self, tenant: str, name: str) -> bytes:
        content = self.store.get(object_name(tenant, "sets", name), end=MAX_BYTES)
        return b"".join([piece async for piece in content])

    async def _checked(self, tenant: str, name: str, signed: bytes) -> Manifest:
        manifest = await self._opened(signed)
        if (manifest.environment, manifest.tenant, manifest.id) != (self.environment, tenant, name):
            raise Damaged("A backup's manifest belongs to another set.")
        return manifest

    async def _signed(self, payload: bytes) -> bytes:
        version = await self.key_vault.create(KEY_NAME, "sign")
        while True:
            header = json.dumps({"alg": _ALGORITHM, "kid": version}).encode()
            signing_input = f"{encode(header)}.{encode(payload)}".encode()
            digest = hashlib.sha256(signing_input).digest()
            signature = await self.key_vault.sign(KEY_NAME, digest)
            if signature.version == version:
                return signing_input + b"." + encode(signature.value).encode()
            version = signature.version  # the key was rotated since

    async def _opened(self, signed: bytes) -> Manifest:
        try:
            version = jws.extract_compact(signed).headers()["kid"]
            key = await self._public_key(version)
            return Manifest.model_validate_json(
                jws.deserialize_compact(signed, key, algorithms=[_ALGORITHM]).payload
            )
        except (JoseError, KeyError, TypeError, ValueError, ValidationError, NotFound):
            # Not chained: pydantic's message quotes the manifest.
            raise Damaged("A backup's manifest is not what was signed.") from None

    async def _public_key(self, version: str) -> ECKey:
        if version not in self._public_keys:
            pem = await self.key_vault.public_key(KEY_NAME, version)
            self._public_keys[version] = ECKey.import_key(pem)
        return self._public_keys[version]
