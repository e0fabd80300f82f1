"""Identities: the private keys of age that open key files, alone or as a quorum of holders."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, islice
from pathlib import Path
from typing import Final

import pyrage

from client.errors import CommandError, ExitCode
from client.recover.format import (
    HOLDERS_FOLDER,
    MAX_FILE_SIZE,
    HolderShare,
    Malformed,
    TargetInfo,
    parse_share,
)
from client.recover.source import Missing, Source
from client.units import counted
from shared.crypto.shares import Share, combine

_ENCRYPTED: Final = b"age-encryption.org/"
_NO_MATCH: Final = "No matching keys found"

_MOST_TRIED: Final = 1000
"""Sets of shares to try, should some shares not belong together."""


class NotForUs(Exception):
    """An age file is encrypted to somebody else, as far as can be told."""


class Damaged(Exception):
    """An age file was changed."""


class Keyring:
    """The identities that a command was given.

    Args:
        identities: At least one.
    """

    def __init__(self, identities: Sequence[pyrage.x25519.Identity]) -> None:
        self._identities = list(identities)

    @property
    def recipients(self) -> tuple[str, ...]:
        """The public keys of the identities."""
        return tuple(str(each.to_public()) for each in self._identities)

    def with_identity(self, identity: pyrage.x25519.Identity) -> Keyring:
        """This, and one more identity."""
        return Keyring([*self._identities, identity])

    def open(self, sealed: bytes) -> bytes:
        """Decrypt an age file.

        Raises:
            NotForUs: No identity opens it.
            Damaged: It was changed.
        """
        try:
            return bytes(pyrage.decrypt(sealed, self._identities))
        except pyrage.DecryptError as error:
            raise (NotForUs if str(error) == _NO_MATCH else Damaged)() from None


def read_identities(paths: Sequence[Path]) -> Keyring:
    """Read identity files as ``age-keygen`` writes them: one identity a line, comments after ``#``.

    Raises:
        CommandError: A file cannot be read, holds no identity, or holds something else.
    """
    identities = []
    for path in paths:
        try:
            text = path.read_bytes()
        except OSError as error:
            raise CommandError(
                f"{path} cannot be read: {error.strerror}.", ExitCode.USAGE
            ) from None
        if text.startswith(_ENCRYPTED):
            raise CommandError(
                f"{path} is encrypted with a passphrase; decrypt it first: age -d {path}",
                ExitCode.USAGE,
            )
        lines = [line.strip() for line in text.decode("utf-8", "replace").splitlines()]
        found = [_identity(path, line) for line in lines if line and not line.startswith("#")]
        if not found:
            raise CommandError(f"{path} holds no identity (AGE-SECRET-KEY-1...).", ExitCode.USAGE)
        identities += found
    return Keyring(identities)


def _identity(path: Path, line: str) -> pyrage.x25519.Identity:
    try:
        return pyrage.x25519.Identity.from_str(line)
    except pyrage.IdentityError:
        raise CommandError(
            f"{path} holds something else than X25519 identities (AGE-SECRET-KEY-1...).",
            ExitCode.USAGE,
        ) from None


async def join_holders(source: Source, info: TargetInfo | None, keyring: Keyring) -> Keyring:
    """With enough holders' identities of a quorum, add the identity that they share.

    Args:
        source: The target.
        info: What is known of it; None: nothing, so that the holders' files decide.
        keyring: The holders' identities.

    Raises:
        CommandError: The holders are too few, or their shares do not belong together.
        SourceError: The target cannot be read.
    """
    if info is not None and (info.quorum < 2 or info.recipient in keyring.recipients):
        return keyring
    shares = await _shares(source, keyring)
    if not shares:
        if info is None:
            return keyring
        raise CommandError(
            f"It takes {info.quorum} of {counted(info.holders, 'holder')} to open this target, and "
            "none of these identities is a holder's.",
            ExitCode.IDENTITY,
        )
    threshold = shares[0].threshold
    if len(shares) < threshold:
        raise CommandError(
            f"It takes {counted(threshold, 'holder')} to open this target, and these identities are "
            f"{len(shares)} of them.",
            ExitCode.IDENTITY,
        )
    for some in islice(combinations(shares, threshold), _MOST_TRIED):
        text = combine([Share(each.index, each.share) for each in some])
        try:
            return keyring.with_identity(pyrage.x25519.Identity.from_str(text.decode("ascii")))
        except (pyrage.IdentityError, UnicodeDecodeError):
            continue
    raise CommandError("The holders' shares do not belong together.", ExitCode.IDENTITY)


async def _shares(source: Source, keyring: Keyring) -> list[HolderShare]:
    """The shares that the identities open, one an index; what is damaged counts as absent."""
    shares: dict[int, HolderShare] = {}
    for each in await source.list(HOLDERS_FOLDER):
        try:
            sealed = await source.read(each.name, 0, MAX_FILE_SIZE)
            share = parse_share(keyring.open(sealed.data))
        except (Missing, NotForUs, Damaged, Malformed):
            continue
        shares[share.index] = share
    lengths = {(len(each.share), each.threshold) for each in shares.values()}
    if len(lengths) > 1:
        raise CommandError("The holders' shares do not belong together.", ExitCode.IDENTITY)
    return [shares[index] for index in sorted(shares)]
