"""Access reviews: of the employees for the officer, of a tenant's users for its administrators."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from fastapi import Path, Query, Response

from functions.api.bodies import Cursor, Limit, PageView, binary, id_path
from functions.api.dependencies import PrincipalDep, ServicesDep
from functions.api.guard import requires
from functions.api.request_headers import IfMatchDep
from functions.api.response_headers import etag_header, response_headers
from functions.api.review_views import DecisionBody, ItemView, ReviewView
from functions.api.routing import guarded_router
from shared.access.permissions import Permission
from shared.base.errors import Conflict
from shared.reviews.models import ItemState
from shared.reviews.service import Downloaded

router = guarded_router("/reviews", "reviews")

JSON: Final = "application/json"
JOSE: Final = "application/jose"
PDF: Final = "application/pdf"

ReviewId = Annotated[str, id_path("rev")]
ItemId = Annotated[
    str,
    Path(
        pattern=r"^(usr_[0-7][0-9a-hjkmnp-tv-z]{25}\.[a-z]{1,32}|grt_[0-7][0-9a-hjkmnp-tv-z]{25})$",
        description="`usr_... .ROLE`, without the space, or `grt_...`",
    ),
]
OfState = Annotated[ItemState | None, Query(description="Items in this state alone.")]


@router.post("", status_code=201, summary="Open an access review")
@requires(Permission.REVIEWS_MANAGE)
async def open_review(services: ServicesDep, principal: PrincipalDep) -> ReviewView:
    """Open a review of every role now. Its items are there within minutes, when it is `open`.

    One is under way at a time: a repeated request is refused, and told which.
    """
    return ReviewView.of(await services.reviews.reviews.open(principal))


@router.get("", summary="List access reviews")
@requires(Permission.REVIEWS_MANAGE)
async def list_reviews(
    services: ServicesDep, principal: PrincipalDep, limit: Limit = 50, cursor: Cursor = None
) -> PageView[ReviewView]:
    """List the reviews of your tenant, newest first."""
    page = await services.reviews.reviews.page(principal, limit=limit, cursor=cursor)
    return PageView.of(page, ReviewView.of)


@router.get("/{review}", summary="Get an access review")
@requires(Permission.REVIEWS_MANAGE)
async def get_review(
    review: ReviewId, services: ServicesDep, principal: PrincipalDep
) -> ReviewView:
    """Get a review: until when its items are to be decided, and once it is finished what came of them."""
    return ReviewView.of(await services.reviews.reviews.read(principal, review))


@router.get("/{review}/items", summary="List the items of an access review")
@requires(Permission.REVIEWS_MANAGE)
async def list_review_items(
    review: ReviewId,
    services: ServicesDep,
    principal: PrincipalDep,
    state: OfState = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> PageView[ItemView]:
    """List the roles and grants of a review, users in the order in which they were added."""
    page = await services.reviews.reviews.items(
        principal, review, state, limit=limit, cursor=cursor
    )
    return PageView.of(page, ItemView.of)


@router.post(
    "/{review}/items/{item}",
    responses={200: response_headers("ETag")},
    summary="Decide about an item of an access review",
)
@requires(Permission.REVIEWS_MANAGE)
async def decide_review_item(
    review: ReviewId,
    item: ItemId,
    body: DecisionBody,
    services: ServicesDep,
    principal: PrincipalDep,
    response: Response,
    if_match: IfMatchDep,
) -> ItemView:
    """Confirm or revoke a role or a grant, with a reason. Nobody decides about themselves.

    Who loses a role, or gets a suspended one back, has to sign in again.
    """
    decided = await services.reviews.reviews.decide(
        principal, review, item, body.decision, body.reason, if_match
    )
    response.headers["ETag"] = etag_header(decided.etag)
    return ItemView.of(decided)


@router.get(
    "/{review}/report",
    summary="Download the report of an access review",
    response_class=Response,
    responses={200: {"content": {JSON: {"schema": {"type": "object"}}}}},
)
@requires(Permission.REVIEWS_MANAGE)
async def download_review_report(
    review: ReviewId, services: ServicesDep, principal: PrincipalDep
) -> Response:
    """Download the report of a finished review as JSON (RFC 8785): the bytes that are signed."""
    found = await services.reviews.reviews.report(principal, review, "json")
    return Response(found.content, media_type=JSON)


@router.get(
    "/{review}/report.jws",
    summary="Download the signed report of an access review",
    response_class=Response,
    responses={200: binary(JOSE)},
)
@requires(Permission.REVIEWS_MANAGE)
async def download_review_report_jws(
    review: ReviewId, services: ServicesDep, principal: PrincipalDep
) -> Response:
    """Download the report with its signature: a JWS (RFC 7515) that the review's `public_key` checks."""
    found = await services.reviews.reviews.report(principal, review, "jws")
    return Response(found.content, media_type=JOSE)


@router.get(
    "/{review}/report.pdf",
    summary="Download the report of an access review as PDF",
    response_class=Response,
    responses={200: binary(PDF)},
)
@requires(Permission.REVIEWS_MANAGE)
async def download_review_report_pdf(
    review: ReviewId, services: ServicesDep, principal: PrincipalDep
) -> Response:
    """Download the report for people. It names the JSON, which is what is signed, by its SHA-256."""
    found = await services.reviews.reviews.report(principal, review, "pdf")
    return Response(await asyncio.to_thread(_pdf, found), media_type=PDF)


def _pdf(found: Downloaded) -> bytes:
    # Not before somebody asks for it: importing is most of a cold start.
    from shared.reviews.pages import report_pdf

    signed = found.review.report
    if signed is None:
        raise Conflict("The review is not finished, so there is no report yet.")
    return report_pdf(found.content, signed.sha256, signed.key_version)
