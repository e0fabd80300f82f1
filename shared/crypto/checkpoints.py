"""Checkpoints: the size and root of a log as the text of a signed note (c2sp.org/tlog-checkpoint)."""

from __future__ import annotations

from dataclasses import dataclass

from shared.crypto.merkle import HASH_SIZE
from shared.crypto.notation import MAX_INTEGER, from_base64, from_decimal, to_base64


class CheckpointError(ValueError):
    """The text is not a checkpoint; the message says why."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's tree at one size.

    Attributes:
        origin: Names the log, such as ``strongroom.example.com/log/acme``.
        size: Leaves of the tree.
        root: Of the tree, 32 bytes.
        extensions: Lines after those three; nobody can check what they say.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that the parts make a checkpoint.

        Raises:
            CheckpointError: They do not.
        """
        if not 0 <= self.size <= MAX_INTEGER:
            raise CheckpointError(f"the checkpoint's size {self.size} is out of range")
        if len(self.root) != HASH_SIZE:
            raise CheckpointError(f"the checkpoint's root is not {HASH_SIZE} bytes")
        for line in (self.origin, *self.extensions):
            if not line or any(character < " " for character in line):
                raise CheckpointError("a line of the checkpoint is empty or has control characters")

    def encode(self) -> str:
        """The text to sign."""
        lines = (self.origin, str(self.size), to_base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


def parse_checkpoint(text: str) -> Checkpoint:
    """The checkpoint of a note's text; it encodes into the same text again.

    Raises:
        CheckpointError: The text is not a checkpoint.
    """
    if not text.endswith("\n"):
        raise CheckpointError("the checkpoint's last line does not end")
    lines = text[:-1].split("\n")
    if len(lines) < 3:
        raise CheckpointError("the checkpoint has fewer than three lines")
    try:
        size = from_decimal(lines[1])
    except ValueError as error:
        raise CheckpointError(f"the checkpoint's size is {error}") from None
    try:
        root = from_base64(lines[2])
    except ValueError as error:
        raise CheckpointError(f"the checkpoint's root is {error}") from None
    return Checkpoint(lines[0], size, root, tuple(lines[3:]))
