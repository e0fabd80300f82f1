"""Public pages: the health of the service, the OpenAPI document, and its documentation page."""

from __future__ import annotations

from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal

from fastapi import Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel

from functions.api.dependencies import ServicesDep
from functions.api.guard import public
from functions.api.routing import guarded_router
from shared.base.errors import NotFound
from shared.base.partitions import OPERATOR, Partition

router = guarded_router()

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
    """The service and its record store respond and have room; `release` is null in a checkout."""

    status: Literal["ok"] = "ok"
    environment: str
    release: str | None = RELEASE


@router.get("/health", tags=["service"], summary="Get the service's health")
@public
async def health(services: ServicesDep) -> HealthView:
    """Check that the service and its record store respond and have room, and which release is running."""
    await services.adapters.check_room()
    with suppress(NotFound):
        await services.adapters.records.get(Partition(OPERATOR), "health", "none")
    return HealthView(environment=services.settings.environment)


@router.get("/openapi.json", include_in_schema=False)
@public
async def openapi(request: Request) -> JSONResponse:
    """Get the OpenAPI 3.1 document."""
    return JSONResponse(request.app.openapi())


@router.get("/docs", include_in_schema=False)
@public
async def docs() -> HTMLResponse:
    """Get the documentation page.

    Its URLs are relative, because its policy lets it load from its own origin alone.
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


@router.get("/docs/{asset}", include_in_schema=False)
@public
async def docs_asset(asset: str) -> Response:
    """Get a file of the documentation page."""
    if asset not in ASSETS:
        raise NotFound("The documentation page has no such file.")
    content = files("fastapi_offline").joinpath("static", asset).read_bytes()
    return Response(content, media_type=ASSETS[asset])
