"""Upload grants of the embedded profile."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest

from shared.adapters.embedded.grants import UploadGrants
from shared.base.errors import InvalidInput, TokenExpired, Unauthenticated
from tests.support.clock import FakeClock

KEY = bytes(range(32))
NAME = "ten_a/upl_1"


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def grants(clock):
    return UploadGrants("https://files.example/staged", KEY, clock)


@pytest.fixture
def parameters(grants, clock):
    expires_at = clock.now() + timedelta(hours=1, microseconds=999_999)
    return query(grants.issue(NAME, max_size=1000, expires_at=expires_at).url)


def query(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query, strict_parsing=True))


def test_the_url_has_its_documented_form(grants, clock):
    grant = grants.issue(NAME, max_size=1000, expires_at=clock.now() + timedelta(hours=1))
    expires = int(clock.now().timestamp()) + 3600
    signed = f"strongroom upload grant 1\nPUT\n{NAME}\n{expires}\n1000".encode()
    mac = base64.urlsafe_b64encode(hmac.digest(KEY, signed, hashlib.sha256)).decode().rstrip("=")
    assert grant.url == (
        f"https://files.example/staged/{NAME}?expires={expires}&max=1000&signature={mac}"
    )
    assert (grant.method, dict(grant.headers)) == ("PUT", {})


def test_a_grant_is_recognised_until_it_expires(grants, clock, parameters):
    assert grants.verify(NAME, parameters) == 1000
    clock.advance(3599.9)
    assert grants.verify(NAME, parameters) == 1000
    clock.advance(0.1)
    with pytest.raises(TokenExpired):
        grants.verify(NAME, parameters)


@pytest.mark.parametrize(
    "change",
    [
        {"max": "1001"},
        {"max": "01000"},
        {"max": "-1"},
        {"max": " 1000"},
        {"max": "\u0661\u0660"},
        {"max": ""},
        {"expires": "9999999999"},
        {"expires": "x"},
        {"signature": ""},
        {"signature": "é"},
        {"signature": "\udc80"},
        {"signature": "A" * 43},
    ],
    ids=str,
)
def test_a_changed_grant_is_refused(grants, parameters, change):
    with pytest.raises(Unauthenticated) as refusal:
        grants.verify(NAME, parameters | change)
    assert type(refusal.value) is Unauthenticated


@pytest.mark.parametrize("missing", ["max", "expires", "signature"])
def test_an_incomplete_grant_is_refused(grants, parameters, missing):
    del parameters[missing]
    with pytest.raises(Unauthenticated):
        grants.verify(NAME, parameters)


@pytest.mark.parametrize("name", ["ten_a/upl_2", "ten_b/upl_1", "ten_a"])
def test_a_grant_is_for_one_object(grants, parameters, name):
    with pytest.raises(Unauthenticated):
        grants.verify(name, parameters)


@pytest.mark.parametrize("name", [f"{NAME}/", "../x", f"{NAME}\n1", "\udc80"], ids=ascii)
def test_a_name_that_is_no_objects_is_refused(grants, parameters, name):
    with pytest.raises(InvalidInput):
        grants.verify(name, parameters)


def test_a_grant_under_another_key_is_refused(clock, parameters):
    other = UploadGrants("https://files.example/staged", bytes(32), clock)
    with pytest.raises(Unauthenticated):
        other.verify(NAME, parameters)


def test_a_grant_for_no_object_or_a_negative_size_is_not_issued(grants, clock):
    for name, size in (("../etc/passwd", 1), (NAME, -1)):
        with pytest.raises(ValueError, match="must"):
            grants.issue(name, max_size=size, expires_at=clock.now())
