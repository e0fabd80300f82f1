"""Calls of the API over a real socket: problems, retries, pages."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from client.api import ATTEMPTS, Api, Problem
from client.errors import CommandError
from client.views import Backup, BackupDetails, Restore
from tests.support.emulators.servers import HangUpError, Request, Response
from tests.support.fake_api import SET_ID, SETS, TOKEN, FakeApi, problem
from tests.support.process import free_port


@pytest.fixture
def server() -> Iterator[FakeApi]:
    server = FakeApi().start()
    yield server
    server.stop()


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def api(server: FakeApi, waits: list[float]) -> Iterator[Api]:
    with Api(server.url, TOKEN, waits.append) as api:
        yield api


def test_lists_are_read_to_their_end(api: Api) -> None:
    assert len({each.id for each in api.get_all("backups", Backup)}) == SETS


def test_a_problem_is_one_line(api: Api) -> None:
    with pytest.raises(Problem) as raised:
        api.get("backups/set_2", BackupDetails)
    assert (raised.value.message, raised.value.slug) == ("There is no such set.", "not-found")


def test_a_problem_names_the_fields(api: Api, server: FakeApi) -> None:
    fields = [{"field": "at", "detail": "is in the future"}]
    server.responses.append(problem(422, "invalid-input", "Not valid.", errors=fields))
    with pytest.raises(Problem, match=r"^Not valid\.; at: is in the future"):
        api.post("restores", Restore, {})


@pytest.mark.parametrize("slug", ["unauthenticated", "token-expired", "token-revoked"])
def test_who_has_no_valid_token_is_told_to_sign_in(api: Api, server: FakeApi, slug: str) -> None:
    server.responses.append(problem(401, slug, "No."))
    with pytest.raises(Problem, match="strongroom sign-in"):
        api.get(f"backups/{SET_ID}", BackupDetails)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_busy_server_is_asked_again_when_it_says(
    api: Api, server: FakeApi, waits: list[float], status: int, method: str
) -> None:
    server.responses.append(problem(status, "unavailable", "Later.", retry_after="7"))
    server.responses.append(problem(status, "unavailable", "Later.", retry_after="86400"))
    if method == "get":
        api.get(f"backups/{SET_ID}", BackupDetails)
    else:
        api.post("restores", Restore, {})
    assert waits == [7, 60]


def test_without_a_time_the_pauses_grow(api: Api, server: FakeApi, waits: list[float]) -> None:
    server.responses += [problem(503, "unavailable", "Later.", retry_after="soon")] * ATTEMPTS
    with pytest.raises(Problem, match="Later"):
        api.get(f"backups/{SET_ID}", BackupDetails)
    assert len(waits) == ATTEMPTS - 1
    assert all(2**n / 2 <= wait <= 2**n for n, wait in enumerate(waits))


@pytest.mark.parametrize("body", [b"<html>", [], {}, {"detail": "no type"}])
def test_an_error_of_something_else_is_said(api: Api, server: FakeApi, body: object) -> None:
    server.responses.append(Response(502, body))
    with pytest.raises(Problem, match=r"not respond as expected.*HTTP 502"):
        api.get(f"backups/{SET_ID}", BackupDetails)


@pytest.mark.parametrize("body", [b"<html>", [], {}, {"items": 1}, {"items": [{"id": 1}]}])
def test_a_response_of_another_form_is_said(api: Api, server: FakeApi, body: object) -> None:
    server.responses += [Response(200, body), Response(200, body)]
    with pytest.raises(CommandError, match="does not respond as expected"):
        list(api.get_all("backups", Backup))
    with pytest.raises(CommandError, match="does not respond as expected"):
        api.get(f"backups/{SET_ID}", BackupDetails)


def test_a_redirect_is_not_followed(api: Api, server: FakeApi) -> None:
    """The token is for this server alone."""
    server.responses.append(Response(302, b"", {"Location": "https://elsewhere.example.com/"}))
    with pytest.raises(CommandError, match="HTTP 302"):
        api.get(f"backups/{SET_ID}", BackupDetails)


class HangingUp(FakeApi):
    """Breaks the connection after each request has arrived."""

    def handle(self, request: Request) -> Response:
        self.counts[request.method] += 1
        raise HangUpError


def test_what_may_have_arrived_is_sent_again_only_if_it_changes_nothing(
    waits: list[float],
) -> None:
    server = HangingUp().start()
    try:
        with Api(server.url, TOKEN, waits.append) as api:
            with pytest.raises(CommandError, match="does not respond"):
                api.get(f"backups/{SET_ID}", BackupDetails)
            with pytest.raises(CommandError, match="does not respond"):
                api.post("restores", Restore, {})
    finally:
        server.stop()
    assert server.counts == {"GET": ATTEMPTS, "POST": 1}


def test_a_server_that_is_not_there_is_said(waits: list[float]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with (
        Api(url, TOKEN, waits.append) as api,
        pytest.raises(CommandError, match="does not respond"),
    ):
        api.post("restores", Restore, {})
    assert len(waits) == ATTEMPTS - 1


def test_a_server_that_takes_too_long_is_said(
    waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def time_out(*_: object, **__: object) -> None:
        raise httpx.ReadTimeout("")

    monkeypatch.setattr(httpx.Client, "request", time_out)
    with (
        Api("http://127.0.0.1:1", TOKEN, waits.append) as api,
        pytest.raises(CommandError, match="took too long"),
    ):
        api.get(f"backups/{SET_ID}", BackupDetails)
