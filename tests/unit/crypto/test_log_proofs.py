"""Checkpoints and ``.tlog-proof`` files."""

from __future__ import annotations

import pytest

from shared.crypto.checkpoints import Checkpoint, CheckpointError, parse_checkpoint
from shared.crypto.log_proofs import LogProof, parse_log_proof
from shared.crypto.merkle import ProofError
from tests.support.audit_logs import BuiltLog, LogKey, build_log

# c2sp.org/tlog-checkpoint
EXAMPLE = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="


@pytest.fixture(scope="module")
def log() -> BuiltLog:
    return build_log(300)


def test_the_checkpoint_of_the_specification() -> None:
    checkpoint = parse_checkpoint(EXAMPLE)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20_852_163)
    assert checkpoint.root.hex().startswith("0ac5186a91863e8e")
    assert checkpoint.encode() == EXAMPLE


def test_extension_lines_are_kept() -> None:
    checkpoint = parse_checkpoint(EXAMPLE + "one\ntwo\n")
    assert checkpoint.extensions == ("one", "two")
    assert checkpoint.encode() == EXAMPLE + "one\ntwo\n"


@pytest.mark.parametrize(
    "text",
    [
        *("", "\n", "a\n1\n", f"a\n1\n{ROOT}", f"\n1\n{ROOT}\n", f"a\n\n{ROOT}\n", "a\n1\n\n"),
        *(f"a\n01\n{ROOT}\n", f"a\n-1\n{ROOT}\n", f"a\n+1\n{ROOT}\n", f"a\n1 \n{ROOT}\n"),
        *(f"a\n9223372036854775808\n{ROOT}\n", f"a\n\u0661\n{ROOT}\n", f"a\n1_0\n{ROOT}\n"),
        *(f"a\n1\n{ROOT[:-1]}\n", f"a\n1\n {ROOT}\n", f"a\n1\n{ROOT}=\n", "a\n1\nAAAA\n"),
        *(f"a\n1\n{ROOT[:-2]}J=\n", f"a\n1\n{ROOT.replace('/', '_')}\n", f"a\n1\n{ROOT}\n\n"),
        *(f"a\r\n1\n{ROOT}\n", f"a\n1\n{ROOT}\nmore\n\nmore\n", f"a\t\n1\n{ROOT}\n"),
    ],
)
def test_other_texts_are_not_checkpoints(text: str) -> None:
    with pytest.raises(CheckpointError):
        parse_checkpoint(text)


@pytest.mark.parametrize("size", [-1, 1 << 63])
def test_sizes_out_of_range(size: int) -> None:
    with pytest.raises(CheckpointError, match="out of range"):
        Checkpoint("a", size, bytes(32))


@pytest.mark.parametrize("extra", [None, b"", b"what its writer added"])
def test_a_proof_is_written_and_read(log: BuiltLog, extra: bytes | None) -> None:
    made = log.proof(73)
    proof = LogProof(made.index, made.hashes, made.checkpoint, extra)
    lines = proof.encode().decode().split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    assert lines[1 if extra is None else 2] == "index 73"
    assert parse_log_proof(proof.encode()) == proof
    assert proof.verify(log.leaves[73], [log.key.verifier]) == log.checkpoint()


def test_every_index_is_proved(log: BuiltLog) -> None:
    for index in range(log.size):
        log.proof(index).verify_inclusion(log.leaves[index])


def test_other_entries_and_other_keys_are_refused(log: BuiltLog) -> None:
    proof = log.proof(73)
    with pytest.raises(ProofError, match="leaf 73 is not in the tree of 300"):
        proof.verify(log.leaves[74], [log.key.verifier])
    with pytest.raises(ProofError, match="none of the keys has signed"):
        proof.verify(log.leaves[73], [LogKey(seed=2).verifier])
    with pytest.raises(ProofError, match="none of the keys has signed"):
        proof.verify(log.leaves[73], [])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("c2sp.org/tlog-proof@v1\n", "c2sp.org/tlog-proof@v2\n", "does not begin with"),
        ("index 73\n", "", "no index"),
        ("index 73\n", "Index 73\n", "no index"),
        ("index 73\n", "index 073\n", "index is not a decimal"),
        ("index 73\n", "index 73\nextra AAAA\n", "hash 0 is"),
        ("index 73\n", "extra A\nindex 73\n", "extra data is"),
        ("index 73\n", "index 73\nAAAA\n", "not 32 bytes"),
        ("index 73\n", "index 73\n" + f"{ROOT}\n" * 64, "more than 63"),
        ("index 73\n", "index 73\n\u00e9\n", "not ASCII"),
    ],
)
def test_malformed_proofs_are_refused(log: BuiltLog, old: str, new: str, message: str) -> None:
    text = log.proof(73).encode().decode()
    assert old in text
    with pytest.raises(ProofError, match=message):
        parse_log_proof(text.replace(old, new, 1).encode())


def test_a_proof_without_its_checkpoint_is_refused(log: BuiltLog) -> None:
    data = log.proof(73).encode()
    with pytest.raises(ProofError, match="no empty line"):
        parse_log_proof(data.partition(b"\n\n")[0])
    with pytest.raises(ValueError, match="note"):
        parse_log_proof(data.partition(b"\n\n")[0] + b"\n\n")
