"""RFC 9457 problem details: the one place where errors become HTTP responses."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute

from functions.api.digests import WANTED, DigestRefused
from functions.api.methods import allowed_methods, path_pattern
from functions.api.response_headers import response_headers
from functions.api.telemetry import API, record_problem
from functions.api.trace_context import trace_id
from shared.base import errors
from shared.base.models import JsonObject
from shared.targets.errors import TargetUnusableError

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:strongroom:problem:"

STATUSES: Final[Mapping[type[errors.StrongroomError], int]] = {
    errors.InvalidInput: 400,
    errors.Interrupted: 400,
    errors.Unauthenticated: 401,
    errors.TokenExpired: 401,
    errors.TokenRevoked: 401,
    errors.SignInRefused: 401,
    errors.PasswordChangeRequired: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.PreconditionFailed: 412,
    errors.TooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.RangeNotSatisfiable: 416,
    errors.DigestMismatch: 422,
    errors.IdempotencyKeyReused: 422,
    TargetUnusableError: 422,
    errors.RateLimited: 429,
    errors.Damaged: 500,
    errors.InternalError: 500,
    errors.InvalidEvent: 500,
    errors.Unavailable: 503,
}

_TEXT: Final = {"type": "string"}

RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    "default": {
        "description": "A problem (RFC 9457): `type` says which, `detail` what to do.",
        "content": {
            MEDIA_TYPE: {
                "schema": {
                    "type": "object",
                    "required": ["type", "title", "status", "detail", "instance", "request"],
                    "properties": {
                        **dict.fromkeys(("type", "title", "detail", "instance"), _TEXT),
                        "request": {
                            "type": "string",
                            "description": "The request's id, as in the header Request-Id, in your"
                            " audit log and in ours: quote it to support.",
                        },
                        "status": {"type": "integer"},
                        "errors": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["field", "detail"],
                                "properties": {"field": _TEXT, "detail": _TEXT},
                            },
                        },
                        "steps": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["step", "ok", "detail"],
                                "properties": {
                                    "step": _TEXT,
                                    "ok": {"type": "boolean"},
                                    "detail": _TEXT,
                                },
                            },
                        },
                    },
                }
            }
        },
        **response_headers(
            *("Accept-Encoding", "Content-Range", "Retry-After", "WWW-Authenticate"),
            "Want-Repr-Digest",
            always=False,
        ),
    }
}
"""What the OpenAPI document says of every response that is not a success."""

_log = logging.getLogger("strongroom.api")


def problem(
    status: int, slug: str, title: str, detail: str, headers: Mapping[str, str], **more: Any
) -> JSONResponse:
    """An ``application/problem+json`` response; ``more`` are extension members."""
    body: JsonObject = {
        "type": TYPE_PREFIX + slug,
        "title": title,
        "status": status,
        "detail": detail,
        **more,
    }
    return JSONResponse(body, status, dict(headers), MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Let every error of the app become a problem."""
    # Starlette's types do not know that a handler gets the errors that it was registered for.
    app.add_exception_handler(errors.StrongroomError, strongroom_error)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _validation_error)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _http_exception)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, _unexpected)


def occurrence(traceparent: str, request_id: str) -> JsonObject:
    """The members of a problem that say which one it is: in traces, and in the audit log.

    A trace may be the client's and have many requests.
    """
    return {"instance": f"urn:strongroom:trace:{trace_id(traceparent)}", "request": request_id}


def _problem(
    request: Request,
    status: int,
    slug: str,
    title: str,
    detail: str,
    headers: Mapping[str, str],
    **more: Any,
) -> JSONResponse:
    """The problem with which a request ends."""
    record_problem(request, slug)
    scope = request.scope
    which = occurrence(scope["strongroom.traceparent"], scope["strongroom.request"])
    return problem(status, slug, title, detail, headers, **which, **more)


async def strongroom_error(request: Request, error: errors.StrongroomError) -> JSONResponse:
    """Return the response to a request that ended with this error."""
    headers: dict[str, str] = {}
    if isinstance(error, errors.Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.RateLimited | errors.Unavailable):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, errors.RangeNotSatisfiable):
        headers["Content-Range"] = f"bytes */{error.size}"
    if isinstance(error, errors.UnsupportedMediaType) and error.accept_encoding:
        headers["Accept-Encoding"] = error.accept_encoding
    if isinstance(error, DigestRefused):
        headers["Want-Repr-Digest"] = WANTED
    more: JsonObject = {}
    if isinstance(error, errors.InvalidInput) and error.faults:
        more["errors"] = [
            {"field": field, "detail": detail} for field, detail in error.faults.items()
        ]
    if isinstance(error, TargetUnusableError):
        more["steps"] = [asdict(step) for step in error.steps]
    status = next(STATUSES[base] for base in type(error).__mro__ if base in STATUSES)
    if status >= 500:
        _log.error("responded %d: %s (%s)", status, error.slug, request.scope["strongroom.request"])
    return _problem(request, status, error.slug, error.title, error.detail, headers, **more)


async def _validation_error(request: Request, error: RequestValidationError) -> JSONResponse:
    # What the client sent is not repeated: it may hold names or passwords.
    # Before the sentences of our own validators pydantic says what it says of every such error.
    faults = [
        {"field": _path(fault["loc"]), "detail": fault["msg"].removeprefix("Value error, ")}
        for fault in error.errors()
    ]
    if isinstance(error.body, bytes):  # FastAPI did not read it, for want of a Content-Type
        for fault in faults:
            if fault["field"] == "body":
                fault["detail"] = "Send it as JSON, with Content-Type: application/json."
    return _problem(
        request,
        400,
        errors.InvalidInput.slug,
        errors.InvalidInput.title,
        "Correct the fields that are listed in errors and send the request again.",
        {},
        errors=faults,
    )


def _path(location: Sequence[str | int]) -> str:
    # The client's own field names are among the parts, and JSON allows them to be no text at all.
    return ".".join(str(part) for part in location).encode(errors="replace").decode()


_HTTP_DETAILS: Final[Mapping[int, tuple[str, str, str]]] = {
    404: ("no-such-route", "There is no such path", "See /api/v1/docs for every path."),
    405: (
        "method-not-allowed",
        "The path does not take this method",
        "See the Allow header for the methods that it takes.",
    ),
}


def no_such_route(request: Request) -> JSONResponse:
    """Return the response to a request that no route takes, with the path that was probably meant."""
    slug, title, detail = _HTTP_DETAILS[404]
    meant = _meant_path(getattr(request.scope.get("app"), "routes", ()), request.url.path)
    if meant is not None:
        detail = f"Did you mean {meant}? {detail}"
    return _problem(request, 404, slug, title, detail, {})


def _meant_path(routes: Sequence[BaseRoute], path: str) -> str | None:
    """The path of the route that differs from a path in slashes, in case, or in the prefix alone."""
    tidy = "".join(f"/{part}" for part in path.split("/") if part).lower()
    templates = sorted(
        {str(route.path) for route in iter_route_contexts(routes)},
        key=lambda template: "{" in template,  # what is a path of its own is not meant as an id
    )
    for guess in (tidy, f"{API}{tidy}", f"{API.rpartition('/')[0]}{tidy}"):
        for template in templates:
            if path_pattern(template).match(guess):
                return template
    return None


def origin_refused(request: Request, vary: str) -> JSONResponse:
    """Return the response to a browser that asks whether it may send a request, and may not."""
    return _problem(
        request,
        403,
        "cross-origin-refused",
        "A web application at this origin may not send this request",
        "The operator allows origins with the setting STRONGROOM_CORS_ORIGINS; methods and headers are"
        " those of the API's documentation.",
        {"Vary": vary},
    )


async def _http_exception(request: Request, error: HTTPException) -> JSONResponse:
    if error.status_code == 404:
        return no_such_route(request)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(allowed_methods(request.app.routes, request.url.path))
    slug, title, detail = _HTTP_DETAILS.get(
        error.status_code,
        (errors.InvalidInput.slug, errors.InvalidInput.title, "The body cannot be read as JSON."),
    )
    return _problem(request, error.status_code, slug, title, detail, headers)


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    return _problem(
        request,
        500,
        errors.InternalError.slug,
        errors.InternalError.title,
        "The error was logged. Try again; if it stays, report the request's id.",
        {},
    )
