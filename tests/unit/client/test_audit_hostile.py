"""More than a thousand ways to tamper with a log, an export or a proof: each is found, and named."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import pytest

from client.audit.export import Export
from client.audit.inclusion import InclusionProof
from client.audit.log import Log
from client.audit.problems import NotProved
from client.audit.trust import Trust
from tests.support.audit_logs import BuiltLog, build_large_log, build_log
from tests.support.tampering import (
    Tampered,
    forked_logs,
    tampered_exports,
    tampered_logs,
    tampered_proofs,
)

SIZE = 600
KEPT = 300
INDEX = 77
START, END = 250, 290


@pytest.fixture(scope="module")
def log() -> BuiltLog:
    return build_log(SIZE)


@pytest.fixture(scope="module")
def large() -> BuiltLog:
    """A log whose tiles have three levels."""
    return build_large_log(66_000)


@pytest.fixture(scope="module")
def trust(log: BuiltLog) -> Trust:
    return Trust.of(log.key.verifier)


def found(tampered: Iterator[Tampered], verify: Callable[[Tampered], object]) -> int:
    """Verify all; how many there were."""
    number = 0
    missed = []
    for one in tampered:
        number += 1
        try:
            verify(one)
        except NotProved as problem:
            if problem.detail and re.fullmatch(one.where, problem.where):
                continue
            missed.append(f"{one.what}: expected {one.where}, found {problem}")
        else:
            missed.append(f"{one.what}: not found")
    assert not missed, "\n".join(missed[:20])
    return number


def verify_log(log: BuiltLog, trust: Trust, one: Tampered) -> object:
    assert one.files is not None
    return Log(one.files.get).verify(trust, log.checkpoint(KEPT))


def verify_lines(log: BuiltLog, trust: Trust, one: Tampered) -> object:
    assert one.lines is not None
    return Export(one.lines).verify(trust)


def test_what_was_not_changed_is_proved(log: BuiltLog, trust: Trust) -> None:
    assert Log(log.files().get).verify(trust, log.checkpoint(KEPT)).growth.proved
    for ocsf in (False, True):
        export = Export(log.export(START, END, ocsf=ocsf))
        proved = export.verify(trust, log.checkpoint(KEPT // 2 + 106))
        assert (proved.start, proved.end) == (START, END)


def test_tampered_logs(log: BuiltLog, trust: Trust) -> None:
    assert found(tampered_logs(log), lambda one: verify_log(log, trust, one)) > 1_000


@pytest.mark.parametrize(
    "path",
    [
        *("tile/0/000", "tile/0/100", "tile/0/256", "tile/0/257.p/208"),
        *("tile/1/000", "tile/1/001.p/1", "tile/2/000.p/1"),
    ],
)
def test_a_tampered_tile_of_any_level_is_named(large: BuiltLog, path: str) -> None:
    files = large.files()
    tile = files[path]
    files[path] = tile[:-1] + bytes([tile[-1] ^ 1])
    with pytest.raises(NotProved) as caught:
        Log(files.get).verify(Trust.of(large.key.verifier))
    assert caught.value.where == path


def test_forked_logs_that_the_log_itself_signed(log: BuiltLog, trust: Trust) -> None:
    assert found(forked_logs(log, KEPT), lambda one: verify_log(log, trust, one)) > 30


@pytest.mark.parametrize("ocsf", [False, True])
def test_tampered_exports(log: BuiltLog, trust: Trust, ocsf: bool) -> None:
    tampered = tampered_exports(log, START, END, ocsf=ocsf)
    assert found(tampered, lambda one: verify_lines(log, trust, one)) > 800


def test_tampered_proofs(log: BuiltLog, trust: Trust) -> None:
    entry = json.dumps(log.entries[INDEX]).encode()

    def verify(one: Tampered) -> None:
        assert one.proof is not None
        InclusionProof(one.proof, entry).verify(trust)

    assert found(tampered_proofs(log, INDEX), verify) > 1_000


def test_a_proof_of_another_entry(log: BuiltLog, trust: Trust) -> None:
    for index in range(0, SIZE, 5):
        if index != INDEX:
            with pytest.raises(NotProved, match=f"^position {INDEX}: leaf {INDEX} is not in"):
                InclusionProof(log.proof(INDEX).encode(), log.leaves[index]).verify(trust)
