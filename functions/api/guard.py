"""The guard: what every request passes before its route's code runs, in this order.

1. the service is in the environment that its settings name;
2. the rate limit of the client's address, where the client is not signed in;
3. authentication;
4. the rate limit of the user;
5. of an employee, the network that they come from;
6. the permission that the route requires;
7. the form of its body, and the memory that it will hold;
8. the size of its JSON body and, once that is there, that the user may still act.

A refusal, by the guard or by the service that the route calls, is in the audit log before the response
is sent; of a flood of refusals the first one, and their count once it has ended. So is a request
of a signed-in user that is not valid, or whose connection ends before there is a response. Each endpoint
says who may call it, with ``requires`` or ``public``; a route to an endpoint without either cannot be made.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response, StreamingResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from functions.api.bodies import MAX_JSON_BYTES, check_body_form, with_json_body
from functions.api.client_address import network_of
from functions.api.dependencies import (
    limits_of,
    origin_of,
    principal_of,
    services_of,
    with_dependencies,
)
from functions.api.floods import Caller
from functions.api.memory import ADDRESS_BYTES, CLAIM, STREAM_BYTES, USER_BYTES, Claim
from functions.api.rate_limits import LimitReached
from functions.api.telemetry import API, record_route
from shared.access.permissions import Permission, check
from shared.access.principal import Origin, Principal
from shared.base.errors import (
    FAILURES,
    Forbidden,
    InternalError,
    Interrupted,
    InvalidInput,
    RateLimited,
    StrongroomError,
    Unauthenticated,
)
from shared.base.ids import PREFIXES, is_id
from shared.base.partitions import OPERATOR
from shared.journal.entries import ANONYMOUS, Action
from shared.keys.gate import act_as, as_the_service

PERMISSION_FIELD: Final = "x-permission"
"""In the OpenAPI document: the permission that an operation requires, or ``PUBLIC``."""

PUBLIC: Final = "public"

_ACCESS: Final = "strongroom_access"

_WITH_BODY: Final = {"PATCH", "POST", "PUT"}

_log = logging.getLogger("strongroom.api")

EndpointT = TypeVar("EndpointT", bound=Callable[..., Any])
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call an endpoint: users with a permission, or, where that is None, everybody."""

    permission: Permission | None

    @property
    def openapi(self) -> dict[str, Any]:
        """What the OpenAPI document says of it."""
        if self.permission is None:
            return {PERMISSION_FIELD: PUBLIC}
        return {PERMISSION_FIELD: self.permission.value, "security": [{"token": []}]}


def requires(permission: Permission) -> Callable[[EndpointT], EndpointT]:
    """Let only users with a permission call the decorated endpoint."""
    return _with_access(Access(Permission(permission)))


def public(endpoint: EndpointT) -> EndpointT:
    """Let everybody call the decorated endpoint; its service refuses and audits by itself."""
    return _with_access(Access(None))(endpoint)


def _with_access(access: Access) -> Callable[[EndpointT], EndpointT]:
    def decorate(endpoint: EndpointT) -> EndpointT:
        setattr(endpoint, _ACCESS, access)
        return endpoint

    return decorate


class GuardedRoute(APIRoute):
    """A route behind the guard. JSON bodies are read here, within their limit; content stays a stream.

    Attributes:
        access: Who may call it; the OpenAPI document is told from here.

    Raises:
        TypeError: The endpoint does not say who may call it.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        access = getattr(endpoint, _ACCESS, None)
        if not isinstance(access, Access):
            raise TypeError(f"{path} names no permission: decorate {endpoint.__name__}")
        self.access = access
        endpoint, headers = with_dependencies(endpoint)
        described = {"parameters": headers} if headers else {}
        extra = options.get("openapi_extra") or {}
        options["openapi_extra"] = extra | described | access.openapi
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Handler:
        """Return the handler of the route, behind the guard."""
        permission = self.access.permission
        handle = super().get_route_handler()
        takes_json = self.body_field is not None

        async def guarded(received: Request) -> Response:
            with as_the_service():
                return await admitted(received)

        async def admitted(received: Request) -> Response:
            request = _with_joined_lines(received)
            record_route(request, self.path)
            claim: Claim = request.scope[CLAIM]
            origin = origin_of(request)
            claim.callers[network_of(origin.address)] = ADDRESS_BYTES
            started = False
            try:
                await services_of(request).start()
                started = True
                await self._record_ended_flood(request)
                if permission is None:
                    limits_of(request).address.take(origin.address)
                else:
                    await self._admit(request, permission, origin)
                    claim.callers[request.state.principal.user] = USER_BYTES
                if request.method in _WITH_BODY:
                    check_body_form(received)
                await claim.set(self._size_to_hold(request))
                if takes_json:
                    request = await with_json_body(request)
                    if permission is not None:
                        # A body may come as slowly as its sender likes.
                        await principal_of(request).confirm()
                return await handle(request)
            except StrongroomError as error:
                await self.audit(request, error)
                raise
            except (RequestValidationError, HTTPException):
                await self.audit(request, InvalidInput("The request does not have its form."))
                raise
            except asyncio.CancelledError:
                # The bridge says so that the client has disconnected. Nothing is written before it is known
                # that the records are those of this environment.
                if started:
                    ended = Interrupted("The connection ended before the response.")
                    await self.audit(request, ended)
                raise
            except Exception as error:
                # Messages of unexpected errors may quote what they choked on; frames do not.
                frames = "".join(traceback.format_tb(error.__traceback__))
                which = request.scope["strongroom.request"]
                _log.error("unexpected %s in %s\n%s", type(error).__qualname__, which, frames)
                raise InternalError(
                    "The error was logged. Try again; if it stays, report the request's id."
                ) from None

        return guarded

    def _size_to_hold(self, request: Request) -> int:
        """How much of the content that goes in or out this request will hold, bytes."""
        if request.method == "GET" and self.response_class is StreamingResponse:
            return STREAM_BYTES
        length = request.headers.get("content-length", "")
        chunked = "transfer-encoding" in request.headers
        size = int(length) if length.isdecimal() else STREAM_BYTES if chunked else 0
        return min(size, STREAM_BYTES if self.body_field is None else MAX_JSON_BYTES)

    async def _admit(self, request: Request, permission: Permission, origin: Origin) -> None:
        services = services_of(request)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            if scheme.lower() != "bearer" or not token:
                raise Unauthenticated("Send a token: Authorization: Bearer TOKEN.")
            principal = await services.sign_in.authenticate(token.strip(), origin)
        except Unauthenticated:
            # Not before: a signed-in user does not pay for others behind the same address.
            limits_of(request).address.take(origin.address)
            raise
        request.state.principal = principal
        if principal.kind == "employee":
            act_as(principal.user)
        limits_of(request).user.take(principal.user)
        if principal.kind == "employee" and not services.settings.staff.admit(
            principal.origin.address
        ):
            raise Forbidden("Employees make requests from the networks of staff alone.")
        check(principal.roles, permission)

    async def audit(self, request: Request, error: StrongroomError) -> None:
        """Put into the audit log that a request was refused or interrupted, unless that is there."""
        if error.audited or isinstance(error, FAILURES):
            return  # its service has audited it, or nothing was refused
        at_limit = isinstance(error, LimitReached)
        if self.access.permission is None and not at_limit:
            return  # its service has refused it and knows what it was about
        if isinstance(error, Interrupted) and not hasattr(request.state, "principal"):
            return  # nobody was known to have asked for anything
        caller, floods = caller_of(request, error), limits_of(request).floods
        if floods.count(caller, at_limit=at_limit):
            return
        # Any other text is the client's own, and the log repeats none of it.
        named = (value for value in request.path_params.values() if is_id(value, *PREFIXES))
        try:
            await services_of(request).journal.record_failure(
                error,
                Action.REQUEST,
                next(named, ""),
                by=caller.by,
                tenant=caller.tenant,
                origin=caller.origin,
                details={"route": f"{request.method} {self.path.removeprefix(API)}"},
            )
        except BaseException:
            if at_limit or not caller.admitted:
                floods.forget(caller)
            raise

    async def _record_ended_flood(self, request: Request) -> None:
        floods = limits_of(request).floods
        flood = floods.take_ended()
        if flood is None:
            return
        journal = services_of(request).journal
        entry = journal.entry(
            Action.REQUESTS_REFUSED,
            by=flood.caller.by,
            tenant=flood.caller.tenant,
            origin=flood.caller.origin,
            refused=RateLimited.slug,
            details={
                "refusals": flood.refusals,
                "seconds": int((flood.last_at - flood.began_at).total_seconds()),
            },
        )
        try:
            await journal.commit(entry)
        except BaseException as error:
            floods.put_back(flood)
            if not isinstance(error, StrongroomError):
                raise


def caller_of(request: Request, error: StrongroomError) -> Caller:
    """Return who was refused: the user who was admitted, or whose token it was, or else an address."""
    origin = origin_of(request)
    principal: Principal | None = getattr(request.state, "principal", None)
    admitted = principal is not None
    if isinstance(error, Unauthenticated) and error.user:
        # Whose token it was is certain, and that it is used still is for their tenant to know.
        principal = Principal(error.tenant, error.user, (), origin)
    if principal is None:
        return Caller(network_of(origin.address), ANONYMOUS, OPERATOR, origin, admitted)
    return Caller(principal.user, principal, principal.tenant, origin, admitted)


def _with_joined_lines(request: Request) -> Request:
    """Return the request with the lines of each header joined: they are one list (RFC 9110 section 5.3).

    So neither line of a header that is no list counts alone.
    """
    received = request.scope["headers"]
    if len({name for name, _ in received}) == len(received):
        return request
    lines: dict[bytes, list[bytes]] = {}
    for name, value in received:
        lines.setdefault(name, []).append(value)
    headers = [(name, b", ".join(values)) for name, values in lines.items()]
    return Request({**request.scope, "headers": headers}, request.receive)
