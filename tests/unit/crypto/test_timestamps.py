"""Time stamps: what OpenSSL grants verifies, and what is wrong about any of it does not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

from shared.crypto.timestamps import (
    Timestamp,
    TimestampError,
    parse_certificates,
    request_timestamp,
    verify_timestamp,
)
from tests.support.timestamping import DAY, TestAuthority, require_openssl

CONTENT = b"a checkpoint"
REQUEST = request_timestamp(CONTENT)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    require_openssl()
    return TestAuthority(tmp_path_factory.mktemp("authority") / "good")


@pytest.fixture(scope="module")
def reply(authority: TestAuthority) -> bytes:
    return authority.reply(REQUEST.data)


def test_what_was_granted_says_who_and_when(authority: TestAuthority, reply: bytes) -> None:
    found = verify_timestamp(reply, CONTENT, [authority.root], REQUEST.nonce)
    assert found.authority == "CN=An authority"
    assert abs(found.time - datetime.now(UTC)) < timedelta(minutes=5)
    assert verify_timestamp(reply, CONTENT, [authority.root]) == found
    assert parse_certificates(authority.root_file.read_text()) == (authority.root,)


def test_no_two_requests_have_the_same_nonce() -> None:
    made = [request_timestamp(CONTENT) for _ in range(50)]
    assert len({request.nonce for request in made}) == 50
    assert len({request.data for request in made}) == 50


def test_everything_that_is_wrong_is_refused(
    authority: TestAuthority, reply: bytes, tmp_path: Path
) -> None:
    roots = [authority.root]
    other = TestAuthority(tmp_path / "other")
    expired = TestAuthority(tmp_path / "expired", valid_for=(-2 * DAY, -DAY))
    early = TestAuthority(tmp_path / "early", valid_for=(DAY, 2 * DAY))
    for_servers = TestAuthority(tmp_path / "servers", usages=[ExtendedKeyUsageOID.SERVER_AUTH])
    sha512 = TimestampRequestBuilder(CONTENT, HashAlgorithm.SHA512).build().as_bytes()
    nonce = REQUEST.nonce
    # That the same steps without the fault succeed shows that it is the fault which is refused.
    assert verify_timestamp(other.signing(reply), CONTENT, [other.root], nonce)
    wrong: dict[str, Callable[[], Timestamp]] = {
        "imprint": lambda: verify_timestamp(reply, b"another checkpoint", roots, nonce),
        "nonce": lambda: verify_timestamp(reply, CONTENT, roots, nonce + 1),
        "root": lambda: verify_timestamp(reply, CONTENT, [other.root], nonce),
        "no root": lambda: verify_timestamp(reply, CONTENT, [], nonce),
        "signer": lambda: verify_timestamp(other.signing(reply), CONTENT, roots, nonce),
        "expired": lambda: verify_timestamp(
            expired.reply(REQUEST.data), CONTENT, [expired.root], nonce
        ),
        "not yet valid": lambda: verify_timestamp(
            early.reply(REQUEST.data), CONTENT, [early.root], nonce
        ),
        "key usage": lambda: verify_timestamp(
            for_servers.signing(reply), CONTENT, [for_servers.root], nonce
        ),
        "status": lambda: verify_timestamp(authority.reply(sha512), CONTENT, roots),
        "trailing bytes": lambda: verify_timestamp(reply + b"\x00", CONTENT, roots, nonce),
        "cut": lambda: verify_timestamp(reply[:-1], CONTENT, roots, nonce),
        "nothing": lambda: verify_timestamp(b"", CONTENT, roots, nonce),
        "garbage": lambda: verify_timestamp(b"<html>no</html>", CONTENT, roots, nonce),
    }
    for name, verify in wrong.items():
        with pytest.raises(TimestampError) as caught:
            pytest.fail(f"granted with a wrong {name}: {verify()}")
        assert len(str(caught.value)) < 300, name


def test_no_changed_byte_changes_what_a_time_stamp_says(
    authority: TestAuthority, reply: bytes
) -> None:
    said = verify_timestamp(reply, CONTENT, [authority.root], REQUEST.nonce)
    refused = 0
    for position in range(len(reply)):
        changed = bytearray(reply)
        changed[position] ^= 1
        try:
            found = verify_timestamp(bytes(changed), CONTENT, [authority.root], REQUEST.nonce)
        except TimestampError:
            refused += 1
        else:
            assert found == said, position
    assert refused > len(reply) * 0.9


@pytest.mark.parametrize("pem", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_what_is_no_certificate_is_refused(pem: str) -> None:
    with pytest.raises(TimestampError, match="not PEM"):
        parse_certificates(pem)
