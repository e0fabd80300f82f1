"""What we write is read by implementations that are not ours: Go's sumdb packages, and PyPI's aics-tlog."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.crypto.notation import to_base64
from shared.crypto.notes import Note, VerifierKey, parse_note, parse_signature
from tests.support.audit_logs import BuiltLog, build_large_log, build_log
from tests.support.go_reader import build_reader, read_log, require_go
from tests.support.log_readers import read_and_cosign, require_readers

LARGE = 66_000
SIZES = [1, 2, 3, 255, 256, 257, 512, 1_000, LARGE]


@pytest.fixture(scope="module")
def go_reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_go()
    return build_reader(tmp_path_factory.mktemp("go"))


def write(log: BuiltLog, folder: Path) -> None:
    """The log's files, and proofs for Go."""
    for path, data in log.files().items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    sample = sorted(
        {0, 1, log.size // 3, log.size // 2, log.size - 2, log.size - 1} & {*range(log.size)}
    )
    inclusion = [
        {
            "Index": index,
            "Hashes": [to_base64(node) for node in log.tree.inclusion(index, log.size)],
        }
        for index in sample
    ]
    consistency = [
        {
            "Size": index + 1,
            "Root": to_base64(log.tree.hash(0, index + 1)),
            "Hashes": [to_base64(node) for node in log.tree.consistency(index + 1, log.size)],
        }
        for index in sample
    ]
    proofs = {"Inclusion": inclusion, "Consistency": consistency}
    (folder / "proofs.json").write_text(json.dumps(proofs))


@pytest.mark.parametrize("size", SIZES)
def test_go_verifies_note_tiles_bundles_and_proofs(
    go_reader: Path, tmp_path: Path, size: int
) -> None:
    log = build_log(size) if size < LARGE else build_large_log(size)
    log.sign = log.key.sign_twice  # Go does not know the second signature, and ignores it
    write(log, tmp_path)
    ran = read_log(go_reader, tmp_path, str(log.key.verifier))
    assert ran.returncode == 0, ran.stderr
    proofs = min(size, 6)
    assert ran.stdout == (
        f"{size} entries, {proofs} inclusion proofs, {proofs} consistency proofs\n"
    )


@pytest.mark.parametrize("name", ["checkpoint", "tile/0/000", "tile/1/000.p/3", "tile/entries/002"])
def test_go_refuses_what_was_changed(go_reader: Path, tmp_path: Path, name: str) -> None:
    log = build_log(800)
    write(log, tmp_path)
    data = bytearray((tmp_path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    assert read_log(go_reader, tmp_path, str(log.key.verifier)).returncode == 1


def test_another_package_audits_our_tiles_and_its_witness_cosigns(tmp_path: Path) -> None:
    require_readers()
    log = build_log(1_000)
    folder, own = tmp_path / "log", tmp_path / "witness"
    write(log, folder)
    own.mkdir()
    sizes = [600, 601, log.size]
    requests = [
        {
            "old": old,
            "proof": [node.hex() for node in log.tree.consistency(old, size)],
            "note": log.note(size).encode().decode(),
        }
        for old, size in zip([0, *sizes], sizes, strict=False)
    ]
    read = read_and_cosign(folder, str(log.key.verifier), own, requests)
    assert read["log_ok"] is True
    assert (read["size"], read["tiles"], read["bundles"]) == (1_000, 5, 4)

    witness = VerifierKey.parse(read["witness"])
    assert str(witness) == read["witness"]
    assert len(read["cosignatures"]) == len(sizes)
    for size, response in zip(sizes, read["cosignatures"], strict=True):
        own_note = log.note(size)
        note = Note(
            own_note.text, (*own_note.signatures, parse_signature(response.removesuffix("\n")))
        )
        assert note.verified_by([witness, log.key.verifier]) == (witness, log.key.verifier)
        assert parse_note(note.encode()) == note
