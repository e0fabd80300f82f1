"""The settings of witnesses and the time stamp authority: what is wrong is said in a line, at the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from shared.crypto.policies import parse_policy
from shared.wiring.attestation import timestamp_authority, witness_policy
from shared.wiring.settings import AZURE_SERVICES, Settings
from tests.support.attestation import one_line
from tests.support.process import start
from tests.support.timestamping import TestAuthority
from tests.support.witnesses import MemoryWitness, policy_text

WITNESS = MemoryWitness()
POLICY = policy_text([WITNESS])
LOCAL = POLICY.replace(WITNESS.prefix, "http://127.0.0.1:7380")
TSA = "https://tsa.example/tsr"


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> str:
    return TestAuthority(tmp_path_factory.mktemp("tsa") / "a").root_file.read_text()


def test_both_are_off_by_default() -> None:
    settings = Settings()
    assert not settings.is_attested
    assert (witness_policy(settings), timestamp_authority(settings)) == (None, None)


def test_files_may_be_given_as_text_in_one_line_or_by_name(tmp_path: Path, pem: str) -> None:
    (tmp_path / "policy").write_text(POLICY)
    (tmp_path / "roots").write_text(pem)
    for settings in (
        Settings(audit_witness_policy=POLICY, audit_timestamp_roots=pem, audit_timestamp_url=TSA),
        Settings(
            audit_witness_policy=one_line(POLICY),
            audit_timestamp_roots=one_line(pem),
            audit_timestamp_url=TSA,
        ),
        Settings(
            audit_witness_policy_file=tmp_path / "policy",
            audit_timestamp_roots_file=tmp_path / "roots",
            audit_timestamp_url=TSA,
        ),
    ):
        assert settings.is_attested
        policy, authority = witness_policy(settings), timestamp_authority(settings)
        assert policy is not None
        assert policy == parse_policy(POLICY)
        assert authority is not None
        assert (authority.url, len(authority.roots)) == (TSA, 1)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"audit_witness_policy": "nonsense"}, "POLICY: line 1 of the policy: not a log, witness"),
    ({"audit_witness_policy": "quorum none"}, "POLICY: the quorum is none"),
    ({"audit_witness_policy": "#"}, "POLICY: the policy has no quorum"),
    (
        {"audit_witness_policy": POLICY.replace(WITNESS.prefix, "")},
        "POLICY: the witness w1 needs a URL that is https",
    ),
    (
        {"audit_witness_policy": POLICY.replace("https://", "http://")},
        "POLICY: the witness w1 needs a URL that is https",
    ),
    (
        {"audit_witness_policy": policy_text([MemoryWitness(f"w{n}") for n in range(33)])},
        "POLICY: more than 32 witnesses",
    ),
    ({"audit_witness_policy_file": Path("/nowhere")}, "POLICY_FILE: /nowhere cannot be read"),
    (
        {"audit_witness_policy_file": Path("/nowhere"), "audit_witness_policy": POLICY},
        "POLICY_FILE are both set",
    ),
    ({"audit_timestamp_url": TSA}, "TIMESTAMP_ROOTS: not PEM with a certificate"),
    ({"audit_timestamp_roots": "x"}, "TIMESTAMP_URL: the authority needs a URL that is https"),
    (
        {"audit_timestamp_roots": "x", "audit_timestamp_url": "http://tsa.example"},
        "TIMESTAMP_URL: the authority needs a URL",
    ),
    ({"audit_timestamp_roots_file": Path("/nowhere")}, "ROOTS_FILE: /nowhere cannot be read"),
]


@pytest.mark.parametrize(("settings", "said"), WRONG, ids=[said for _, said in WRONG])
def test_what_is_wrong_names_its_setting(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(**settings)
    [error] = caught.value.errors()
    assert said in error["msg"]


def test_a_service_on_the_same_machine_is_for_one_machine() -> None:
    assert witness_policy(Settings(audit_witness_policy=LOCAL)) is not None
    services: dict[str, Any] = {
        name: f"https://{name.replace('_', '-')}.example.com" for name in AZURE_SERVICES
    }
    assert Settings(profile="azure", audit_witness_policy=POLICY, **services).is_attested
    with pytest.raises(ValidationError, match="needs a URL that is https"):
        Settings(profile="azure", audit_witness_policy=LOCAL, **services)


def test_the_server_does_not_start_and_says_why_in_a_line(tmp_path: Path) -> None:
    ran = start("--data", str(tmp_path / "data"), audit_witness_policy="quorum none")
    assert ran.returncode == 1
    assert ran.stderr == (
        "strongroom: STRONGROOM_AUDIT_WITNESS_POLICY: the quorum is none; leave the setting out to have"
        " no witness.\n"
    )
