"""Who may connect: a share for each address, few who only wait for a refusal, files for all of them."""

from __future__ import annotations

import resource

import pytest

from standalone.connections import (
    FILES_OF_ONE,
    FILES_OF_OURS,
    MOST,
    Connections,
    Entry,
    connection_limit,
    raise_open_files,
)
from standalone.errors import StartError

A, B = "203.0.113.7", "203.0.113.8"


def entries(connections: Connections, address: str, tries: int) -> list[Entry]:
    return [connections.enter(address) for _ in range(tries)]


def test_one_address_leaves_the_places_of_others() -> None:
    connections = Connections(40)
    found = entries(connections, A, 1_000)
    assert found[:10] == [Entry.ADMITTED] * 10
    assert found[10:12] == [Entry.ADDRESS_FULL] * 2
    assert set(found[12:]) == {Entry.DROPPED}
    for _ in found[12:]:  # who is dropped leaves at once
        connections.leave(A)
    assert entries(connections, B, 1) == [Entry.ADMITTED]
    for _ in range(3):
        connections.leave(A)
    assert entries(connections, A, 1) == [Entry.ADMITTED]


def test_the_addresses_of_one_network_are_one() -> None:
    connections = Connections(8)
    for number in range(2):
        assert connections.enter(f"2001:db8:0:1::{number}%eth0") is Entry.ADMITTED
    assert connections.enter("2001:db8:0:1:ffff::1") is Entry.DROPPED
    assert connections.enter("2001:db8:0:2::1") is Entry.ADMITTED


def test_many_addresses_fill_the_server_and_no_more() -> None:
    connections = Connections(8)
    found = [connections.enter(f"203.0.113.{number}") for number in range(12)]
    assert found == [Entry.ADMITTED] * 8 + [Entry.SERVER_FULL] * 2 + [Entry.DROPPED] * 2


def test_a_proxy_of_ours_is_many_clients() -> None:
    assert entries(Connections(8, shared=True), A, 8) == [Entry.ADMITTED] * 8


def test_nothing_is_kept_of_who_has_left() -> None:
    connections = Connections(8)
    for _ in range(3):
        entries(connections, A, 2)
        connections.leave(A)
        connections.leave(A)
    assert not connections._by_network


def test_connections_leave_files_for_everything_else() -> None:
    assert connection_limit(1_000_000) == MOST
    for open_files in (1_024, 2_048, 4_096):
        limit = connection_limit(open_files)
        assert 0 < limit * FILES_OF_ONE <= open_files - FILES_OF_OURS
    with pytest.raises(StartError, match="ulimit -n"):
        connection_limit(256)


@pytest.mark.parametrize(
    ("soft", "hard", "then"),
    [
        (1_024, 1_048_576, 4_256),
        (1_024, resource.RLIM_INFINITY, 4_256),
        (1_024, 2_048, 2_048),
        (65_536, 65_536, None),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None),
    ],
)
def test_the_limit_of_open_files_is_raised(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, then: int | None
) -> None:
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: set_to.append(limits))
    assert connection_limit(raise_open_files()) > 0
    assert set_to == ([] if then is None else [(then, hard)])
