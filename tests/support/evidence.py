"""Checks files out of an audit log, with nothing but what their first line says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from shared.crypto.canonical import canonical_json
from shared.crypto.checkpoints import parse_checkpoint
from shared.crypto.merkle import leaf_hash, verify_inclusion
from shared.crypto.notes import VerifierKey, parse_note


def verified(lines: Iterable[str | bytes]) -> list[dict[str, Any]]:
    """The lines after the first, each that has a proof verified under the checkpoint of the first."""
    header, *others = [json.loads(line) for line in lines]
    note = parse_note(header["checkpoint"].encode())
    assert note.verified_by([VerifierKey.parse(key) for key in header["keys"]])
    checkpoint = parse_checkpoint(note.text)
    assert checkpoint.origin == header["origin"]
    for line in others:
        if "proof" in line:
            verify_inclusion(
                leaf_hash(canonical_json(line["entry"])),
                line["position"],
                checkpoint.size,
                [bytes.fromhex(node) for node in line["proof"]],
                checkpoint.root,
            )
    return others
