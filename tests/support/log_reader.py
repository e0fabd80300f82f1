"""Runs in a process of its own on the packages in ``.log-readers``: audits a log's files, then cosigns.

Arguments: the folder of the log, its vkey, and a folder for the witness. Each line of standard input is
JSON, a checkpoint to cosign: ``{"old": 0, "proof": ["hex"], "note": "..."}``. It prints JSON: what it
read, the witness's vkey, and its response to each.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from aics_tlog import FileSystemTileReader, parse_checkpoint, parse_note, parse_vkey
from aics_tlog.checkpoint import verify_checkpoint
from aics_tlog.verified import audit_tiles
from aics_witness import LogConfig, Witness, WitnessStore
from aics_witness.protocol import format_add_checkpoint_request
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

WITNESS = "witness.example/w1"


def main() -> None:
    folder, vkey, own = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    note = parse_note((folder / "checkpoint").read_bytes())
    checkpoint = parse_checkpoint(note.text)
    key = parse_vkey(vkey)
    verified = verify_checkpoint(note, key, expected_origin=checkpoint.origin)
    report = audit_tiles(FileSystemTileReader(folder), checkpoint.size, checkpoint.root)
    store = WitnessStore(own / "witness.db", create=True)
    log = LogConfig(origin=checkpoint.origin, vkeys=(key,))
    witness = Witness(WITNESS, Ed25519PrivateKey.generate(), store, [log])
    cosignatures = []
    for line in sys.stdin:
        asked = json.loads(line)
        proof = [bytes.fromhex(node) for node in asked["proof"]]
        body = format_add_checkpoint_request(asked["old"], proof, asked["note"].encode())
        cosignatures.append(witness.add_checkpoint(body).decode())
    read = {
        "log_ok": verified.log_ok,
        "size": report.size,
        "tiles": report.tiles,
        "bundles": report.bundles,
        "witness": witness.vkey_text,
        "cosignatures": cosignatures,
    }
    print(json.dumps(read))  # noqa: T201


if __name__ == "__main__":
    main()
