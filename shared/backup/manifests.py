"""Manifests: signed by the key vault, chained, and checked before anything of a set is used.

The object is a JWS in compact serialization (RFC 7515) with ES256 (RFC 7518 section 3.4); its ``kid`` is
the version of the key vault's key ``backup-manifests``.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

from pydantic import ValidationError

from shared.backup.models import Manifest, PrecedingSet, object_name
from shared.base.errors import Damaged
from shared.base.streams import single
from shared.keys.jws import JwsSigner
from shared.ports.keys import KeyVault
from shared.ports.write_once import WriteOnceStore

KEY_NAME: Final = "backup-manifests"
"""The key that signs, in the key vault."""

MAX_BYTES: Final = 16 << 20
"""The largest manifest that is read."""


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
    _signer: JwsSigner = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._signer = JwsSigner(self.key_vault, KEY_NAME)

    async def write(self, manifest: Manifest) -> PrecedingSet:
        """Sign a manifest and make it durable; how the next one is to name it.

        Raises:
            Conflict: The set exists.
            Unavailable: The key vault or the backup store does not respond.
        """
        signed = await self._signer.sign(manifest.model_dump_json().encode())
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

    async def _opened(self, signed: bytes) -> Manifest:
        try:
            return Manifest.model_validate_json(await self._signer.opened(signed))
        except (Damaged, ValidationError):
            # Not chained: pydantic's message quotes the manifest.
            raise Damaged("A backup's manifest is not what was signed.") from None
