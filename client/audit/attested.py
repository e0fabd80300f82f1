"""What others state about a log, beside its checkpoint: witnesses, and a time stamp authority."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography.x509 import Certificate

from client.audit.evidence import Stamped
from client.audit.prefetch import Fetch
from client.audit.problems import NotProved, QuorumMissed
from client.audit.trust import Growth, Signed, Trust
from client.units import counted
from shared.crypto.checkpoints import parse_checkpoint
from shared.crypto.notes import Note, parse_note
from shared.crypto.timestamps import TimestampError, verify_timestamp

WITNESSED_PATH: Final = "witnessed"
TIMESTAMP_PATH: Final = "timestamp"
STAMPED_PATH: Final = "timestamp/checkpoint"
"""Below a log's URL."""

_READS: Final = 3
"""A time stamp and its checkpoint are read one after the other, and may be replaced in between."""


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A checkpoint that a quorum has cosigned.

    Attributes:
        note: It.
        signed: Who signed it.
        remark: What is not proved, where it is not the newest one; else empty.
    """

    note: Note
    signed: Signed
    remark: str = ""


def read_note(fetch: Fetch, path: str) -> Note | None:
    """The signed note at a path; None: there is none.

    Raises:
        NotProved: It is malformed.
    """
    data = fetch(path)
    if data is None:
        return None
    try:
        return parse_note(data)
    except ValueError as error:
        raise NotProved(str(error), path) from None


def find_cosigned(fetch: Fetch, newest: Note, trust: Trust) -> Cosigned:
    """The newest checkpoint, or where too few have cosigned it yet, the one that a quorum has cosigned.

    Args:
        fetch: Reads the log.
        newest: Its newest checkpoint.
        trust: Who must have signed.

    Raises:
        QuorumMissed: There is no such checkpoint.
        NotProved: A signature is invalid or missing, or the two checkpoints disagree.
    """
    try:
        return Cosigned(newest, trust.verify(newest))
    except QuorumMissed:
        note = read_note(fetch, WITNESSED_PATH)
        if note is None:
            raise
    signed = trust.verify(note, where=WITNESSED_PATH)
    checkpoint, present = signed.checkpoint, parse_checkpoint(newest.text)
    if checkpoint.origin != present.origin:
        raise NotProved(f"of the log {checkpoint.origin}, not {present.origin}", WITNESSED_PATH)
    if checkpoint.size == present.size and checkpoint.root != present.root:
        raise NotProved(
            f"the witnesses were shown another log of {present.size} entries: the log was forked",
            WITNESSED_PATH,
        )
    later = max(0, present.size - checkpoint.size)
    are = "is" if later == 1 else "are"
    remark = f"{counted(later, 'later entry', 'later entries')} {are} not cosigned yet"
    return Cosigned(note, signed, remark if later else "")


def find_stamped(
    fetch: Fetch, roots: tuple[Certificate, ...], trust: Trust, signed: Signed
) -> tuple[Stamped, Growth]:
    """The newest time stamp of a log, and the comparison that is still to be made with the log.

    Args:
        fetch: Reads the log.
        roots: What the authority's certificate must chain to.
        trust: Whose keys must have signed the stamped checkpoint; it needs no cosignatures.
        signed: The checkpoint up to which the log is verified.

    Raises:
        NotProved: There is none, it does not verify, or it is of more entries than are verified.
    """
    note, reply = _read_stamp(fetch)
    stamped = Trust.of(*trust.keys).verify(note, where=STAMPED_PATH).checkpoint
    try:
        timestamp = verify_timestamp(reply, note.encode(), roots)
    except TimestampError as error:
        raise NotProved(str(error), TIMESTAMP_PATH) from None
    growth = Growth(stamped, signed.checkpoint, "the checkpoint that has the time stamp")
    if growth.is_older:
        raise NotProved(
            f"of {stamped.size} entries, more than the {signed.checkpoint.size} that are verified: "
            "try again later",
            TIMESTAMP_PATH,
        )
    return Stamped(stamped.size, timestamp.time, timestamp.authority), growth


def _read_stamp(fetch: Fetch) -> tuple[Note, bytes]:
    """A checkpoint and the time stamp that belongs to it."""
    note = read_note(fetch, STAMPED_PATH)
    for _ in range(_READS):
        reply = fetch(TIMESTAMP_PATH)
        again = read_note(fetch, STAMPED_PATH)
        if note is None or reply is None or again is None:
            raise NotProved("missing: no checkpoint of the log has a time stamp", TIMESTAMP_PATH)
        if again == note:
            return note, reply
        note = again
    raise NotProved("replaced while it was read", TIMESTAMP_PATH)
