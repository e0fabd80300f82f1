"""Proofs that an entry is in a log, in one file to check offline (c2sp.org/tlog-proof)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from shared.crypto.checkpoints import Checkpoint, parse_checkpoint
from shared.crypto.merkle import HASH_SIZE, ProofError, leaf_hash, verify_inclusion
from shared.crypto.notation import from_base64, from_decimal, to_base64
from shared.crypto.notes import Note, VerifierKey, parse_note

HEADER: Final = "c2sp.org/tlog-proof@v1"

_EXTRA: Final = "extra "
_INDEX: Final = "index "
_MAX_HASHES: Final = 63


@dataclass(frozen=True, slots=True)
class LogProof:
    """What a ``.tlog-proof`` file holds.

    Attributes:
        index: The entry's position in the log.
        hashes: The inclusion proof: of ``merkle.inclusion_ranges``, in its order.
        checkpoint: The checkpoint with its signatures.
        extra: Whatever its writer added, which nothing authenticates; None if the file has no such line.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: Note
    extra: bytes | None = None

    def encode(self) -> bytes:
        """The file's bytes."""
        lines = [HEADER]
        if self.extra is not None:
            lines.append(_EXTRA + to_base64(self.extra))
        lines += [f"{_INDEX}{self.index}", *map(to_base64, self.hashes), ""]
        return "".join(f"{line}\n" for line in lines).encode() + self.checkpoint.encode()

    def verify_inclusion(self, entry: bytes) -> Checkpoint:
        """Check that the checkpoint's tree holds an entry at the index; its signatures are not looked at.

        Raises:
            ProofError: It does not.
            ValueError: The checkpoint is malformed.
        """
        checkpoint = parse_checkpoint(self.checkpoint.text)
        verify_inclusion(
            leaf_hash(entry), self.index, checkpoint.size, self.hashes, checkpoint.root
        )
        return checkpoint

    def verify(self, entry: bytes, keys: Iterable[VerifierKey]) -> Checkpoint:
        """Check that a log with one of the keys holds an entry at the index.

        Args:
            entry: The entry's bytes.
            keys: One of them, at least, must have signed; what any of them signed must verify.

        Raises:
            ProofError: The tree does not hold it, or none of the keys has signed.
            ValueError: A signature is invalid, or the checkpoint is malformed.
        """
        if not self.checkpoint.verified_by(keys):
            raise ProofError("none of the keys has signed the checkpoint")
        return self.verify_inclusion(entry)


def parse_log_proof(data: bytes) -> LogProof:
    """The proof of a ``.tlog-proof`` file; it encodes into the same bytes again.

    Raises:
        ProofError: The bytes are not such a file.
        ValueError: The note in it is malformed.
    """
    head, found, note = data.partition(b"\n\n")
    if not found:
        raise ProofError("the proof has no empty line before its checkpoint")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise ProofError(
            "the proof has characters that are not ASCII before its checkpoint"
        ) from None
    if lines.pop(0) != HEADER:
        raise ProofError(f"the proof does not begin with {HEADER}")
    extra = None
    if lines and lines[0].startswith(_EXTRA):
        extra = _decoded(lines.pop(0).removeprefix(_EXTRA), "extra data")
    if not lines or not lines[0].startswith(_INDEX):
        raise ProofError("the proof has no index")
    try:
        index = from_decimal(lines.pop(0).removeprefix(_INDEX))
    except ValueError as error:
        raise ProofError(f"the proof's index is {error}") from None
    if len(lines) > _MAX_HASHES:
        raise ProofError(f"the proof has more than {_MAX_HASHES} hashes")
    hashes = tuple(_decoded(line, f"hash {number}") for number, line in enumerate(lines))
    if any(len(node) != HASH_SIZE for node in hashes):
        raise ProofError(f"a hash of the proof is not {HASH_SIZE} bytes")
    return LogProof(index, hashes, parse_note(note), extra)


def _decoded(text: str, what: str) -> bytes:
    try:
        return from_base64(text)
    except ValueError as error:
        raise ProofError(f"the proof's {what} is {error}") from None
