"""Where routes are declared: the routers of the capabilities."""

from __future__ import annotations

from fastapi import APIRouter

from functions.api import problems
from functions.api.guard import GuardedRoute
from functions.api.telemetry import API


def guarded_router(path: str = "", *tags: str) -> APIRouter:
    """Return a router for guarded routes at and below ``/api/v1`` and a path.

    Its routes are whole, so that the app can have them as its own: FastAPI matches a request with each
    router that it includes, and then with the routes of one of them again.
    """
    return APIRouter(
        prefix=API + path,
        tags=list(tags),
        route_class=GuardedRoute,
        responses=problems.RESPONSES,
        generate_unique_id_function=lambda route: route.name,
    )
