"""Tenants, for the operator's employees."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel

from functions.api.bodies import Body, Cursor, Limit, PageView, id_path
from functions.api.dependencies import PrincipalDep, ServicesDep
from functions.api.guard import requires
from functions.api.request_headers import idempotency_key_for
from functions.api.routing import guarded_router
from functions.api.users import TemporaryPasswordView
from shared.access.permissions import Permission
from shared.identity.models import Slug, Tenant
from shared.identity.usernames import Username
from shared.journal.idempotency import IdempotencyKey

router = guarded_router("/tenants", "tenants")

TenantId = Annotated[str, id_path("ten")]
KeyDep = Annotated[IdempotencyKey | None, idempotency_key_for("tenants")]


class NewTenant(Body):
    """A tenant to create: its `slug` for sign-in, and the username of its first administrator."""

    slug: Slug
    administrator: Username


class TenantView(BaseModel):
    """A tenant. `slug` is what its users sign in with."""

    id: str
    slug: str
    created_at: datetime

    @classmethod
    def of(cls, tenant: Tenant) -> TenantView:
        """The view of a tenant."""
        return cls(id=tenant.id, slug=tenant.slug, created_at=tenant.created_at)


class CreatedTenantView(BaseModel):
    """A new tenant and its first administrator."""

    tenant: TenantView
    administrator: TemporaryPasswordView


@router.post("", status_code=201, summary="Create a tenant")
@requires(Permission.TENANTS_MANAGE)
async def create_tenant(
    body: NewTenant, services: ServicesDep, principal: PrincipalDep, key: KeyDep
) -> CreatedTenantView:
    """Create a tenant with its own encryption key and its first administrator."""
    created = await services.tenants.create(principal, body.slug, body.administrator, key)
    return CreatedTenantView(
        tenant=TenantView.of(created.tenant),
        administrator=TemporaryPasswordView.of(created.administrator),
    )


@router.get("", summary="List tenants")
@requires(Permission.TENANTS_READ)
async def list_tenants(
    services: ServicesDep, principal: PrincipalDep, limit: Limit = 50, cursor: Cursor = None
) -> PageView[TenantView]:
    """List all tenants, oldest first."""
    page = await services.tenants.page(principal, limit=limit, cursor=cursor)
    return PageView.of(page, TenantView.of)


@router.get("/{tenant}", summary="Get a tenant")
@requires(Permission.TENANTS_READ)
async def get_tenant(
    tenant: TenantId, services: ServicesDep, principal: PrincipalDep
) -> TenantView:
    """Get the slug and the age of a tenant."""
    return TenantView.of(await services.tenants.read(principal, tenant))


@router.post("/{tenant}/key-rotation", status_code=202, summary="Rotate a tenant's key")
@requires(Permission.TENANTS_MANAGE)
async def rotate_tenant_key(
    tenant: TenantId, services: ServicesDep, principal: PrincipalDep
) -> None:
    """Rotate the key of a tenant now; a timer rewraps what it wraps soon after.

    Documents are not touched.
    """
    await services.key_rotation.begin(principal, tenant)
