"""Whom to believe: the keys that must have signed a checkpoint, and the checkpoint that was kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from client.audit.problems import NotProved, QuorumMissed
from shared.crypto.checkpoints import Checkpoint, parse_checkpoint
from shared.crypto.merkle import EMPTY_ROOT, ProofError, verify_consistency
from shared.crypto.notes import Note, VerifierKey
from shared.crypto.policies import Policy, PolicyLog

CHECKPOINT: Final = "checkpoint"


@dataclass(frozen=True, slots=True)
class Signed:
    """A checkpoint whose signatures were verified.

    Attributes:
        checkpoint: Its size and root.
        signers: Keys of the log, trusted, that signed it; one at least.
        witnesses: Trusted witnesses that cosigned it.
        others: Keys that signed it too, and were not checked against anything trusted.
    """

    checkpoint: Checkpoint
    signers: tuple[VerifierKey, ...]
    witnesses: tuple[VerifierKey, ...]
    others: tuple[VerifierKey, ...]


@dataclass(frozen=True, slots=True)
class Trust:
    """Verifies checkpoints for somebody.

    Attributes:
        policy: Whom they trust. One of its logs must have signed, and a quorum of its witnesses.
    """

    policy: Policy

    @classmethod
    def of(cls, *keys: VerifierKey) -> Trust:
        """Trust in keys of a log alone."""
        return cls(Policy(tuple(PolicyLog(key) for key in keys)))

    @property
    def keys(self) -> tuple[VerifierKey, ...]:
        """The trusted keys of logs."""
        return tuple(log.key for log in self.policy.logs)

    def verify(
        self, note: Note, offered: Sequence[VerifierKey] = (), where: str = CHECKPOINT
    ) -> Signed:
        """Verify a checkpoint's signatures.

        Args:
            note: The checkpoint.
            offered: Keys that came with it. Their signatures must verify, and prove nothing.
            where: What to call it where it is not proved.

        Raises:
            QuorumMissed: Only cosignatures are missing.
            NotProved: A signature is invalid, or a trusted one is missing.
        """
        try:
            checkpoint = parse_checkpoint(note.text)
            trusted = tuple(witness.key for witness in self.policy.witnesses)
            signed = note.verified_by((*self.keys, *trusted, *offered))
        except ValueError as error:
            raise NotProved(str(error), where) from None
        # The root of no entries is known.
        if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
            raise NotProved("the root of a log without entries is wrong", where)
        signers = tuple(key for key in signed if key in self.keys and key.name == checkpoint.origin)
        witnesses = tuple(key for key in signed if key in trusted)
        if not signers:
            logs = [key for key in signed if key in self.keys]
            raise NotProved(_untrusted(checkpoint, logs, note), where)
        if not self.policy.is_met(witnesses):
            raise QuorumMissed(
                f"cosigned by {len(witnesses)} of the {len(trusted)} witnesses that you gave, which is "
                "no quorum of them",
                where,
            )
        others = tuple(key for key in signed if key not in signers and key not in witnesses)
        return Signed(checkpoint, signers, witnesses, others)


class Growth:
    """Compares a log with an earlier checkpoint of it, which was kept or is known otherwise.

    Args:
        kept: The earlier checkpoint; None if there is none.
        present: The checkpoint that is verified now.
        what: What the earlier checkpoint is called.

    Attributes:
        wanted: The size at which the log's root is needed to compare; None: no need.
        proved: Whether the log is known to have grown from the kept checkpoint.

    Raises:
        NotProved: Both are of one size and have different roots, or are of different logs.
    """

    def __init__(
        self,
        kept: Checkpoint | None,
        present: Checkpoint,
        what: str = "the checkpoint that you kept",
    ) -> None:
        self._kept = kept
        self._present = present
        self._what = what
        self.proved = False
        self.wanted: int | None = None
        if kept is None:
            return
        if kept.origin != present.origin:
            raise NotProved(
                f"of the log {present.origin}; {what} is of {kept.origin}",
                CHECKPOINT,
            )
        if kept.size in (0, present.size):
            self.compare(kept.size, present.root if kept.size else EMPTY_ROOT)
        elif kept.size < present.size:
            self.wanted = kept.size

    @property
    def kept_size(self) -> int | None:
        """Entries of the kept checkpoint."""
        return None if self._kept is None else self._kept.size

    @property
    def is_older(self) -> bool:
        """Whether what is verified now is older than what was kept."""
        return self._kept is not None and self._kept.size > self._present.size

    def compare(self, size: int, root: bytes) -> None:
        """Compare the log's root at the size of the kept checkpoint with it.

        Raises:
            NotProved: They differ.
        """
        if self._kept is None or size != self._kept.size:
            return
        if root != self._kept.root:
            raise NotProved(
                f"the first {size} entries are not those of {self._what}: "
                "entries were changed, or the log was forked",
                CHECKPOINT,
            )
        self.proved = True
        self.wanted = None

    def compare_by_proof(self, hashes: Sequence[bytes]) -> None:
        """Compare by a consistency proof from the kept checkpoint's size to the present one.

        Raises:
            NotProved: The proof is not one.
        """
        if self._kept is None:
            return
        try:
            verify_consistency(
                self._kept.size, self._present.size, self._kept.root, self._present.root, hashes
            )
        except ProofError as error:
            raise NotProved(f"growth since {self._what}: {error}") from None
        self.proved = True
        self.wanted = None


def _untrusted(checkpoint: Checkpoint, signed: Sequence[VerifierKey], note: Note) -> str:
    """Why no signature counts."""
    misnamed = [key for key in signed if key.name != checkpoint.origin]
    names = ", ".join(f"{one.name}+{one.key_id:08x}" for one in note.signatures)
    text = (
        f"signed by {names}, not checked against anything you gave: give the log's key with --key"
    )
    if signed and len(misnamed) == len(signed):
        text = f"signed by {names}, and no log key that you gave has the log's name {checkpoint.origin}"
    return text
