"""What ``strongroom audit`` does: verify, and keep what was verified."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.x509 import Certificate

from client.audit.evidence import Proved
from client.audit.pins import Pin, default_pin_path, load_pin, save_pin
from client.audit.problems import NotProved
from client.audit.source import open_evidence
from client.audit.trust import Trust
from client.errors import CommandError, ExitCode
from client.output import Output
from shared.crypto.checkpoints import parse_checkpoint
from shared.crypto.notes import Note, VerifierKey
from shared.crypto.policies import parse_policy
from shared.crypto.timestamps import parse_certificates


@dataclass(frozen=True, slots=True)
class Verification:
    """What to verify.

    Attributes:
        source: A path or a URL.
        entry: The file with the entry of a proof.
        trust: Whom the user named; without keys, those of the pin count.
        roots: Certificates of a time stamp authority, where its time stamp is to be verified as well.
    """

    source: str
    entry: Path | None
    trust: Trust
    roots: tuple[Certificate, ...] = ()


def read_trust(
    keys: Sequence[str], witnesses: Sequence[str], quorum: int | None, policy: Path | None
) -> Trust:
    """The trust that options express.

    Args:
        keys: Of the log: vkeys, or paths of files with one vkey a line.
        witnesses: The same of witnesses.
        quorum: How many witnesses must have cosigned; by default all.
        policy: A file with a policy (c2sp.org/tlog-policy), which takes the place of witnesses and quorum.

    Raises:
        CommandError: A key or the policy is malformed, or the quorum cannot be met.
    """
    if policy is not None and (witnesses or quorum is not None):
        raise CommandError("--policy says who the witnesses are; give it alone.", ExitCode.USAGE)
    logs = [f"log {key}" for key in _read_keys(keys)]
    try:
        given = policy.read_text("utf-8") if policy else _witness_policy(witnesses, quorum)
        return Trust(parse_policy("".join(f"{line}\n" for line in logs) + given))
    except OSError as error:
        raise CommandError(f"{policy} cannot be read: {error.strerror}.", ExitCode.USAGE) from None
    except ValueError as error:
        raise CommandError(f"{error}.", ExitCode.USAGE) from None


def read_roots(file: Path | None) -> tuple[Certificate, ...]:
    """The certificates of a PEM file; none without a file.

    Raises:
        CommandError: It cannot be read, or holds none.
    """
    if file is None:
        return ()
    try:
        return parse_certificates(file.read_text("utf-8"))
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.", ExitCode.USAGE) from None
    except ValueError as error:
        raise CommandError(f"{file} is not a certificate: {error}.", ExitCode.USAGE) from None


def _witness_policy(witnesses: Sequence[str], quorum: int | None) -> str:
    """The policy that some of the witnesses must have cosigned; by default all."""
    keys = _read_keys(witnesses)
    names = [f"w{number}" for number in range(1, len(keys) + 1)]
    if not names and quorum is None:
        return "quorum none\n"
    lines = [f"witness {name} {key}" for name, key in zip(names, keys, strict=True)]
    needed = "all" if quorum is None else quorum
    lines += [f"group witnesses {needed} {' '.join(names)}", "quorum witnesses"]
    return "".join(f"{line}\n" for line in lines)


def verify(wanted: Verification, since: Path | None, output: Output) -> None:
    """Verify and print what was proved.

    Args:
        wanted: What.
        since: The file with the checkpoint to compare with; None: the pin of the log, if there is one.
        output: Where to print.

    Raises:
        CommandError: It is not proved, or cannot be read.
    """
    proved, _ = _verify(wanted, since, output, must_be_there=since is not None)
    if since is not None and not proved.growth.proved:
        raise _failure(NotProved(f"older than the checkpoint in {since}"), output)
    output.emit("verified", proved.text, **proved.fields)


def pin(wanted: Verification, out: Path | None, output: Output) -> None:
    """Verify, and keep the checkpoint with the trusted keys in place of the one before.

    Args:
        wanted: What.
        out: The file to keep it in; None: the default one of the log.
        output: Where to print.

    Raises:
        CommandError: It is not proved, cannot be read or cannot be kept.
    """
    proved, kept = _verify(wanted, out, output, must_be_there=False)
    if proved.growth.is_older:
        raise _failure(NotProved("older than the checkpoint that you kept, which stays"), output)
    origin = proved.signed.checkpoint.origin
    path = out or default_pin_path(origin, os.environ)
    save_pin(path, kept)
    output.emit("pinned", f"{proved.text} Kept in {path}.", file=str(path), **proved.fields)


def _verify(
    wanted: Verification, path: Path | None, output: Output, *, must_be_there: bool
) -> tuple[Proved, Pin]:
    """Verify; what was proved, and what would be kept of it."""
    try:
        with open_evidence(wanted.source, wanted.entry, wanted.roots) as evidence:
            file = path or default_pin_path(_origin(evidence.note), os.environ)
            kept = load_pin(file)
            if kept is None and must_be_there:
                raise CommandError(f"{file} does not exist.", ExitCode.USAGE)
            trust = _joined(wanted.trust, kept)
            if kept is not None:
                _verify_kept(kept, trust, file)
            proved = evidence.verify(trust, kept.checkpoint if kept else None)
            return proved, Pin(evidence.note, trust)
    except NotProved as problem:
        raise _failure(problem, output) from None
    except KeyboardInterrupt:
        raise CommandError("interrupted; nothing is proved.", ExitCode.INTERRUPTED) from None


def _verify_kept(kept: Pin, trust: Trust, file: Path) -> None:
    """Verify that the log signed what was kept; witnesses may have been asked for only since."""
    try:
        Trust.of(*trust.keys).verify(kept.note)
    except NotProved as problem:
        raise NotProved(problem.detail, f"checkpoint in {file}") from None


def _failure(problem: NotProved, output: Output) -> CommandError:
    output.emit(
        "problem", "", detail=problem.detail, where=problem.where, position=problem.position
    )
    return CommandError(f"not proved: {problem}.")


def _origin(note: Note) -> str:
    try:
        return parse_checkpoint(note.text).origin
    except ValueError as error:
        raise NotProved(str(error), "checkpoint") from None


def _joined(trust: Trust, kept: Pin | None) -> Trust:
    """Whom the user trusts now, and whom they trusted when they kept a checkpoint."""
    if kept is None:
        return trust
    former = kept.trust.policy
    given = trust.policy if trust.policy.witnesses else former
    logs = {log.key.public_key: log for log in (*former.logs, *trust.policy.logs)}
    return Trust(dataclasses.replace(given, logs=tuple(logs.values())))


def _read_keys(texts: Sequence[str]) -> tuple[VerifierKey, ...]:
    keys: list[VerifierKey] = []
    for text in texts:
        try:
            lines = [text] if "+" in text else Path(text).read_text("utf-8").split()
            keys += [VerifierKey.parse(line) for line in lines]
        except OSError as error:
            raise CommandError(
                f"{text} cannot be read: {error.strerror}.", ExitCode.USAGE
            ) from None
        except ValueError as error:
            raise CommandError(f"{text} is not a key: {error}.", ExitCode.USAGE) from None
    return tuple(dict.fromkeys(keys))
