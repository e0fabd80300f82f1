"""Access tokens: stateless and encrypted, never stored.

A token is a JWE in compact serialization (RFC 7516), ``alg`` dir and ``enc`` A256GCM, whose
plaintext is a JWT claims set (RFC 7519). Its key is HKDF-SHA256 (RFC 5869) of a root secret, with a
random salt for each ``kid``; the ring of kids and salts is not secret, the root is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc.util import json_b64decode

from shared.base.errors import TokenExpired, Unauthenticated

TOKEN_LIFETIME: Final = timedelta(hours=2)
"""The longest that a token may be valid."""

CLOCK_SKEW: Final = timedelta(seconds=60)
"""How far the clocks of two servers may differ."""

MAX_TOKEN_SIZE: Final = 4_096
"""Characters; what a header line of common proxies takes, and many times what a token needs."""

ROOT_SIZE: Final = 32
SALT_SIZE: Final = 16

# Five base64url parts; direct encryption leaves the second empty, A256GCM has a 96-bit nonce (16
# characters) and a 128-bit tag (22). RFC 7516 section 7.1, RFC 7518 sections 4.5 and 5.3.
_TOKEN: Final = re.compile(r"([\w-]+)\.\.[\w-]{16}\.[\w-]+\.[\w-]{22}", re.ASCII)
_KID: Final = re.compile(r"[a-z0-9_-]{1,64}")
_ALGORITHMS: Final = ("dir", "A256GCM")
_REFUSED: Final = "Invalid token; sign in again."


@dataclass(frozen=True, slots=True)
class TokenKey:
    """One key of the ring, without its secret.

    Attributes:
        kid: Names it in tokens: 1 to 64 of ``[a-z0-9_-]``.
        salt: 16 random bytes.
        created_at: When it joined the ring, UTC.
    """

    kid: str
    salt: bytes
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says. Its times are whole seconds; fractions are dropped when it is issued.

    Attributes:
        environment: Where it is valid.
        tenant: Whose user it is for.
        user: Who signed in.
        roles: What they may be at the time of issue.
        security_version: The user's at the time of issue; once theirs is higher, the token is invalid.
        issued_at: UTC.
        expires_at: UTC; the token is expired from then on. At most ``TOKEN_LIFETIME`` after ``issued_at``.
        id: Names this token in the audit log.
    """

    environment: str
    tenant: str
    user: str
    roles: tuple[str, ...]
    security_version: int
    issued_at: datetime
    expires_at: datetime
    id: str


def derive_key(root: bytes, salt: bytes, kid: str) -> bytes:
    """The 32-byte content encryption key of ``kid``.

    Raises:
        ValueError: The root does not have 32 bytes, or the salt 16.
    """
    if len(root) != ROOT_SIZE or len(salt) != SALT_SIZE:
        raise ValueError("a root has 32 bytes and a salt 16")
    return HKDF(SHA256(), 32, salt=salt, info=b"strongroom/token/1/" + kid.encode()).derive(root)


def issue(root: bytes, key: TokenKey, claims: Claims) -> str:
    """Make a token. Its nonce is random, from the operating system, by way of joserfc.

    Raises:
        ValueError: A bad kid, a lifetime that ``read`` would refuse, or a token that is too large.
    """
    # Importing these takes some 200 ms, mostly for X.509, which tokens do not need: whoever never
    # sees a token does not pay for it.
    from joserfc import jwe, jwk

    if not _KID.fullmatch(key.kid):
        raise ValueError("a kid has 1 to 64 lower-case letters, digits, '_' and '-'")
    if not timedelta(0) < claims.expires_at - claims.issued_at <= TOKEN_LIFETIME:
        raise ValueError("a token is valid for two hours at most")
    token = jwe.encrypt_compact(
        _header(key.kid),
        json.dumps(_to_json(claims), separators=(",", ":")),
        jwk.OctKey.import_key(derive_key(root, key.salt, key.kid)),
        algorithms=_ALGORITHMS,
    )
    if len(token) > MAX_TOKEN_SIZE:
        raise ValueError("the token is too large for a header")
    return token


def token_kid(token: str) -> str:
    """The kid that a token names, not yet authenticated, so that the ring can be reloaded for it.

    Raises:
        Unauthenticated: It does not have the form of a token.
    """
    match = _TOKEN.fullmatch(token) if len(token) <= MAX_TOKEN_SIZE else None
    if match is None:
        raise Unauthenticated(_REFUSED)
    try:
        header = json_b64decode(match[1].encode("ascii"))
        kid = header["kid"]
        # Nothing but the header that ``issue`` writes: no other algorithm, no zip, no crit.
        if not _KID.fullmatch(kid) or header != _header(kid):
            raise ValueError
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Unauthenticated(_REFUSED) from None
    return str(kid)


def decrypt(root: bytes, ring: Mapping[str, TokenKey], token: str) -> Claims:
    """What a token says, once it is sure that we issued it; ``check`` says whether it is valid.

    Args:
        root: The secret behind the ring, 32 bytes.
        ring: Token keys by kid.
        token: As it came from the client.

    Raises:
        Unauthenticated: It is malformed, was changed, or names a kid outside the ring.
    """
    from joserfc import errors, jwe, jwk

    key = ring.get(token_kid(token))
    if key is None:
        raise Unauthenticated(_REFUSED)
    secret = jwk.OctKey.import_key(derive_key(root, key.salt, key.kid))
    try:
        plaintext = jwe.decrypt_compact(token, secret, algorithms=_ALGORITHMS).plaintext
        return _from_json(json.loads(plaintext or b""))
    except (errors.JoseError, ValueError, TypeError, KeyError, OverflowError):
        raise Unauthenticated(_REFUSED) from None


def check(claims: Claims, *, environment: str, now: datetime) -> None:
    """Check that a token is valid here and now. The caller compares the user's security version.

    Args:
        claims: What it says.
        environment: Where it must have been issued.
        now: UTC.

    Raises:
        Unauthenticated: It belongs to another environment, was issued in the future, or is valid for too
            long.
        TokenExpired: It has expired; the error names the user.
    """
    lifetime = claims.expires_at - claims.issued_at
    if (
        claims.environment != environment
        or claims.issued_at > now + CLOCK_SKEW
        or not timedelta(0) < lifetime <= TOKEN_LIFETIME
    ):
        raise Unauthenticated(_REFUSED)
    if now >= claims.expires_at:
        expired = TokenExpired("The token has expired; sign in again.")
        expired.tenant, expired.user = claims.tenant, claims.user
        raise expired


def _header(kid: str) -> dict[str, str]:
    return {"alg": "dir", "enc": "A256GCM", "kid": kid}


def _to_json(claims: Claims) -> dict[str, Any]:
    return {
        "env": claims.environment,
        "tenant": claims.tenant,
        "sub": claims.user,
        "roles": claims.roles,
        "epoch": claims.security_version,
        "iat": int(claims.issued_at.timestamp()),
        "exp": int(claims.expires_at.timestamp()),
        "jti": claims.id,
    }


def _from_json(raw: dict[str, Any]) -> Claims:
    return Claims(
        environment=raw["env"],
        tenant=raw["tenant"],
        user=raw["sub"],
        roles=tuple(raw["roles"]),
        security_version=raw["epoch"],
        issued_at=datetime.fromtimestamp(raw["iat"], UTC),
        expires_at=datetime.fromtimestamp(raw["exp"], UTC),
        id=raw["jti"],
    )
