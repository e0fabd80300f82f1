"""What needs no sign-in: the state of the service, the OpenAPI document and a page to read it on."""

from __future__ import annotations

from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal

from fastapi import APIRouter, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel

from functions.api.guard import GuardedRoute, ServicesDep, public
from shared.base.errors import NotFound
from shared.base.partitions import OPERATOR, Partition

router = APIRouter(route_class=GuardedRoute)

ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}

# The page runs one inline script, which FastAPI writes; nothing is loaded from elsewhere.
DOCS_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
)

PACKAGED: Final = Path(__file__).parents[2] / "release"
RELEASE: Final = PACKAGED.read_text() if PACKAGED.exists() else None
"""The release that this process runs, as ``infra/package`` wrote it; none in a checkout."""


class HealthView(BaseModel):
    """That the service answers, that its records do, and which release it is, if any."""

    status: Literal["ok"] = "ok"
    environment: str
    release: str | None = RELEASE


@router.get("/health", tags=["service"], **public())
async def health(services: ServicesDep) -> HealthView:
    """Whether the service works."""
    with suppress(NotFound):
        await services.adapters.records.get(Partition(OPERATOR), "health", "none")
    return HealthView(environment=services.settings.environment)


@router.get("/openapi.json", include_in_schema=False, **public())
async def openapi(request: Request) -> JSONResponse:
    """The OpenAPI 3.1 document."""
    return JSONResponse(request.app.openapi())


@router.get("/docs", include_in_schema=False, **public())
async def docs() -> HTMLResponse:
    """The page on which the OpenAPI document is read and tried.

    Its addresses are relative, because its policy lets it load from where it came from alone.
    """
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title="Strongroom API",
        swagger_js_url="docs/swagger-ui-bundle.js",
        swagger_css_url="docs/swagger-ui.css",
        swagger_favicon_url="data:,",
    )
    page.headers["Content-Security-Policy"] = DOCS_POLICY
    return page


@router.get("/docs/{asset}", include_in_schema=False, **public())
async def docs_asset(asset: str) -> Response:
    """A file of the page."""
    if asset not in ASSETS:
        raise NotFound("The page has no such file.")
    content = files("fastapi_offline").joinpath("static", asset).read_bytes()
    return Response(content, media_type=ASSETS[asset])
