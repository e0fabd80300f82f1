"""Calls of the API: JSON in and out, problems as errors of one line, retries where these are safe."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from client.errors import CommandError
from client.session import SessionStore

BASE_PATH: Final = "/api/v1/"
TIMEOUT_SECONDS: Final = 60
ATTEMPTS: Final = 6
LONGEST_WAIT_SECONDS: Final = 60
FIRST_POLL_SECONDS: Final = 0.25
LONGEST_POLL_SECONDS: Final = 2.0
PAGE_SIZE: Final = 100

PROBLEM_PREFIX: Final = "urn:strongroom:problem:"
_SIGN_IN_AGAIN: Final = ("unauthenticated", "token-expired", "token-revoked")

NOT_FOUND: Final = 404
_BUSY: Final = (429, 503)
_UNEXPECTED: Final = (
    "The server does not respond as expected; is its URL right, and the release the same?"
)

M = TypeVar("M", bound=BaseModel)


class Problem(CommandError):
    """The server refused.

    Args:
        detail: What it says.
        slug: The end of the problem's type.
        status: The HTTP status.
    """

    def __init__(self, detail: str, slug: str, status: int) -> None:
        super().__init__(detail)
        self.slug = slug
        self.status = status


class Api:
    """The API of a server, until the end of a ``with`` block.

    Args:
        server: Its base URL.
        token: Of the user; None before signing in.
        wait: Waits for so many seconds; by default it sleeps.
    """

    def __init__(
        self, server: str, token: str | None, wait: Callable[[float], None] | None = None
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._server = server
        self._http = httpx.Client(
            base_url=server + BASE_PATH, headers=headers, timeout=TIMEOUT_SECONDS
        )
        self._wait = wait or time.sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, view: type[M], **parameters: str | int) -> M:
        """GET an object.

        Raises:
            CommandError: The server refused or does not respond.
        """
        return _parse(view, self._send("GET", path, params=parameters))

    def get_bytes(self, path: str) -> bytes | None:
        """GET a file; None if there is none.

        Raises:
            CommandError: The server refused or does not respond.
        """
        try:
            return self._send("GET", path).content
        except Problem as problem:
            if problem.status == NOT_FOUND:
                return None
            raise

    def get_all(self, path: str, view: type[M], **parameters: str) -> Iterator[M]:
        """GET a list, page by page.

        Raises:
            CommandError: The server refused or does not respond.
        """
        cursor: str | None = None
        while True:
            place = {"cursor": cursor} if cursor else {}
            asked = {"limit": PAGE_SIZE} | parameters | place
            page = _json(self._send("GET", path, params=asked))
            try:
                items, cursor = page["items"], page.get("cursor")
                yield from [view.model_validate(item) for item in items]
            except (KeyError, TypeError, AttributeError, ValidationError):
                raise CommandError(_UNEXPECTED) from None
            if not cursor:
                return

    def post(self, path: str, view: type[M], body: Mapping[str, Any]) -> M:
        """POST an object; what comes back.

        Raises:
            CommandError: The server refused or does not respond.
        """
        return _parse(view, self._send("POST", path, json=body))

    def delete(self, path: str) -> None:
        """DELETE something.

        Raises:
            CommandError: The server refused or does not respond.
        """
        self._send("DELETE", path)

    def poll(self, path: str, view: type[M], is_over: Callable[[M], bool]) -> Iterator[M]:
        """GET an object again and again, until something is over; the last one is yielded as well.

        Raises:
            CommandError: The server refused or does not respond.
        """
        pause = FIRST_POLL_SECONDS
        while True:
            state = self.get(path, view)
            yield state
            if is_over(state):
                return
            self._wait(pause)
            pause = min(2 * pause, LONGEST_POLL_SECONDS)

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                response = self._http.request(method, path, **options)
            except httpx.TransportError as error:
                # A request that may have arrived is sent again only if it changes nothing.
                safe = method == "GET" or isinstance(error, httpx.ConnectError)
                if attempt == ATTEMPTS or not safe:
                    raise CommandError(
                        f"{self._server} does not respond: {_cause(error)}."
                    ) from None
                self._wait(_pause(attempt))
                continue
            if response.status_code not in _BUSY or attempt == ATTEMPTS:
                break
            self._wait(_retry_after(response) or _pause(attempt))
        if response.is_success:
            return response
        raise _problem(response)


def open_api() -> Api:
    """The API, for the user who signed in.

    Raises:
        CommandError: Nobody did.
    """
    session = SessionStore(os.environ).current(datetime.now(UTC))
    return Api(session.server, session.token)


def _cause(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "it took too long"
    return str(error) or type(error).__name__


def _pause(attempt: int) -> float:
    """Seconds to wait after a failed attempt; growing, and not the same for everybody."""
    return float(2 ** (attempt - 1) * secrets.SystemRandom().uniform(0.5, 1))


def _retry_after(response: httpx.Response) -> float:
    """The seconds that the server asks for; 0: none that can be understood."""
    text = response.headers.get("Retry-After", "")
    return min(float(text), LONGEST_WAIT_SECONDS) if text.isascii() and text.isdigit() else 0


def _problem(response: httpx.Response) -> Problem:
    """The error that a problem document (RFC 9457) describes."""
    try:
        raw = response.json()
        detail, slug = str(raw["detail"]), str(raw["type"]).removeprefix(PROBLEM_PREFIX)
        fields = [f"{each['field']}: {each['detail']}" for each in raw.get("errors", ())]
    except (ValueError, KeyError, TypeError, AttributeError):
        return Problem(f"{_UNEXPECTED} (HTTP {response.status_code})", "", response.status_code)
    if slug in _SIGN_IN_AGAIN:
        fields.append("strongroom sign-in")
    return Problem("; ".join([detail, *fields]), slug, response.status_code)


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        raise CommandError(_UNEXPECTED) from None


def _parse(view: type[M], response: httpx.Response) -> M:
    try:
        return view.model_validate(_json(response))
    except ValidationError:
        raise CommandError(_UNEXPECTED) from None
