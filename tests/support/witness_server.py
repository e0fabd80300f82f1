"""Runs in a process of its own on the packages in ``.log-readers``: an aics-witness on 127.0.0.1.

It prints JSON with its URL and its vkey. Each line of standard input is JSON, a log that it is to know:
``{"origin": "...", "vkey": "..."}``, perhaps with ``size`` and ``root`` (hex) of a checkpoint that it takes
for cosigned. It ends with its input.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from pathlib import Path

from aics_tlog import parse_vkey
from aics_witness import LogConfig, Witness, WitnessStore, make_server
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = WitnessStore(Path(folder) / "witness.db", create=True)
        witness = Witness("witness.example/w1", Ed25519PrivateKey.generate(), store)
        server = make_server(witness)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(json.dumps({"url": server.url, "vkey": witness.vkey_text}), flush=True)  # noqa: T201
        logs: dict[str, LogConfig] = {}
        for line in sys.stdin:
            told = json.loads(line)
            initial = (told["size"], bytes.fromhex(told["root"])) if "size" in told else None
            keys = (parse_vkey(told["vkey"]),)
            logs[told["origin"]] = LogConfig(told["origin"], keys, initial=initial)
            witness.set_logs(logs.values())
            print("known", flush=True)  # noqa: T201
        server.shutdown()


if __name__ == "__main__":
    main()
