"""Our stored formats, byte for byte. Where one of these fails, stored content no longer opens.

``vectors.json`` is never regenerated: a new format gets new entries and a new version.
"""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.crypto import keys, metadata, passwords, tokens
from tests.support.sealing import open_sealed, seal

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text("utf-8"))


def counting(size: int) -> bytes:
    """The ``entropy`` of every vector: 00 01 02 ..."""
    return bytes(range(size))


def raw(vector: dict[str, str], name: str) -> bytes:
    return bytes.fromhex(vector[name])


def plaintext(vector: dict[str, int]) -> bytes:
    """Bytes 00 to fa over and over: a period that divides no segment size."""
    return (bytes(range(251)) * (vector["plaintext_size"] // 251 + 1))[: vector["plaintext_size"]]


@pytest.mark.parametrize("vector", VECTORS["sealed_content"], ids=lambda v: v["plaintext_size"])
def test_sealed_content(vector):
    bound_to = keys.content_associated_data(**vector["bound_to"])
    assert bound_to.decode() == vector["associated_data"]
    key, content = raw(vector, "key"), plaintext(vector)
    sealed = seal(key, bound_to, [content], counting)
    assert len(sealed) == vector["sealed_size"]
    assert hashlib.sha256(sealed).hexdigest() == vector["sealed_sha256"]
    if "sealed" in vector:
        assert sealed == raw(vector, "sealed")
    assert open_sealed(key, bound_to, sealed) == content


@pytest.mark.parametrize("vector", VECTORS["wrapped_data_key"])
def test_wrapped_data_key(vector):
    epoch_key, data_key = raw(vector, "epoch_key"), raw(vector, "data_key")
    assert keys.wrap_key(epoch_key, data_key) == raw(vector, "wrapped")
    assert keys.unwrap_key(epoch_key, raw(vector, "wrapped")) == data_key


@pytest.mark.parametrize("vector", VECTORS["sealed_metadata"])
def test_sealed_metadata(vector):
    bound_to = metadata.metadata_associated_data(**vector["bound_to"])
    assert bound_to.decode() == vector["associated_data"]
    epoch_key, value = raw(vector, "epoch_key"), vector["value"]
    assert metadata.seal_metadata(epoch_key, bound_to, value, counting) == raw(vector, "sealed")
    assert metadata.open_metadata(epoch_key, bound_to, raw(vector, "sealed")) == value


@pytest.mark.parametrize("vector", VECTORS["token"])
def test_token(vector):
    root, at = raw(vector, "root"), datetime.fromtimestamp(vector["claims"]["iat"], UTC)
    key = tokens.TokenKey(vector["kid"], raw(vector, "salt"), at)
    assert tokens.derive_key(root, key.salt, key.kid) == raw(vector, "key")
    claims = tokens.decrypt(root, {key.kid: key}, vector["token"])
    tokens.check(claims, environment="production", now=at)
    assert claims == tokens.Claims(
        environment=vector["claims"]["env"],
        tenant=vector["claims"]["tenant"],
        user=vector["claims"]["sub"],
        roles=tuple(vector["claims"]["roles"]),
        security_version=vector["claims"]["epoch"],
        issued_at=at,
        expires_at=datetime.fromtimestamp(vector["claims"]["exp"], UTC),
        id=vector["claims"]["jti"],
    )


@pytest.mark.parametrize("vector", VECTORS["password"])
def test_password(vector):
    assert passwords.hash_password(vector["password"], counting) == vector["phc"]
    assert passwords.verify_password(vector["password"], vector["phc"])


def test_temporary_password():
    assert passwords.temporary_password(counting) == VECTORS["temporary_password"]
