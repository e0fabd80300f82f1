"""Passwords: Argon2id (RFC 9106) as PHC strings, and what NIST SP 800-63B asks of new ones.

Parameters: 64 MiB, 3 passes, 1 lane. Memory and passes are RFC 9106's second recommended option,
well above OWASP's least (19 MiB, 2 passes, 1 lane). One lane, because a sign-in then occupies one
core of a server that others share; an attacker, who has many guesses to run at once, gains nothing.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from shared.base.errors import InvalidInput

MIN_LENGTH: Final = 12
MAX_LENGTH: Final = 256
"""Code points of a password. The upper bound only keeps the work of reading one small."""

MEMORY_KIB: Final = 65_536
PASSES: Final = 3
LANES: Final = 1
SALT_SIZE: Final = 16
HASH_SIZE: Final = 32

_PARAMETERS: Final = f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}$"
# The digits bound what a hash from elsewhere may make us spend: below 1 GiB, 100 passes, 10 lanes.
_PHC: Final = re.compile(
    r"\$argon2id\$v=19\$m=[0-9]{1,6},t=[0-9]{1,2},p=[0-9]\$[A-Za-z0-9+/]{11,64}\$[A-Za-z0-9+/]{22,86}"
)

_TEMPORARY_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: no i, l, o or u, so that it can be read out and typed."""


def _unpadded_base64(raw: bytes) -> str:
    return base64.b64encode(raw).rstrip(b"=").decode("ascii")


DUMMY_HASH: Final = (
    _PARAMETERS + _unpadded_base64(bytes(SALT_SIZE)) + "$" + _unpadded_base64(bytes(HASH_SIZE))
)
"""The hash of no known password: verifying against it costs what a real user's costs, and fails."""


def check_new_password(password: str) -> None:
    """Check the form of a password that a user chose.

    Raises:
        InvalidInput: It is too short or too long, or is not text.
    """
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise InvalidInput(
            f"A password has {MIN_LENGTH} to {MAX_LENGTH} characters; choose another one."
        )
    # NIST SP 800-63B asks for stable normalisation: unassigned code points (Cn) may come to mean
    # something else one day. Surrogates (Cs) and control characters (Cc) are no text at all.
    if any(unicodedata.category(character) in {"Cc", "Cn", "Cs"} for character in password):
        raise InvalidInput("A password has printable characters and spaces only; choose another.")


def hash_password(password: str, entropy: Callable[[int], bytes]) -> str:
    """The PHC string to store. It takes 64 MiB and about half a second of one core.

    Args:
        password: In clear, one that ``check_new_password`` accepts.
        entropy: Cryptographically secure random bytes, for the salt.
    """
    return Argon2id(
        salt=entropy(SALT_SIZE),
        length=HASH_SIZE,
        iterations=PASSES,
        lanes=LANES,
        memory_cost=MEMORY_KIB,
    ).derive_phc_encoded(_normalise(password))


def verify_password(password: str, phc: str) -> bool:
    """Whether this is the password behind a PHC string. A malformed string matches no password.

    For a user who does not exist, verify against ``DUMMY_HASH``, so that the time tells nothing.
    """
    if len(password) > MAX_LENGTH or not _PHC.fullmatch(phc):
        return False
    try:
        Argon2id.verify_phc_encoded(_normalise(password), phc)
    except (InvalidKey, ValueError):  # ValueError: also a lone surrogate, which is no text
        return False
    return True


def needs_rehash(phc: str) -> bool:
    """Whether a hash was made otherwise than ``hash_password`` makes it today."""
    return not phc.startswith(_PARAMETERS)


def temporary_password(entropy: Callable[[int], bytes]) -> str:
    """A random password of 120 bits in six groups, such as ``8f3k-0zjp-w6tn-4v1x-c9ma-7qeh``."""
    number = int.from_bytes(entropy(15), "big")
    text = "".join(_TEMPORARY_ALPHABET[(number >> shift) & 31] for shift in range(115, -1, -5))
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))


def _normalise(password: str) -> bytes:
    """One byte string for all ways to type the same characters (NFKC, NIST SP 800-63B)."""
    return unicodedata.normalize("NFKC", password).encode()
