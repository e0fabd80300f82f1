"""A real server, aics-witness and a time stamp authority, and a customer with the command alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.crypto.checkpoints import parse_checkpoint
from shared.crypto.notes import parse_note
from tests.journeys.test_audit_verification import Customer
from tests.support.accounts import bearer
from tests.support.log_readers import require_readers
from tests.support.process import ServerProcess, wait_until
from tests.support.timestamping import TestAuthority, require_openssl
from tests.support.witnesses import ServedWitness, serving_witness


@pytest.fixture
def witness() -> Iterator[ServedWitness]:
    require_readers()
    with serving_witness() as witness:
        yield witness


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    require_openssl()
    return TestAuthority(tmp_path / "authority")


@pytest.fixture
def server(
    tmp_path: Path, witness: ServedWitness, authority: TestAuthority
) -> Iterator[ServerProcess]:
    (tmp_path / "policy").write_text(witness.policy)
    with authority.serving() as url:
        server = ServerProcess(
            tmp_path / "data",
            audit_checkpoint_schedule="* * * * * *",
            audit_checkpoint_seconds="1",
            # Not before the witness knows the log: it would be left alone for a minute.
            audit_attestation_schedule="0 0 0 1 1 *",
            audit_witness_policy_file=str(tmp_path / "policy"),
            audit_timestamp_url=url,
            audit_timestamp_roots_file=str(authority.root_file),
        )
        server.start()
        yield server
        server.discard()


@pytest.fixture
def customer(server: ServerProcess, tmp_path: Path) -> Iterator[Customer]:
    server.wait_until_ready()
    customer = Customer(server, tmp_path / "home")
    yield customer
    customer.http.close()


def witnessed(customer: Customer) -> int:
    answer = customer.http.get(f"{customer.log}/witnessed", headers=bearer(customer.token))
    return parse_checkpoint(parse_note(answer.content).text).size if answer.is_success else 0


def introduce(
    customer: Customer, server: ServerProcess, witness: ServedWitness, **initial: object
) -> None:
    """Tell the witness of the log, and have it asked each second from then on."""
    origin = str(customer.get("audit/keys").json()["origin"])
    witness.know(origin, customer.key(), **initial)
    server.stop()
    server.configure(audit_attestation_schedule="* * * * * *")
    server.start()
    server.wait_until_ready()


def test_a_log_is_cosigned_stamped_and_verified_and_survives_kills(
    customer: Customer,
    server: ServerProcess,
    witness: ServedWitness,
    authority: TestAuthority,
    tmp_path: Path,
) -> None:
    introduce(customer, server, witness)
    for size in (20, 45, 70):
        customer.work(size)
        # Whatever it was doing: asking, or keeping what it got.
        server.kill()
        server.start()
        server.wait_until_ready()
    sure = customer.size()
    wait_until(lambda: witnessed(customer) >= sure, "the cosignature")
    wait_until(
        lambda: (
            customer.http.get(
                f"{customer.log}/timestamp", headers=bearer(customer.token)
            ).is_success
        ),
        "the time stamp",
    )
    policy = tmp_path / "policy"
    ran = customer.run(
        *("audit", "verify", customer.log, "--key", customer.key()),
        *("--policy", policy, "--timestamp-root", authority.root_file),
    )
    assert ran.code == 0, ran.out + ran.err
    assert len(ran.out.splitlines()) == 1
    assert "cosigned by witness.example/w1+" in ran.out
    # The stamp may be of a time when there was one entry.
    assert re.search("provably exists? since 2", ran.out)
    pinned = customer.run("audit", "pin", customer.log, "--key", customer.key(), "--policy", policy)
    assert pinned.code == 0, pinned.out + pinned.err
    assert "audit.difference" not in server.log()


def test_a_log_with_two_faces_is_not_cosigned(
    customer: Customer, server: ServerProcess, witness: ServedWitness, tmp_path: Path
) -> None:
    """The witness has cosigned another log of this name, with the log's keys."""
    introduce(customer, server, witness, size=3, root="01" * 32)
    customer.work(20)
    wait_until(lambda: "audit.difference" in server.log(), "the refusal")
    assert witnessed(customer) == 0
    key, policy = customer.key(), tmp_path / "policy"
    ran = customer.run("audit", "verify", customer.log, "--key", key, "--policy", policy)
    assert ran.code == 1
    assert "cosigned by 0 of the 1 witnesses" in ran.err
    assert customer.run("audit", "verify", customer.log, "--key", key).code == 0
