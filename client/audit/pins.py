"""Checkpoints that this user keeps, so that a log cannot change or shrink unnoticed later."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from client.audit.strict_json import parse_object
from client.audit.trust import Trust
from client.errors import CommandError, ExitCode
from client.session import configuration_folder
from shared.crypto.checkpoints import Checkpoint, parse_checkpoint
from shared.crypto.notes import Note, parse_note
from shared.crypto.policies import Policy, parse_policy

FORMAT: Final = "strongroom-audit-pin/1"


@dataclass(frozen=True, slots=True)
class Pin:
    """A checkpoint that was kept.

    Attributes:
        note: The checkpoint with its signatures.
        trust: Whom its keeper trusted; nobody where the file is a checkpoint alone.
    """

    note: Note
    trust: Trust

    @property
    def checkpoint(self) -> Checkpoint:
        """Size and root.

        Raises:
            ValueError: The note is not a checkpoint.
        """
        return parse_checkpoint(self.note.text)

    def encode(self) -> str:
        """The file's text."""
        members = {
            "format": FORMAT,
            "checkpoint": self.note.encode().decode(),
            "policy": self.trust.policy.encode(),
        }
        return json.dumps(members, indent=2) + "\n"


def default_pin_path(origin: str, environment: Mapping[str, str]) -> Path:
    """Where the checkpoint of a log is kept, unless the user says where.

    Args:
        origin: Of the log, which names it and is no file name.
        environment: Environment variables.
    """
    name = hashlib.sha256(origin.encode()).hexdigest()
    return configuration_folder(environment) / "audit" / f"{name}.json"


def load_pin(path: Path) -> Pin | None:
    """What a file keeps: a pin, or a checkpoint alone; None if there is no file.

    Raises:
        CommandError: The file cannot be read or is malformed.
    """
    try:
        data = path.read_bytes()
        pin = _parse_pin(data) if data.startswith(b"{") else Pin(parse_note(data), Trust(Policy()))
        _ = pin.checkpoint
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.", ExitCode.USAGE) from None
    except ValueError as error:
        raise CommandError(f"{path} is not a checkpoint: {error}.", ExitCode.USAGE) from None
    return pin


def save_pin(path: Path, pin: Pin) -> None:
    """Keep a checkpoint in place of the one before.

    Raises:
        CommandError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(pin.encode())
        Path(temporary).replace(path)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from None


def _parse_pin(data: bytes) -> Pin:
    """The pin of a file's bytes.

    Raises:
        ValueError: They are none.
    """
    members = parse_object(data)
    if members.get("format") != FORMAT:
        raise ValueError(f"the format is not {FORMAT}")
    note, policy = members.get("checkpoint"), members.get("policy")
    if members.keys() != {"format", "checkpoint", "policy"} or not isinstance(policy, str):
        raise ValueError("members are missing or unknown")
    return Pin(parse_note(str(note).encode()), Trust(parse_policy(policy)))
