"""Witnesses: one in memory, after c2sp.org/tlog-witness, and aics-witness in a process of its own."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.crypto.checkpoints import Checkpoint, parse_checkpoint
from shared.crypto.merkle import EMPTY_ROOT, ProofError, verify_consistency
from shared.crypto.notes import SignatureType, VerifierKey, parse_note
from shared.crypto.policies import parse_policy
from shared.crypto.witnessing import SIZE_TYPE
from shared.ports.posting import PostResponse
from tests.support.audit_logs import AT, cosign_ed25519
from tests.support.log_readers import PACKAGES
from tests.support.process import ROOT


@dataclass
class MemoryWitness:
    """A witness that takes any log whose name it knows, and remembers what it has cosigned.

    Attributes:
        name: Of its key, and in policies.
        logs: The checkpoint of each log that it cosigned last, by origin.
        asked: The old size and the size of each request.
        responses: What the next requests get, whatever they are.
        knows: Whether it knows a log.
    """

    name: str = "w1"
    logs: dict[str, Checkpoint] = field(default_factory=dict)
    asked: list[tuple[int, int]] = field(default_factory=list)
    responses: list[PostResponse | Exception] = field(default_factory=list)
    knows: bool = True

    def __post_init__(self) -> None:
        self.private = Ed25519PrivateKey.generate()
        self.key = VerifierKey(
            f"witness.example/{self.name}",
            SignatureType.COSIGNATURE_V1,
            self.private.public_key().public_bytes_raw(),
        )
        self.prefix = f"https://{self.name}.witness.example/log"
        self.url = f"{self.prefix}/add-checkpoint"

    @property
    def line(self) -> str:
        """Its line in a policy."""
        return f"witness {self.name} {self.key} {self.prefix}"

    def respond(self, body: bytes) -> PostResponse:
        """For a ``MemoryPoster``."""
        head, _, encoded = body.partition(b"\n\n")
        first, *proof = head.decode().split("\n")
        assert first.startswith("old ")
        old = int(first.removeprefix("old "))
        note = parse_note(encoded)
        checkpoint = parse_checkpoint(note.text)
        self.asked.append((old, checkpoint.size))
        if self.responses:
            response = self.responses.pop(0)
            if isinstance(response, Exception):
                raise response
            return response
        if not self.knows:
            return PostResponse(404, "text/plain", b"unknown log\n")
        known = self.logs.get(checkpoint.origin, Checkpoint(checkpoint.origin, 0, EMPTY_ROOT))
        if old > checkpoint.size:
            return PostResponse(400, "text/plain", b"old is too large\n")
        if old != known.size or (old == checkpoint.size and known.root != checkpoint.root):
            return PostResponse(409, SIZE_TYPE, f"{known.size}\n".encode())
        try:
            hashes = [base64.b64decode(line) for line in proof]
            verify_consistency(old, checkpoint.size, known.root, checkpoint.root, hashes)
        except ProofError:
            return PostResponse(422, "text/plain", b"not consistent\n")
        self.logs[checkpoint.origin] = checkpoint
        return self.cosigned(note.text)

    def cosigned(self, text: str) -> PostResponse:
        """A response with its cosignature of a text."""
        line = cosign_ed25519(self.private, self.key.name, text, AT).encode()
        return PostResponse(200, "text/plain", f"{line}\n".encode())


def policy_text(witnesses: list[MemoryWitness], threshold: str = "all") -> str:
    """The policy that so many of some witnesses are a quorum."""
    names = " ".join(witness.name for witness in witnesses)
    lines = [witness.line for witness in witnesses]
    text = "".join(
        f"{line}\n"
        for line in [*lines, f"group all-of-them {threshold} {names}", "quorum all-of-them"]
    )
    parse_policy(text)
    return text


@dataclass
class ServedWitness:
    """An aics-witness.

    Attributes:
        url: Its submission prefix.
        vkey: Of its key.
    """

    url: str
    vkey: str
    process: subprocess.Popen[str]

    @property
    def policy(self) -> str:
        """A policy that asks for it alone."""
        return f"witness w1 {self.vkey} {self.url}\nquorum w1\n"

    def know(self, origin: str, vkey: str, **initial: object) -> None:
        """Have it take checkpoints of a log."""
        self._tell({"origin": origin, "vkey": vkey, **initial})

    def _tell(self, line: dict[str, object]) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "known\n"


@contextmanager
def serving_witness() -> Iterator[ServedWitness]:
    """Run an aics-witness on 127.0.0.1."""
    process = subprocess.Popen(
        [sys.executable, "-P", ROOT / "tests/support/witness_server.py"],
        env=os.environ | {"PYTHONPATH": str(PACKAGES)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        made = json.loads(process.stdout.readline())
        yield ServedWitness(made["url"], made["vkey"], process)
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()
