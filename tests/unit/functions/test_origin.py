"""Where a request came from: an address that proxies cannot be talked into, and a trace."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from functions.api.client_address import client_address
from functions.api.trace_context import new_traceparent

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
FORM = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01")
HEADER = "Strongroom-Client-Address"


def request(peer: str | None, *forwarded: str | None) -> Request:
    headers = [
        (HEADER.lower().encode(), line.encode("latin-1")) for line in forwarded if line is not None
    ]
    return Request(
        {"type": "http", "headers": headers, "client": (peer, 1) if peer is not None else None}
    )


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "expected"),
    [
        ("203.0.113.7", None, 0, "203.0.113.7"),
        ("203.0.113.7", "198.51.100.1", 0, "203.0.113.7"),
        ("10.0.0.1", "198.51.100.1", 1, "198.51.100.1"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.1", 1, "198.51.100.1"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.1, 10.0.0.2", 2, "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1:50123", 1, "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::7]:50123", 1, "2001:db8::7"),
        ("10.0.0.1", "2001:DB8:0::7", 1, "2001:db8::7"),
        ("10.0.0.1", None, 1, ""),
        ("10.0.0.1", "198.51.100.1", 2, "10.0.0.1"),
        ("10.0.0.1", "<script>", 1, ""),
        ("10.0.0.1", "Zebra, Anna", 1, ""),
        ("unix", None, 0, ""),
        ("::ffff:203.0.113.7", None, 0, "203.0.113.7"),
        ("fe80::7%eth0", None, 0, "fe80::7"),
        ("10.0.0.1", "fe80::7%Zebra, Anna", 2, "fe80::7"),
        (None, None, 0, ""),
    ],
)
def test_the_address(peer: str | None, forwarded: str | None, proxies: int, expected: str) -> None:
    assert client_address(request(peer, forwarded), proxies, HEADER) == expected


def test_a_line_that_a_client_sent_does_not_hide_those_of_proxies() -> None:
    asked = request("10.0.0.1", "6.6.6.6", "198.51.100.1")
    assert client_address(asked, 1, HEADER) == "198.51.100.1"


def test_only_the_header_of_the_proxies_counts() -> None:
    assert client_address(request("10.0.0.1", "198.51.100.1"), 1, "X-Forwarded-For") == ""


@given(st.text(st.characters(max_codepoint=255, exclude_characters="\r\n")), st.integers(0, 5))
def test_only_an_address_gets_into_the_log(forwarded: str, proxies: int) -> None:
    found = client_address(request("10.0.0.1", forwarded), proxies, HEADER)
    assert re.fullmatch(r"[0-9a-f:.]*", found)


def test_a_trace_goes_on_with_a_span_of_ours() -> None:
    sent = f"00-{TRACE}-00f067aa0ba902b7-01"
    made = new_traceparent(sent)
    assert FORM.fullmatch(made)
    assert made.split("-")[1] == TRACE
    assert made.split("-")[2] != "00f067aa0ba902b7"


@pytest.mark.parametrize(
    "sent",
    [
        None,
        "",
        TRACE,
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
        f"00-{TRACE[:-1]}-00f067aa0ba902b7-01",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        "00-zebra-00f067aa0ba902b7-01",
    ],
)
def test_what_is_no_trace_is_replaced(sent: str | None) -> None:
    made = [new_traceparent(sent) for _ in range(2)]
    assert all(FORM.fullmatch(each) for each in made)
    assert made[0] != made[1]
    assert made[0].split("-")[1] != TRACE


@given(st.text())
def test_any_trace_gives_a_good_one(sent: str) -> None:
    assert FORM.fullmatch(new_traceparent(sent))
