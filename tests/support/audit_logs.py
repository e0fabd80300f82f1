"""Logs with tiles, checkpoints, proofs and exports, in memory.

The hashes are those of the textbook: of RFC 6962's own recursion over all leaves, without a frontier.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from shared.crypto import merkle, tiles
from shared.crypto.canonical import canonical_json
from shared.crypto.checkpoints import Checkpoint
from shared.crypto.cosignatures import TIME_SIZE, cosignature_v1_message
from shared.crypto.log_proofs import LogProof
from shared.crypto.notes import (
    Note,
    NoteSignature,
    SignatureType,
    VerifierKey,
    cosign_ml_dsa_44,
    sign_ed25519,
)

REFERENCE_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
"""Of the reference implementation's test: google/certificate-transparency, merkle_tree_test.cc."""

ORIGIN = "strongroom.example.com/log/acme"
AT = 1_790_000_000

Range = tuple[int, int]


@dataclass
class TextbookTree:
    """The Merkle tree hash of any range of some leaves, as RFC 6962 section 2.1 defines it."""

    leaves: Sequence[bytes]
    _known: dict[Range, bytes] = field(default_factory=dict)

    def hash(self, start: int, end: int) -> bytes:
        if end == start:
            return merkle.EMPTY_ROOT
        if end - start == 1:
            return self.leaves[start]
        if (start, end) not in self._known:
            middle = start + (1 << ((end - start - 1).bit_length() - 1))
            both = merkle.node_hash(self.hash(start, middle), self.hash(middle, end))
            self._known[start, end] = both
        return self._known[start, end]

    def node(self, level: int, index: int) -> bytes:
        return self.hash(index << level, (index + 1) << level)

    def inclusion(self, index: int, size: int) -> list[bytes]:
        return [self.hash(*span) for span in merkle.inclusion_ranges(index, size)]

    def consistency(self, old: int, new: int) -> list[bytes]:
        return [self.hash(*span) for span in merkle.consistency_ranges(old, new)]

    def tile(self, path: tiles.TilePath) -> bytes:
        assert path.level is not None
        first = path.index * tiles.WIDTH
        return b"".join(
            self.node(path.level * tiles.HEIGHT, first + number) for number in range(path.width)
        )


def entry(position: int) -> dict[str, Any]:
    """An entry as the audit log has them."""
    return {
        "id": f"aud_{position:026}",
        "time": f"2026-11-26T10:{position // 60 % 60:02}:{position % 60:02}Z",
        "tenant": "ten_1",
        "actor": {"kind": "user", "id": f"usr_{position % 7}"},
        "action": "document.open",
        "resource": f"doc_{position % 13}",
        "outcome": "allowed",
        "details": {"size": position * 1_000, "name": "Übergröße"},
    }


@dataclass
class LogKey:
    """Keys that sign a log: Ed25519, and an ML-DSA-44 cosignature where asked for."""

    name: str = ORIGIN
    seed: int = 1

    def __post_init__(self) -> None:
        self.ed25519 = Ed25519PrivateKey.from_private_bytes(bytes([self.seed] * 32))
        self.ml_dsa = MLDSA44PrivateKey.from_seed_bytes(bytes([self.seed] * 32))
        self.verifier = VerifierKey(
            self.name, SignatureType.ED25519, self.ed25519.public_key().public_bytes_raw()
        )
        self.ml_dsa_verifier = VerifierKey(
            self.name, SignatureType.ML_DSA_44, self.ml_dsa.public_key().public_bytes_raw()
        )

    def sign(self, text: str) -> list[NoteSignature]:
        return [sign_ed25519(self.ed25519, self.name, text)]

    def sign_twice(self, text: str) -> list[NoteSignature]:
        return [*self.sign(text), cosign_ml_dsa_44(self.ml_dsa, self.name, text, AT)]


@dataclass
class BuiltLog:
    """A log of some entries.

    Attributes:
        entries: In order.
        key: Signs.
        origin: Names it.
        sign: Makes a checkpoint's signatures; by default the key's Ed25519.
    """

    entries: list[dict[str, Any]]
    key: LogKey = field(default_factory=LogKey)
    origin: str = ORIGIN
    sign: Callable[[str], list[NoteSignature]] | None = None

    def __post_init__(self) -> None:
        self.leaves = [canonical_json(one) for one in self.entries]
        self.tree = TextbookTree([merkle.leaf_hash(leaf) for leaf in self.leaves])

    @property
    def size(self) -> int:
        return len(self.entries)

    def checkpoint(self, size: int | None = None) -> Checkpoint:
        size = self.size if size is None else size
        return Checkpoint(self.origin, size, self.tree.hash(0, size))

    def note(self, size: int | None = None) -> Note:
        text = self.checkpoint(size).encode()
        return Note(text, tuple((self.sign or self.key.sign)(text)))

    def bundle(self, path: tiles.TilePath) -> bytes:
        first = path.index * tiles.WIDTH
        return tiles.encode_bundle(self.leaves[first : first + path.width])

    def files(self, size: int | None = None) -> dict[str, bytes]:
        """Everything that is below the log's URL, by path."""
        size = self.size if size is None else size
        files = {"checkpoint": self.note(size).encode()}
        for path in tiles_of_growth(0, size):
            files[str(path)] = self.tree.tile(path)
            if path.level == 0:
                bundle = tiles.TilePath(None, path.index, path.width)
                files[str(bundle)] = self.bundle(bundle)
        return files

    def proof(self, index: int, extra: bytes | None = None) -> LogProof:
        hashes = tuple(self.tree.inclusion(index, self.size))
        return LogProof(index, hashes, self.note(), extra)

    def export(
        self, start: int, end: int, *, grown_from: int | None = None, ocsf: bool = False
    ) -> list[bytes]:
        """The lines of an export."""
        header = {
            "format": "strongroom-audit-export/1",
            "origin": self.origin,
            "checkpoint": self.note().encode().decode(),
            "keys": [str(self.key.verifier), str(self.key.ml_dsa_verifier)],
            "start": start,
            "end": end,
            "from": "2026-11-26T10:00:00Z",
            "to": "2026-11-27T10:00:00Z",
        }
        row_of = self._event if ocsf else self._row
        rows = [header, *(row_of(position) for position in range(start, end))]
        proof: dict[str, Any] = {
            "left": self._hex(merkle.subtrees(0, start)),
            "right": self._hex(merkle.subtrees(end, self.size)),
        }
        if grown_from is not None:
            hashes = [node.hex() for node in self.tree.consistency(grown_from, self.size)]
            proof["growth"] = {"from": grown_from, "hashes": hashes}
        return [encoded(row) for row in [*rows, {"proof": proof}]]

    def _row(self, position: int) -> dict[str, Any]:
        return {"position": position, "entry": self.entries[position]}

    def _event(self, position: int) -> dict[str, Any]:
        return {
            "class_uid": 6003,
            "metadata": {"version": "1.3.0", "sequence": position},
            "raw_data": self.leaves[position].decode(),
        }

    def _hex(self, nodes: Sequence[tuple[int, int]]) -> list[str]:
        return [self.tree.node(*node).hex() for node in nodes]


def build_log(size: int, **options: Any) -> BuiltLog:
    """A log of so many entries."""
    return BuiltLog([entry(position) for position in range(size)], **options)


def build_large_log(size: int) -> BuiltLog:
    """A log of so many small entries."""
    return BuiltLog([{"number": number} for number in range(size)])


def encoded(row: dict[str, Any]) -> bytes:
    """A line of NDJSON."""
    return json.dumps(row).encode() + b"\n"


def tiles_of_growth(old_size: int, new_size: int) -> list[tiles.TilePath]:
    """The tiles that exist when a tree has grown and did not before, from the lowest level up.

    Args:
        old_size: Leaves before.
        new_size: Leaves after; no fewer.
    """
    found = []
    level = 0
    while new_size:
        if new_size > old_size:
            found += [
                tiles.TilePath(level, index, min(tiles.WIDTH, new_size - index * tiles.WIDTH))
                for index in range(old_size // tiles.WIDTH, (new_size - 1) // tiles.WIDTH + 1)
            ]
        old_size //= tiles.WIDTH
        new_size //= tiles.WIDTH
        level += 1
    return found


def cosign_ed25519(key: Ed25519PrivateKey, name: str, text: str, at: int) -> NoteSignature:
    """Cosign a checkpoint (cosignature/v1, type 0x04) at a POSIX time in seconds."""
    verifier = VerifierKey(name, SignatureType.COSIGNATURE_V1, key.public_key().public_bytes_raw())
    signature = key.sign(cosignature_v1_message(text, at))
    return NoteSignature(name, verifier.key_id, at.to_bytes(TIME_SIZE, "big") + signature)
