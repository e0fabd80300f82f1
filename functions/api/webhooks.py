"""Webhooks: HTTPS servers to which what happens in the caller's tenant is pushed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from functions.api.bodies import Body, Timestamp, id_path
from functions.api.dependencies import LimitsDep, PrincipalDep, ServicesDep
from functions.api.guard import requires
from functions.api.request_headers import IfMatchDep, idempotency_key_for
from functions.api.response_headers import etag_header, response_headers
from functions.api.routing import guarded_router
from shared.access.permissions import Permission
from shared.base.errors import InvalidInput
from shared.crypto.notation import MAX_INTEGER
from shared.journal.idempotency import IdempotencyKey
from shared.ports.collectors import MAX_URL
from shared.webhooks.models import Kind, State
from shared.webhooks.requests import (
    DescribedWebhook,
    NewWebhook,
    NewWebhookName,
    WebhookChange,
)

router = guarded_router("/webhooks", "webhooks")


def _each_once(kinds: tuple[Kind, ...]) -> tuple[Kind, ...]:
    if len(set(kinds)) < len(kinds):
        raise ValueError("Send each kind once.")
    return kinds


WebhookId = Annotated[str, id_path("whk")]
KeyDep = Annotated[IdempotencyKey | None, idempotency_key_for("webhooks")]
Url = Annotated[str, Field(max_length=MAX_URL, description="Of the collector: https, port 443.")]
Kinds = Annotated[
    tuple[Kind, ...],
    Field(
        # A JSON array is no tuple to a strict model.
        strict=False,
        min_length=1,
        max_length=2,
        description="`audit`: the entries of the audit log; `documents`: events of documents.",
        json_schema_extra={"uniqueItems": True},
    ),
    AfterValidator(_each_once),
]


class WebhookBody(Body):
    """A webhook to set up."""

    name: NewWebhookName
    url: Url
    kinds: Kinds


class WebhookChangeBody(Body):
    """What to change about a webhook; what is left out stays. Failures before are forgotten."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    name: NewWebhookName | SkipJsonSchema[None] = None
    url: Url | SkipJsonSchema[None] = None
    kinds: Kinds | SkipJsonSchema[None] = None
    paused: bool | SkipJsonSchema[None] = None


class ReplayBody(Body):
    """From where on to send again: a position in the audit log, or a time."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    position: Annotated[int, Field(ge=0, le=MAX_INTEGER)] | SkipJsonSchema[None] = None
    since: Timestamp = None


class WebhookView(BaseModel):
    """A webhook. Its secret is never shown again.

    `state` is `paused` by an administrator, `failed` after nine retries in 76 hours, and `disabled` by the
    collector, which responded with 410; `paused: false` resumes it. `position` is that of the first audit
    entry that was not taken; while something fails, it is tried again at `next_at`.
    """

    id: str
    name: str
    url: str
    kinds: tuple[Kind, ...]
    state: State
    created_at: datetime
    position: int
    attempts: int
    next_at: datetime | None
    failing_since: datetime | None
    last_success_at: datetime | None
    last_error: str | None
    last_error_at: datetime | None

    @classmethod
    def of(cls, described: DescribedWebhook) -> WebhookView:
        """Return the view of a webhook."""
        webhook, status = described.webhook, described.status
        return cls(
            id=webhook.id,
            name=webhook.name,
            url=described.configuration.url,
            kinds=webhook.kinds,
            state=webhook.state,
            created_at=webhook.created_at,
            position=status.position,
            attempts=status.attempts,
            next_at=status.next_at,
            failing_since=status.failed_since,
            last_success_at=status.last_success_at,
            last_error=status.last_error or None,
            last_error_at=status.last_error_at,
        )


class WebhookSecretView(BaseModel):
    """A webhook and its new secret, `whsec_...`, shown this once; null where the request was repeated."""

    webhook: WebhookView
    secret: str | None


class WebhooksView(BaseModel):
    """The webhooks of a tenant."""

    items: list[WebhookView]
    damaged: list[str]


class ProbedWebhookView(BaseModel):
    """What came of a test message: the status of the response, 0 where there was none, and the fault."""

    taken: bool
    status: int
    detail: str


@router.post(
    "",
    status_code=201,
    summary="Set up a webhook",
    responses={201: response_headers("ETag", "Location")},
)
@requires(Permission.WEBHOOKS_MANAGE)
async def create_webhook(
    body: WebhookBody,
    response: Response,
    services: ServicesDep,
    principal: PrincipalDep,
    key: KeyDep,
) -> WebhookSecretView:
    """Push what happens from now on to an HTTPS server, signed as Standard Webhooks says.

    Keep the secret: it is not shown again, also not if the request is repeated.
    """
    new = NewWebhook(body.name, body.url, body.kinds)
    created = await services.webhooks.webhooks.create(principal, new, key)
    response.headers["Location"] = (
        f"{services.settings.public_base_url}/api/v1/webhooks/{created.webhook.id}"
    )
    return WebhookSecretView(webhook=_tagged(created, response), secret=created.secret)


@router.get("", summary="List webhooks")
@requires(Permission.WEBHOOKS_MANAGE)
async def list_webhooks(services: ServicesDep, principal: PrincipalDep) -> WebhooksView:
    """List the webhooks of your tenant, oldest first, and how each fares."""
    found = await services.webhooks.webhooks.all(principal)
    return WebhooksView(
        items=[WebhookView.of(each) for each in found.items], damaged=list(found.damaged)
    )


@router.get("/{webhook}", responses={200: response_headers("ETag")}, summary="Get a webhook")
@requires(Permission.WEBHOOKS_MANAGE)
async def get_webhook(
    webhook: WebhookId, services: ServicesDep, principal: PrincipalDep, response: Response
) -> WebhookView:
    """Get a webhook of your tenant, and how it fares."""
    return _tagged(await services.webhooks.webhooks.read(principal, webhook), response)


@router.patch("/{webhook}", responses={200: response_headers("ETag")}, summary="Update a webhook")
@requires(Permission.WEBHOOKS_MANAGE)
async def update_webhook(
    webhook: WebhookId,
    body: WebhookChangeBody,
    services: ServicesDep,
    principal: PrincipalDep,
    response: Response,
    if_match: IfMatchDep,
) -> WebhookView:
    """Rename a webhook, send it elsewhere, choose what is pushed, pause or resume it."""
    change = WebhookChange(body.name, body.url, body.kinds, body.paused)
    if not change.changed:
        raise InvalidInput("Send `name`, `url`, `kinds` or `paused`.")
    changed = await services.webhooks.webhooks.change(principal, webhook, change, if_match)
    return _tagged(changed, response)


@router.delete("/{webhook}", status_code=204, summary="Delete a webhook")
@requires(Permission.WEBHOOKS_MANAGE)
async def delete_webhook(
    webhook: WebhookId, services: ServicesDep, principal: PrincipalDep
) -> None:
    """Delete a webhook and its secrets. Nothing is sent any more."""
    await services.webhooks.webhooks.delete(principal, webhook)


@router.post("/{webhook}/secret", summary="Rotate a webhook's secret")
@requires(Permission.WEBHOOKS_MANAGE)
async def rotate_webhook_secret(
    webhook: WebhookId, services: ServicesDep, principal: PrincipalDep
) -> WebhookSecretView:
    """Make a new secret. For 24 hours the one before signs as well, so that no message is refused."""
    rotated = await services.webhooks.webhooks.rotate(principal, webhook)
    return WebhookSecretView(webhook=WebhookView.of(rotated), secret=rotated.secret)


@router.post("/{webhook}/replay", summary="Replay a webhook")
@requires(Permission.WEBHOOKS_MANAGE)
async def replay_webhook(
    webhook: WebhookId, body: ReplayBody, services: ServicesDep, principal: PrincipalDep
) -> WebhookView:
    """Send again everything from a position in the audit log, or from a time on."""
    start = body.position if body.since is None else body.since
    if start is None or (body.position is not None and body.since is not None):
        raise InvalidInput("Send either `position` or `since`.")
    return WebhookView.of(await services.webhooks.webhooks.replay(principal, webhook, start))


@router.post("/{webhook}/probe", summary="Probe a webhook")
@requires(Permission.WEBHOOKS_MANAGE)
async def probe_webhook(
    webhook: WebhookId, services: ServicesDep, principal: PrincipalDep, limits: LimitsDep
) -> ProbedWebhookView:
    """Send a message of the type `webhook.probe` now, and see what the collector responds."""
    limits.probe.take(principal.tenant)
    answer = await services.webhooks.webhooks.probe(principal, webhook)
    return ProbedWebhookView(taken=answer.taken, status=answer.status, detail=answer.detail)


def _tagged(described: DescribedWebhook, response: Response) -> WebhookView:
    response.headers["ETag"] = etag_header(described.tag)
    return WebhookView.of(described)
