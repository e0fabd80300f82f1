import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwe, jwk

from shared.base.errors import TokenExpired, Unauthenticated
from shared.crypto.tokens import (
    TOKEN_LIFETIME,
    Claims,
    TokenKey,
    check,
    decrypt,
    derive_key,
    issue,
    token_kid,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ROOT = bytes(range(32))
KEY = TokenKey("key_1", bytes(range(16)), NOW)
OTHER_KEY = TokenKey("key_2", bytes(range(16, 32)), NOW)
RING = {key.kid: key for key in (KEY, OTHER_KEY)}
CLAIMS = Claims(
    environment="production",
    tenant="ten_1",
    user="usr_1",
    roles=("member", "administrator"),
    security_version=7,
    issued_at=NOW,
    expires_at=NOW + TOKEN_LIFETIME,
    id="tok_1",
)
TOKEN = issue(ROOT, KEY, CLAIMS)

BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def read_now(token: str, now: datetime = NOW) -> Claims:
    claims = decrypt(ROOT, RING, token)
    check(claims, environment="production", now=now)
    return claims


def assert_refused(token: str) -> None:
    with pytest.raises(Unauthenticated) as refusal:
        read_now(token)
    assert not isinstance(refusal.value, TokenExpired)
    assert ROOT.hex() not in refusal.value.detail


def made_by_hand(header: dict[str, Any], payload: bytes) -> str:
    """A JWE of any header and payload, by the steps of RFC 7516 section 5.1 on the bare cipher."""
    protected = b64(json.dumps(header, separators=(",", ":")).encode())
    nonce = bytes(12)
    sealed = AESGCM(derive_key(ROOT, KEY.salt, KEY.kid)).encrypt(nonce, payload, protected.encode())
    return f"{protected}..{b64(nonce)}.{b64(sealed[:-16])}.{b64(sealed[-16:])}"


HEADER = {"alg": "dir", "enc": "A256GCM", "kid": "key_1"}


def payload(**changes: Any) -> bytes:
    protected, _, nonce, ciphertext, tag = TOKEN.split(".")
    aead = AESGCM(derive_key(ROOT, KEY.salt, KEY.kid))
    plaintext = aead.decrypt(unb64(nonce), unb64(ciphertext) + unb64(tag), protected.encode())
    return json.dumps(json.loads(plaintext) | changes).encode()


def test_read_undoes_issue():
    assert read_now(TOKEN) == CLAIMS


def test_a_token_says_nothing_in_clear():
    parts = [unb64(part) for part in TOKEN.split(".")]
    assert json.loads(parts[0]) == HEADER
    for word in (b"ten_1", b"usr_1", b"administrator", b"production"):
        assert not any(word in part for part in parts)


def test_a_token_is_a_jwe_that_the_bare_cipher_opens():
    assert json.loads(payload()) == {
        "env": "production",
        "tenant": "ten_1",
        "sub": "usr_1",
        "roles": ["member", "administrator"],
        "epoch": 7,
        "iat": 1795435200,
        "exp": 1795442400,
        "jti": "tok_1",
    }
    assert read_now(made_by_hand(HEADER, payload())) == CLAIMS


def test_two_tokens_never_share_a_nonce():
    nonces = {issue(ROOT, KEY, CLAIMS).split(".")[2] for _ in range(100)}
    assert len(nonces) == 100


def test_fractions_of_seconds_are_dropped():
    late = timedelta(microseconds=900_000)
    claims = replace(CLAIMS, issued_at=NOW + late, expires_at=NOW + TOKEN_LIFETIME + late)
    assert read_now(issue(ROOT, KEY, claims)) == CLAIMS


def test_every_changed_character_is_refused():
    for position, character in enumerate(TOKEN):
        for other in {BASE64URL[BASE64URL.find(character) ^ 1], "A", "_", ".", "=", "+", "\n"}:
            if other != character:
                assert_refused(TOKEN[:position] + other + TOKEN[position + 1 :])


def test_every_truncation_and_extension_is_refused():
    for size in range(len(TOKEN)):
        assert_refused(TOKEN[:size])
        assert_refused(TOKEN[size + 1 :])
    for tail in (".", "A", "=", "\n", " ", ".A", "\0"):
        assert_refused(TOKEN + tail)
        assert_refused(tail + TOKEN)


@settings(max_examples=1_000)
@given(st.text(max_size=200) | st.text(BASE64URL + ".", max_size=200))
def test_noise_is_refused(token):
    assert_refused(token)


@settings(max_examples=500)
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_noise_in_the_form_of_a_token_is_refused(header, ciphertext):
    assert_refused(f"{b64(header)}..{'A' * 16}.{b64(ciphertext)}.{'A' * 22}")


@pytest.mark.parametrize(
    "header",
    [
        {},
        [],
        {"alg": "dir", "enc": "A256GCM"},
        HEADER | {"alg": "none"},
        HEADER | {"alg": "A256KW"},
        HEADER | {"alg": "RSA-OAEP"},
        HEADER | {"alg": "DIR"},
        HEADER | {"enc": "A128GCM"},
        HEADER | {"enc": "A128CBC-HS256"},
        HEADER | {"zip": "DEF"},
        HEADER | {"zip": None},
        HEADER | {"crit": ["exp"], "exp": 1},
        HEADER | {"typ": "JWT"},
        HEADER | {"jwk": {"kty": "oct", "k": "AA"}},
        HEADER | {"kid": ["key_1"]},
        HEADER | {"kid": None},
        HEADER | {"kid": "../key_1"},
        HEADER | {"kid": "key_1\n"},
        HEADER | {"kid": "k" * 65},
    ],
    ids=str,
)
def test_every_other_header_is_refused_even_if_authentic(header):
    token = made_by_hand(header, payload())
    assert_refused(token)
    with pytest.raises(Unauthenticated):
        token_kid(token)


def test_a_compressed_token_is_refused():
    secret = jwk.OctKey.import_key(derive_key(ROOT, KEY.salt, KEY.kid))
    algorithms = ["dir", "A256GCM", "DEF"]
    token = jwe.encrypt_compact(HEADER | {"zip": "DEF"}, payload(), secret, algorithms=algorithms)
    assert_refused(token)


def test_other_serializations_are_refused():
    protected, _, nonce, ciphertext, tag = TOKEN.split(".")
    assert_refused(
        json.dumps({"protected": protected, "iv": nonce, "ciphertext": ciphertext, "tag": tag})
    )
    signed_with_none = b64(b'{"alg":"none"}') + "." + b64(payload()) + "."
    assert_refused(signed_with_none)
    with_an_encrypted_key = TOKEN.replace("..", ".AAAA.")
    assert_refused(with_an_encrypted_key)


@pytest.mark.parametrize("size", [4, 8, 12, 15])
def test_a_shortened_tag_is_refused(size):
    head, tag = TOKEN.rsplit(".", 1)
    assert_refused(f"{head}.{b64(unb64(tag)[:size])}")


def test_a_token_under_another_kid_of_the_ring_is_refused():
    _, rest = TOKEN.split(".", 1)
    assert_refused(b64(json.dumps(HEADER | {"kid": "key_2"}).encode()) + "." + rest)


def test_a_kid_is_part_of_its_key():
    # The same salt under another name makes another key.
    renamed = {"key_9": replace(KEY, kid="key_9")}
    token = made_by_hand(HEADER | {"kid": "key_9"}, payload())
    with pytest.raises(Unauthenticated):
        decrypt(ROOT, renamed, token)


@pytest.mark.parametrize(
    ("root", "ring"),
    [
        (ROOT, {}),
        (ROOT, {"key_2": OTHER_KEY}),
        (ROOT, {"key_1": replace(KEY, salt=OTHER_KEY.salt)}),
        (bytes(32), RING),
    ],
)
def test_a_foreign_root_salt_or_ring_is_refused(root, ring):
    with pytest.raises(Unauthenticated):
        decrypt(root, ring, TOKEN)


def test_a_token_of_another_environment_is_refused():
    for environment in ("development", "staging", "", "Production"):
        with pytest.raises(Unauthenticated):
            check(CLAIMS, environment=environment, now=NOW)


def test_a_token_ends_at_its_time():
    assert read_now(TOKEN, now=NOW + TOKEN_LIFETIME - timedelta(seconds=1)) == CLAIMS
    for late in (timedelta(0), timedelta(seconds=1), timedelta(days=400)):
        with pytest.raises(TokenExpired):
            read_now(TOKEN, now=NOW + TOKEN_LIFETIME + late)


def test_a_token_from_the_future_is_refused_beyond_the_skew_of_clocks():
    assert read_now(TOKEN, now=NOW - timedelta(seconds=60)) == CLAIMS
    with pytest.raises(Unauthenticated):
        read_now(TOKEN, now=NOW - timedelta(seconds=61))


@pytest.mark.parametrize("lifetime", [7_201, 86_400, 0, -1])
def test_a_lifetime_that_we_never_give_is_refused(lifetime):
    issued = int(NOW.timestamp())
    assert_refused(made_by_hand(HEADER, payload(exp=issued + lifetime)))
    with pytest.raises(ValueError, match="two hours"):
        issue(ROOT, KEY, replace(CLAIMS, expires_at=NOW + timedelta(seconds=lifetime)))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b"\xff",
        payload(iat="soon"),
        payload(exp=None),
        payload(exp=10**30),
        payload(roles=None),
    ],
)
def test_claims_of_another_form_are_refused_even_if_authentic(raw):
    assert_refused(made_by_hand(HEADER, raw))


def test_an_oversize_token_is_refused_before_it_is_parsed(monkeypatch):
    def never(*_: object) -> None:
        raise AssertionError("parsed")

    monkeypatch.setattr("shared.crypto.tokens.json_b64decode", never)
    with pytest.raises(Unauthenticated):
        token_kid(made_by_hand(HEADER, bytes(4_096)))


def test_an_oversize_token_is_never_issued():
    roles = tuple(f"role_{number:03}" for number in range(400))
    with pytest.raises(ValueError, match="too large"):
        issue(ROOT, KEY, replace(CLAIMS, roles=roles))


def test_the_kid_can_be_read_before_the_ring_knows_it():
    assert token_kid(TOKEN) == "key_1"


@pytest.mark.parametrize("kid", ["", "a/b", "K", "k" * 65, "k\n"])
def test_no_token_is_issued_under_a_bad_kid(kid):
    with pytest.raises(ValueError, match="kid"):
        issue(ROOT, replace(KEY, kid=kid), CLAIMS)


@pytest.mark.parametrize(
    "call",
    [
        lambda: derive_key(bytes(31), KEY.salt, "k"),
        lambda: derive_key(ROOT, bytes(15), "k"),
        # A wrong root is our mistake, not a reason to send every user away.
        lambda: decrypt(b"", RING, TOKEN),
    ],
)
def test_roots_and_salts_of_other_sizes_are_refused(call: Callable[[], object]):
    with pytest.raises(ValueError, match="32 bytes"):
        call()
