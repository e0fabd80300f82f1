"""What logs and witnesses say to each other (c2sp.org/tlog-witness, ``add-checkpoint``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shared.crypto.notation import from_decimal, to_base64
from shared.crypto.notes import NoteError, NoteSignature, VerifierKey, parse_signature

PATH: Final = "/add-checkpoint"
"""Below a witness's submission prefix."""

SIZE_TYPE: Final = "text/x.tlog.size"
"""The media type of the size that a witness has, with the status 409."""


def add_checkpoint_body(old: int, proof: Sequence[bytes], note: bytes) -> bytes:
    """The body of a request to cosign a checkpoint.

    Args:
        old: Entries of the checkpoint that the witness cosigned last; 0: none.
        proof: The hashes of ``merkle.consistency_ranges`` from there to the checkpoint.
        note: The checkpoint with the log's signatures.
    """
    lines = [f"old {old}", *map(to_base64, proof), ""]
    return "".join(f"{line}\n" for line in lines).encode() + note


def parse_size(body: bytes) -> int:
    """The size in the body of a response with the status 409.

    Raises:
        ValueError: It is not a decimal number and a newline.
    """
    text = body.decode("ascii")
    if not text.endswith("\n"):
        raise ValueError("the size does not end in a newline")
    return from_decimal(text[:-1])


def parse_cosignature(body: bytes, key: VerifierKey, text: str) -> NoteSignature:
    """The cosignature by one key in the body of a response with the status 200, verified.

    Args:
        body: Signature lines. Those of other keys are left out, as the specification asks.
        key: Of the witness.
        text: Of the checkpoint.

    Raises:
        NoteError: The body is malformed, or has no cosignature by the key, or one that is invalid.
    """
    try:
        lines = body.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        raise NoteError("the response is not UTF-8") from None
    if lines.pop():
        raise NoteError("the response's last line does not end")
    own = [one for one in map(parse_signature, lines) if key.made(one)]
    if not own:
        raise NoteError(f"the response has no cosignature by {key.name}")
    for one in own:
        key.verify(text, one.signature)
    return own[0]
