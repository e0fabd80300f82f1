"""Documents signed by the key vault, whose private key no process can take away.

The form is a JWS in compact serialization (RFC 7515) with ES256 (RFC 7518 section 3.4); its ``kid`` is the
version of the key vault's key.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Final

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from shared.base.errors import Damaged, NotFound
from shared.base.models import encode
from shared.ports.keys import KeyVault

_ALGORITHM: Final = "ES256"


@dataclass(slots=True)
class JwsSigner:
    """Signs, and checks what it has signed.

    Attributes:
        key_vault: Signs.
        name: Of the key vault's key, which is made when it is first needed.
    """

    key_vault: KeyVault
    name: str
    _pems: dict[str, bytes] = field(init=False, default_factory=dict, repr=False)
    _keys: dict[str, ECKey] = field(init=False, default_factory=dict, repr=False)

    async def sign(self, payload: bytes) -> bytes:
        """The JWS of a payload.

        Raises:
            Unavailable: The key vault does not respond.
        """
        version = await self.key_vault.create(self.name, "sign")
        while True:
            header = json.dumps({"alg": _ALGORITHM, "kid": version}).encode()
            signing_input = f"{encode(header)}.{encode(payload)}".encode()
            digest = hashlib.sha256(signing_input).digest()
            signature = await self.key_vault.sign(self.name, digest)
            if signature.version == version:
                return signing_input + b"." + encode(signature.value).encode()
            version = signature.version  # the key was rotated since

    async def opened(self, signed: bytes) -> bytes:
        """The payload of a JWS.

        Raises:
            Damaged: It is not what was signed.
            Unavailable: The key vault does not respond.
        """
        try:
            key = await self._key(key_version(signed))
            return jws.deserialize_compact(signed, key, algorithms=[_ALGORITHM]).payload
        except (JoseError, KeyError, TypeError, ValueError, NotFound):
            raise Damaged("A signed document is not what was signed.") from None

    async def public_key(self, version: str) -> bytes:
        """The public key of a version, as PEM SubjectPublicKeyInfo.

        Raises:
            NotFound: There is no such version.
            Unavailable: The key vault does not respond.
        """
        if version not in self._pems:
            self._pems[version] = await self.key_vault.public_key(self.name, version)
        return self._pems[version]

    async def _key(self, version: str) -> ECKey:
        if version not in self._keys:
            self._keys[version] = ECKey.import_key(await self.public_key(version))
        return self._keys[version]


def key_version(signed: bytes) -> str:
    """The version of the key that a JWS says has signed it.

    Raises:
        JoseError, KeyError, ValueError: It is no JWS of this kind.
    """
    return str(jws.extract_compact(signed).headers()["kid"])
