"""What counts as a public address, and as a name."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from shared.adapters.external.addresses import is_name, is_public, parse_address

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "20.60.0.1",
    "52.95.110.1",
    "168.63.129.15",
    "192.0.1.1",
    "2606:4700:4700::1111",
    "2a00:1450:4001:80b::201b",
    "2603:1030:408::1",
]
NOT_PUBLIC = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",  # a metadata service, within the carriers' own range
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",  # a metadata service
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:8.8.8.8",
    "::ffff:0:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",  # Teredo
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",  # 6to4 of 127.0.0.1
    "2002:808:808::",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",  # a metadata service
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_public(address):
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_all_others_are_not(address):
    assert not is_public(ip_address(address))


NAMES = [
    "example.com",
    "a.b",
    "s3.eu-central-1.amazonaws.com",
    "xn--bcher-kva.example",
    "1.2.3.com",
]
NO_NAMES = [
    "",
    "localhost",
    "metadata",
    "127.0.0.1",
    "127.1",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "0x7f.1",
    "a.0x7f",
    "2130706433",
    "0x7f000001",
    "017700000001",
    "example.com.",
    ".example.com",
    "example..com",
    "-a.example",
    "a-.example",
    "a_b.example",
    "exämple.com",
    "example.com:443",
    "user@example.com",
    "example.com/",
    "example.com\n",
    "example.com\x00.internal",
    "[::1]",
    "::1",
    "a." * 127 + "example",
    "x" * 64 + ".example",
]


@pytest.mark.parametrize("host", NAMES)
def test_full_names_are_names(host):
    assert is_name(host)


@pytest.mark.parametrize("host", NO_NAMES, ids=range(len(NO_NAMES)))
def test_what_some_resolver_takes_for_an_address_is_no_name(host):
    assert not is_name(host)


@pytest.mark.parametrize("host", ["0177.0.0.1", "127.1", "0x7f.0.0.1", "2130706433", "127.0.0.1."])
def test_an_address_has_one_form(host):
    assert parse_address(host) is None
