"""Signs in to Google Cloud Storage as a service account, with a token that the account signs itself.

Google takes such tokens without handing out others (https://google.aip.dev/auth/4111), so that nothing is
sent to the places that the JSON of a key names.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from shared.adapters.external.endpoints import parse_service_account
from shared.base.errors import InvalidInput

if TYPE_CHECKING:
    from obstore.store import GCSCredential

_LIFETIME: Final = timedelta(hours=1)
"""The longest that Google takes."""

_RENEWED_BEFORE: Final = timedelta(minutes=5)
_SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_write"


def token_source(service_account: str, now: Callable[[], datetime]) -> Callable[[], GCSCredential]:
    """Makes tokens of a service account, each for an hour.

    Args:
        service_account: The JSON of its key.
        now: The time.

    Raises:
        InvalidInput: It is not, or its private key is not an RSA key.
    """
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import RSAKey

    account = parse_service_account(service_account)
    try:
        key = RSAKey.import_key(account["private_key"])
        if not key.is_private:
            raise ValueError("only a public key")
    except (ValueError, TypeError, JoseError):
        raise InvalidInput("The `private_key` of the service account is not an RSA key.") from None

    def issue() -> GCSCredential:
        issued = now()
        header = {"alg": "RS256", "typ": "JWT", "kid": account["private_key_id"]}
        claims = {
            "iss": account["client_email"],
            "sub": account["client_email"],
            "scope": _SCOPE,
            "iat": int(issued.timestamp()),
            "exp": int((issued + _LIFETIME).timestamp()),
        }
        token = jwt.encode(header, claims, key, algorithms=["RS256"])
        return {"token": token, "expires_at": issued + _LIFETIME - _RENEWED_BEFORE}

    return issue
