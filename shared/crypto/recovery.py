"""Recovery keys: age recipients (https://age-encryption.org/v1) that a tenant's independent copy is for.

One holder, or any one of several, opens the copy's files with an age identity of their own: the files
are encrypted to all of their recipients. Where a quorum of holders is asked for, the files are encrypted
to a fresh identity that nobody has: its text is shared out by Shamir's scheme, each share encrypted to
one holder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import pyrage

from shared.crypto.shares import Share, split

MAX_HOLDERS: Final = 16
"""Each key file of a target without a quorum carries a stanza for every holder."""


@dataclass(frozen=True, slots=True)
class RecoveryKeys:
    """What the files of a target are encrypted to.

    Attributes:
        recipients: Of the files.
        shares: Of the identity that opens them, in the order of the holders; none without a quorum.
    """

    recipients: tuple[str, ...]
    shares: tuple[Share, ...] = ()


def canonical_recipient(text: str) -> str:
    """The usual spelling of an X25519 recipient: ``age1`` and 58 more characters, in lower case.

    Raises:
        ValueError: The text is not such a recipient.
    """
    try:
        return str(pyrage.x25519.Recipient.from_str(text))
    except pyrage.RecipientError:
        raise ValueError("a recipient is an X25519 public key of age: age1...") from None


def make_recovery_keys(
    holders: Sequence[str], quorum: int, entropy: Callable[[int], bytes]
) -> RecoveryKeys:
    """Decide what the files of a target are encrypted to.

    With a quorum of 2 or more a fresh identity is made and forgotten: after this, only its shares exist.

    Args:
        holders: Their recipients, each once.
        quorum: How many holders it takes to open a file.
        entropy: Cryptographically secure random bytes, for the shares. The identity itself comes from
            age's own source.

    Raises:
        ValueError: Not ``1 <= quorum <= len(holders) <= MAX_HOLDERS``, or a holder twice.
    """
    if not 1 <= quorum <= len(holders) <= MAX_HOLDERS:
        raise ValueError(f"the quorum is at least 1, and of at most {MAX_HOLDERS} holders")
    if len(set(holders)) < len(holders):
        raise ValueError("two holders have the same recipient")
    if quorum == 1:
        return RecoveryKeys(tuple(holders))
    identity = pyrage.x25519.Identity.generate()
    shares = split(str(identity).encode("ascii"), quorum, len(holders), entropy)
    return RecoveryKeys((str(identity.to_public()),), tuple(shares))


def encrypt_to(recipients: Sequence[str], plaintext: bytes) -> bytes:
    """An age file, in binary, that the identity of any one of the recipients opens.

    Raises:
        ValueError: There is no recipient, or one is malformed.
    """
    if not recipients:
        raise ValueError("an age file is for somebody")
    try:
        parsed = [pyrage.x25519.Recipient.from_str(text) for text in recipients]
    except pyrage.RecipientError:
        raise ValueError("a recipient is malformed") from None
    return bytes(pyrage.encrypt(plaintext, parsed))
