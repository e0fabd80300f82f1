"""Policies of who must have signed a checkpoint, in one file (c2sp.org/tlog-policy).

A policy names logs, witnesses and groups of these, and the quorum: the witness or group that must have
witnessed a checkpoint. A group has witnessed it where at least ``threshold`` of its members have.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from shared.crypto.notes import SignatureType, VerifierKey

NONE: Final = "none"
"""The quorum that asks for no witness."""

COSIGNATURES: Final = (SignatureType.COSIGNATURE_V1, SignatureType.ML_DSA_44)
"""How witnesses sign."""


class PolicyError(ValueError):
    """The text is not a policy; the message says in which line and why."""


@dataclass(frozen=True, slots=True)
class PolicyLog:
    """A log.

    Attributes:
        key: Its name is the log's origin.
        url: Where it is, if the policy says so.
    """

    key: VerifierKey
    url: str = ""


@dataclass(frozen=True, slots=True)
class PolicyWitness:
    """A witness.

    Attributes:
        name: Within the policy alone.
        key: Cosigns.
        url: Where it takes checkpoints, if the policy says so.
    """

    name: str
    key: VerifierKey
    url: str = ""


@dataclass(frozen=True, slots=True)
class PolicyGroup:
    """A group of witnesses and groups.

    Attributes:
        name: Within the policy alone.
        threshold: How many of the members must have witnessed a checkpoint.
        members: Names, each defined before the group.
    """

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """Who must have signed.

    Attributes:
        logs: One of them must have; none: the log is known from elsewhere.
        witnesses: Those that groups and the quorum may name.
        groups: In order; a group names what is before it alone.
        quorum: The name of a witness or a group, or ``NONE``.
    """

    logs: tuple[PolicyLog, ...] = ()
    witnesses: tuple[PolicyWitness, ...] = ()
    groups: tuple[PolicyGroup, ...] = ()
    quorum: str = NONE

    def encode(self) -> str:
        """The file's text."""
        lines = [f"log {log.key} {log.url}" for log in self.logs]
        lines += [f"witness {one.name} {one.key} {one.url}" for one in self.witnesses]
        lines += [
            f"group {one.name} {one.threshold} {' '.join(one.members)}" for one in self.groups
        ]
        return "".join(f"{line.rstrip()}\n" for line in [*lines, f"quorum {self.quorum}"])

    def is_met(self, signers: Collection[VerifierKey]) -> bool:
        """Whether the keys that signed a checkpoint are a quorum of witnesses.

        Args:
            signers: Keys whose signatures were verified.
        """
        met = {NONE} | {witness.name for witness in self.witnesses if witness.key in signers}
        for group in self.groups:
            if len(met.intersection(group.members)) >= group.threshold:
                met.add(group.name)
        return self.quorum in met


def parse_policy(text: str) -> Policy:
    """The policy of a file.

    Raises:
        PolicyError: The text is not a policy.
    """
    reader = _Reader()
    if any(character < " " and character not in "\t\n" for character in text) or "\x7f" in text:
        raise PolicyError("the policy has control characters")
    if text and not text.endswith("\n"):
        raise PolicyError("the policy's last line does not end")
    for number, line in enumerate(text.split("\n"), start=1):
        # Not Python's own idea of space, which is Unicode's.
        words = [word for word in line.replace("\t", " ").split(" ") if word]
        if words and not words[0].startswith("#"):
            try:
                reader.take(words)
            except ValueError as error:
                raise PolicyError(f"line {number} of the policy: {error}") from None
    if reader.quorum is None:
        raise PolicyError("the policy has no quorum")
    return Policy(tuple(reader.logs), tuple(reader.witnesses), tuple(reader.groups), reader.quorum)


class _Reader:
    """Takes the lines of a policy."""

    def __init__(self) -> None:
        self.logs: list[PolicyLog] = []
        self.witnesses: list[PolicyWitness] = []
        self.groups: list[PolicyGroup] = []
        self.quorum: str | None = None
        self._names: set[str] = set()
        self._grouped: set[str] = set()

    def take(self, words: list[str]) -> None:
        match words:
            case ["log", vkey, *url] if len(url) <= 1:
                key = VerifierKey.parse(vkey)
                _check_new(key, (log.key for log in self.logs))
                self.logs.append(PolicyLog(key, *url))
            case ["witness", name, vkey, *url] if len(url) <= 1:
                key = VerifierKey.parse(vkey)
                if key.type not in COSIGNATURES:
                    raise ValueError("a witness has a key for cosignatures")
                _check_new(key, (witness.key for witness in self.witnesses))
                self._define(name)
                self.witnesses.append(PolicyWitness(name, key, *url))
            case ["group", name, threshold, *members] if members:
                group = PolicyGroup(name, _threshold(threshold, len(members)), tuple(members))
                for member in members:
                    if member not in self._names:
                        raise ValueError(f"{member} is not defined before")
                    if member in self._grouped:
                        raise ValueError(f"{member} is a member twice")
                    self._grouped.add(member)
                self._define(name)
                self.groups.append(group)
            case ["quorum", name]:
                if self.quorum is not None:
                    raise ValueError("the quorum is there twice")
                if name != NONE and name not in self._names:
                    raise ValueError(f"{name} is not defined before")
                self.quorum = name
            case _:
                raise ValueError("not a log, witness, group or quorum with its parts")

    def _define(self, name: str) -> None:
        if name == NONE or name in self._names:
            raise ValueError(f"the name {name} is taken")
        self._names.add(name)


def _check_new(key: VerifierKey, others: Iterable[VerifierKey]) -> None:
    """Refuse a public key that is there under any name: who has it would count twice."""
    if any(key.public_key == other.public_key for other in others):
        raise ValueError("the public key is there twice")


def _threshold(text: str, members: int) -> int:
    if text in ("any", "all"):
        return 1 if text == "any" else members
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= members:
        raise ValueError(f"the threshold is not any, all, or 1 to {members}")
    return int(text)
