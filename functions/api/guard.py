"""The guard: what every request passes before its route's code runs, in this order.

1. the service is in the environment that it says it is in;
2. the rate limit of its address, where nobody is signed in;
3. authentication;
4. the rate limit of its user;
5. the permission that the route names;
6. the size of its body.

A refusal, here or by what the route calls, is one audit entry before it is an answer. A route that
names no permission cannot be made.
"""

from __future__ import annotations

import ipaddress
import logging
import secrets
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Annotated, Any, Final, TypeVar

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message

from functions.api.limits import FirstRefusal, Limits
from shared.access.permissions import Permission, may
from shared.access.principal import Origin, Principal
from shared.base.errors import (
    FAILURES,
    Forbidden,
    InternalError,
    RateLimited,
    StrongroomError,
    TooLarge,
    Unauthenticated,
)
from shared.base.ids import PREFIXES, is_id
from shared.base.partitions import OPERATOR
from shared.journal.entries import ANONYMOUS, Action
from shared.wiring.services import Services

PERMISSION_FIELD: Final = "x-permission"
PUBLIC: Final = "public"
MAX_JSON_BYTES: Final = 65_536

_log = logging.getLogger("strongroom.api")

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Found = TypeVar("Found")


def requires(permission: Permission) -> dict[str, Any]:
    """The arguments that make a route need a permission."""
    return {
        "openapi_extra": {PERMISSION_FIELD: permission.value, "security": [{"token": []}]},
    }


def public() -> dict[str, Any]:
    """The arguments that open a route to everybody; its service does its own refusing and auditing."""
    return {"openapi_extra": {PERMISSION_FIELD: PUBLIC}}


def origin(request: Request) -> Origin:
    """Where a request came from."""
    settings = services_of(request).settings
    return Origin(
        client_address(request, settings.trusted_proxies, settings.client_address_header),
        request.scope["strongroom.traceparent"],
    )


def services_of(request: Request) -> Services:
    """The services behind the API."""
    services: Services = request.app.state.services
    return services


def limits_of(request: Request) -> Limits:
    """The rate limits of this process."""
    limits: Limits = request.app.state.limits
    return limits


def principal_of(request: Request) -> Principal:
    """Who is asking; the guard has put it there."""
    principal: Principal = request.state.principal
    return principal


def _at_hand(find: Callable[[Request], Found]) -> Callable[[Request], Awaitable[Found]]:
    """A dependency that is found at once; FastAPI would send a plain function to a thread."""

    async def found(request: Request) -> Found:
        return find(request)

    return found


ServicesDep = Annotated[Services, Depends(_at_hand(services_of))]
PrincipalDep = Annotated[Principal, Depends(_at_hand(principal_of))]
OriginDep = Annotated[Origin, Depends(_at_hand(origin))]
LimitsDep = Annotated[Limits, Depends(_at_hand(limits_of))]


class GuardedRoute(APIRoute):
    """A route behind the guard. JSON bodies are read here, within their limit; contents stay streams."""

    def get_route_handler(self) -> Handler:
        """The handler of the route, behind the guard.

        Raises:
            TypeError: The route names no permission.
        """
        named = (self.openapi_extra or {}).get(PERMISSION_FIELD)
        if named is None:
            raise TypeError(f"{self.path} names no permission")
        permission = None if named == PUBLIC else Permission(named)
        handle = super().get_route_handler()
        takes_json = self.body_field is not None

        async def guarded(request: Request) -> Response:
            try:
                await services_of(request).start()
                if permission is None:
                    self._limit_address(request)
                else:
                    await self._admit(request, permission)
                if takes_json:
                    request = await _with_body(request)
                return await handle(request)
            except (StrongroomError, RequestValidationError, HTTPException) as error:
                if isinstance(error, FirstRefusal) or (
                    permission is not None and isinstance(error, StrongroomError)
                ):
                    await self._audit(request, error)
                raise
            except ClientDisconnect:
                return Response(status_code=400)  # nobody is there to read it
            except Exception as error:
                # Messages of unexpected errors may quote what they choked on; frames do not.
                frames = "".join(traceback.format_tb(error.__traceback__))
                _log.error("unexpected %s\n%s", type(error).__qualname__, frames)
                raise InternalError("It was logged; try again.") from None

        return guarded

    def _limit_address(self, request: Request) -> None:
        limits_of(request).address.take(origin(request).address)

    async def _admit(self, request: Request, permission: Permission) -> None:
        services = services_of(request)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            if scheme.lower() != "bearer" or not token:
                raise Unauthenticated("Send a token: Authorization: Bearer TOKEN.")
            principal = await services.sign_in.authenticate(token.strip(), origin(request))
        except Unauthenticated:
            # Not before: who is signed in does not answer for their neighbours behind one address.
            self._limit_address(request)
            raise
        request.state.principal = principal
        limits_of(request).user.take(principal.user)
        if not may(principal.roles, permission):
            raise Forbidden(f"This needs the permission {permission.value}.")

    async def _audit(self, request: Request, error: StrongroomError) -> None:
        if isinstance(error, FAILURES):
            return  # nothing was refused
        if isinstance(error, RateLimited) and not isinstance(error, FirstRefusal):
            return
        principal: Principal | None = getattr(request.state, "principal", None)
        # Any other text is the client's own, and the log repeats none of it.
        named = (each for each in request.path_params.values() if is_id(each, *PREFIXES))
        await services_of(request).journal.record_failure(
            error,
            Action.REQUEST,
            next(named, ""),
            by=principal or ANONYMOUS,
            tenant=principal.tenant if principal else OPERATOR,
            origin=origin(request),
            details={"route": f"{request.method} {self.path}"},
        )


async def _with_body(request: Request) -> Request:
    """The request with its body read, if it is small enough.

    Raises:
        TooLarge: It is not.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_JSON_BYTES:
            raise TooLarge(f"A JSON body has at most {MAX_JSON_BYTES} bytes.")

    async def replay() -> Message:
        return {"type": "http.request", "body": bytes(body), "more_body": False}

    return Request(request.scope, replay)


async def body_stream(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    """The body of a content route, as it arrives.

    Raises:
        TooLarge: ``Content-Length`` says that it will be too large.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise TooLarge(f"The content is larger than {max_bytes} bytes; use a staged upload.")
    async for chunk in request.stream():
        if chunk:
            yield chunk


def client_address(request: Request, trusted_proxies: int, header: str) -> str:
    """The client's address: the peer's, or what the outermost of our own proxies saw."""
    peer = request.client.host if request.client else ""
    if trusted_proxies:
        # Lines of one name are one list (RFC 9110 section 5.3), and ours are the last of it.
        hops = [hop.strip() for hop in ",".join(request.headers.getlist(header)).split(",")]
        if len(hops) >= trusted_proxies:
            peer = hops[-trusted_proxies]
    # Azure appends the port: 203.0.113.7:50123 or [2001:db8::7]:50123.
    for host in (peer, peer.rpartition(":")[0].strip("[]")):
        try:
            # The zone behind % is any text.
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            continue
        return str(getattr(address, "ipv4_mapped", None) or address)
    return ""


def new_traceparent(given: str | None) -> str:
    """The request's W3C trace context: the client's trace with a span of ours, or a new one."""
    span = secrets.token_hex(8)
    if given is not None:
        parts = given.split("-")
        if (
            len(parts) >= 4
            and parts[0] == "00"
            and len(parts[1]) == 32
            and set(parts[1]) <= set("0123456789abcdef")
            and set(parts[1]) != {"0"}
        ):
            return f"00-{parts[1]}-{span}-01"
    return f"00-{secrets.token_hex(16)}-{span}-01"
