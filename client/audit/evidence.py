"""What can be verified, and what that proves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from client.audit.trust import Growth, Signed, Trust
from client.units import counted
from shared.crypto.checkpoints import Checkpoint
from shared.crypto.notes import Note, VerifierKey


@dataclass(frozen=True, slots=True)
class Stamped:
    """What a time stamp authority states, verified.

    Attributes:
        size: Entries of the checkpoint that it is about: the first ones of the log.
        time: When they existed at the latest, UTC.
        authority: The subject of its certificate.
    """

    size: int
    time: datetime
    authority: str

    @property
    def text(self) -> str:
        """Part of a line."""
        exist = "exists" if self.size == 1 else "exist"
        return (
            f"the first {counted(self.size, 'entry', 'entries')} provably {exist} since "
            f"{self.time:%Y-%m-%dT%H:%M:%SZ}, as {self.authority} states"
        )


@dataclass(frozen=True, slots=True)
class Proved:
    """What was proved.

    Attributes:
        signed: The checkpoint, and who signed it.
        start: Position of the first entry that was checked.
        end: The position after the last.
        growth: How the log compares with the checkpoint that was kept.
        remark: What was not looked at, or what the only entry is; may be empty.
        stamped: The time stamp of the log, where one was asked for.
    """

    signed: Signed
    start: int
    end: int
    growth: Growth
    remark: str = ""
    stamped: Stamped | None = None

    @property
    def text(self) -> str:
        """The proof in a line."""
        checkpoint = self.signed.checkpoint
        kept = counted(self.growth.kept_size or 0, "entry", "entries")
        parts = [
            f"Proved: {_entries(self.start, self.end)} of the log {checkpoint.origin}, whose "
            f"{counted(checkpoint.size, 'entry', 'entries')} are signed by {_names(self.signed.signers)}"
        ]
        if self.signed.witnesses:
            parts.append(f"cosigned by {_names(self.signed.witnesses)}")
        if self.growth.proved:
            parts.append(f"only appended to since the {kept} that you kept")
        elif self.growth.is_older:
            parts.append(f"older than the {kept} that you kept, and not compared with them")
        if self.stamped is not None:
            parts.append(self.stamped.text)
        if self.signed.others:
            parts.append(f"not checked against anything you gave: {_names(self.signed.others)}")
        if self.remark:
            parts.append(self.remark)
        return "; ".join(parts) + "."

    @property
    def fields(self) -> dict[str, Any]:
        """The same for programs."""
        checkpoint = self.signed.checkpoint
        stamped: dict[str, Any] = {}
        if self.stamped is not None:
            stamped = {
                "timestamp": self.stamped.time.isoformat(),
                "timestamp_size": self.stamped.size,
                "timestamp_authority": self.stamped.authority,
            }
        return {
            "origin": checkpoint.origin,
            "size": checkpoint.size,
            "root": checkpoint.root.hex(),
            "start": self.start,
            "end": self.end,
            "signed_by": _vkeys(self.signed.signers),
            "cosigned_by": _vkeys(self.signed.witnesses),
            "not_checked": _vkeys(self.signed.others),
            "kept_size": self.growth.kept_size,
            "growth_proved": self.growth.proved,
            "remark": self.remark,
            **stamped,
        }


class Evidence(Protocol):
    """An export, a proof or a log.

    Attributes:
        note: The checkpoint that it is about, not yet verified.
    """

    note: Note

    def verify(self, trust: Trust, kept: Checkpoint | None) -> Proved:
        """Verify everything in it.

        Args:
            trust: Who must have signed.
            kept: An earlier checkpoint to compare with.

        Raises:
            NotProved: Something is wrong or missing.
        """


def _entries(start: int, end: int) -> str:
    if end == start:
        return "no entries"
    if end == start + 1:
        return f"entry {start}"
    return f"entries {start} to {end - 1}"


def _names(keys: Sequence[VerifierKey]) -> str:
    return ", ".join(f"{key.name}+{key.key_id:08x}" for key in keys)


def _vkeys(keys: Sequence[VerifierKey]) -> list[str]:
    return [str(key) for key in keys]
