"""Tenants: for the operator's employees."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel

from functions.api.bodies import Body, Cursor, Limit, PageView, id_path
from functions.api.guard import GuardedRoute, PrincipalDep, ServicesDep, requires
from functions.api.headers import IdempotencyHeader, idempotency_key
from functions.api.users import TemporaryPasswordView
from shared.access.permissions import Permission
from shared.identity.models import Slug, Tenant, Username

router = APIRouter(prefix="/tenants", tags=["tenants"], route_class=GuardedRoute)

TenantId = Annotated[str, id_path("ten")]


class NewTenant(Body):
    """A tenant to create: what it is called at sign-in, and its first administrator's username."""

    slug: Slug
    administrator: Username


class TenantView(BaseModel):
    """A tenant."""

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


@router.post("", status_code=201, **requires(Permission.TENANTS_MANAGE))
async def create_tenant(
    body: NewTenant,
    services: ServicesDep,
    principal: PrincipalDep,
    idempotency: IdempotencyHeader = None,
) -> CreatedTenantView:
    """Create a tenant, its key and its first administrator."""
    key = idempotency_key(idempotency, principal, "tenants")
    created = await services.tenants.create(principal, body.slug, body.administrator, key)
    return CreatedTenantView(
        tenant=TenantView.of(created.tenant),
        administrator=TemporaryPasswordView.of(created.administrator),
    )


@router.get("", **requires(Permission.TENANTS_READ))
async def list_tenants(
    services: ServicesDep, principal: PrincipalDep, limit: Limit = 50, cursor: Cursor = None
) -> PageView[TenantView]:
    """All tenants, oldest first."""
    page = await services.tenants.page(principal, limit=limit, cursor=cursor)
    return PageView(items=[TenantView.of(tenant) for tenant in page.items], cursor=page.cursor)


@router.get("/{tenant}", **requires(Permission.TENANTS_READ))
async def read_tenant(
    tenant: TenantId, services: ServicesDep, principal: PrincipalDep
) -> TenantView:
    """One tenant."""
    return TenantView.of(await services.tenants.read(principal, tenant))


@router.post("/{tenant}/key-rotation", status_code=202, **requires(Permission.TENANTS_MANAGE))
async def rotate_tenant_key(
    tenant: TenantId, services: ServicesDep, principal: PrincipalDep
) -> None:
    """Rotate a tenant's key now. Its epoch keys are rewrapped soon after; documents stay as they are."""
    await services.key_rotation.begin(principal, tenant)
