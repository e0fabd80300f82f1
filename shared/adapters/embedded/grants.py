"""Upload grants of the embedded profile: URLs of our own server that carry their permission.

    {public_url}/{name}?expires={unix seconds}&max={bytes}&signature={signature}

The signature is HMAC-SHA256 (RFC 2104) in base64url without padding, over five lines joined by a
line feed: a label, the method, the object's name, ``expires`` and ``max``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from urllib.parse import urlencode

from shared.adapters.checks import check_blob_name
from shared.base.errors import InvalidInput, TokenExpired, Unauthenticated
from shared.ports.blobs import UploadGrant
from shared.ports.clock import Clock

METHOD: Final = "PUT"
_LABEL: Final = "strongroom upload grant 1"
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,17}")


class UploadGrants:
    """Signs upload URLs, and recognises them when they are used.

    Args:
        public_url: Where the server takes uploads, as clients see it, without a trailing slash.
        signing_key: 32 random bytes that nobody else has.
        clock: Decides what has expired.
    """

    def __init__(self, public_url: str, signing_key: bytes, clock: Clock) -> None:
        self._public_url = public_url
        self._signing_key = signing_key
        self._clock = clock

    def issue(self, name: str, *, max_size: int, expires_at: datetime) -> UploadGrant:
        """A URL that takes one object of at most ``max_size`` bytes until ``expires_at``.

        Raises:
            ValueError: The name cannot be an object's name, or the size is negative.
        """
        check_blob_name(name)
        if max_size < 0:
            raise ValueError("An upload's size limit must not be negative.")
        expires = str(int(expires_at.timestamp()))
        limit = str(max_size)
        parameters = {
            "expires": expires,
            "max": limit,
            "signature": self._signature(name, expires, limit),
        }
        return UploadGrant(
            url=f"{self._public_url}/{name}?{urlencode(parameters)}",
            method=METHOD,
            headers={},
            expires_at=expires_at,
        )

    def verify(self, name: str, parameters: Mapping[str, str]) -> int:
        """The size limit of the grant that these query parameters carry for an object.

        Raises:
            InvalidInput: The name, which the client sent, cannot be an object's name.
            Unauthenticated: They carry no grant of ours for this object.
            TokenExpired: They carry a grant that has expired.
        """
        try:
            check_blob_name(name)
        except ValueError as error:
            raise InvalidInput(str(error)) from None
        expires, limit = parameters.get("expires", ""), parameters.get("max", "")
        signature = parameters.get("signature", "").encode(errors="replace")
        if (
            _NUMBER.fullmatch(expires) is None
            or _NUMBER.fullmatch(limit) is None
            or not hmac.compare_digest(signature, self._signature(name, expires, limit).encode())
        ):
            raise Unauthenticated(
                "The upload URL is not one that we gave out; use it exactly as it was given."
            )
        if self._clock.now().timestamp() >= int(expires):
            raise TokenExpired("The upload URL has expired; ask for a new one.")
        return int(limit)

    def _signature(self, name: str, expires: str, limit: str) -> str:
        signed = "\n".join((_LABEL, METHOD, name, expires, limit)).encode()
        mac = hmac.digest(self._signing_key, signed, hashlib.sha256)
        return base64.urlsafe_b64encode(mac).decode().rstrip("=")
