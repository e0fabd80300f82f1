"""Staged uploads: for contents that are too large to pass through the API."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from functions.api.bodies import Body, id_path
from functions.api.guard import GuardedRoute, PrincipalDep, ServicesDep, requires
from functions.api.headers import DIGEST_FORM, IdempotencyHeader, idempotency_key, repr_digest
from shared.access.permissions import Permission
from shared.documents.models import Description, Labels, MediaType, Name, Upload
from shared.documents.uploads import GrantedUpload
from shared.ports.blobs import UploadGrant

router = APIRouter(prefix="/uploads", tags=["uploads"], route_class=GuardedRoute)

UploadId = Annotated[str, id_path("upl")]


class NewUpload(Body):
    """A content that is about to come."""

    name: Name
    media_type: MediaType = "application/octet-stream"
    metadata: Labels = Field(default_factory=dict)
    size: Annotated[int, Field(ge=0, description="Bytes of the content.")]
    repr_digest: Annotated[
        str | None,
        Field(
            max_length=256,
            description="`sha-256=:BASE64:`; checked when sealed.",
            json_schema_extra=DIGEST_FORM,
        ),
    ] = None


class GrantView(BaseModel):
    """Where the content goes: send ``method`` to ``url`` with these ``headers``, before it expires."""

    url: str
    method: str
    headers: dict[str, str]
    expires_at: datetime

    @classmethod
    def of(cls, grant: UploadGrant) -> GrantView:
        """The view of a grant."""
        return cls(
            url=grant.url,
            method=grant.method,
            headers=dict(grant.headers),
            expires_at=grant.expires_at,
        )


class UploadView(BaseModel):
    """An upload. ``document`` is the document that it becomes once its state is ``sealed``."""

    id: str
    state: Literal["granted", "completed", "sealed", "failed"]
    document: str
    failure: str | None
    grant: GrantView | None = None

    @classmethod
    def of(cls, upload: Upload, grant: UploadGrant | None = None) -> UploadView:
        """The view of an upload."""
        return cls(
            id=upload.id,
            state=upload.state,
            document=upload.document,
            failure=upload.failure or None,
            grant=None if grant is None else GrantView.of(grant),
        )


@router.post("", status_code=201, **requires(Permission.DOCUMENTS_WRITE))
async def create_upload(
    body: NewUpload,
    services: ServicesDep,
    principal: PrincipalDep,
    idempotency: IdempotencyHeader = None,
) -> UploadView:
    """Begin a staged upload: the answer says where to put the content."""
    granted: GrantedUpload = await services.uploads.create(
        principal,
        Description(name=body.name, media_type=body.media_type, metadata=body.metadata),
        body.size,
        repr_digest(body.repr_digest),
        idempotency_key(idempotency, principal, "uploads"),
    )
    return UploadView.of(granted.upload, granted.grant)


@router.get("/{upload}", **requires(Permission.DOCUMENTS_WRITE))
async def read_upload(
    upload: UploadId, services: ServicesDep, principal: PrincipalDep
) -> UploadView:
    """What has become of an upload."""
    return UploadView.of(await services.uploads.read(principal, upload))


@router.post("/{upload}/complete", status_code=202, **requires(Permission.DOCUMENTS_WRITE))
async def complete_upload(
    upload: UploadId, services: ServicesDep, principal: PrincipalDep
) -> UploadView:
    """Say that the content has been put: it is sealed soon after."""
    return UploadView.of(await services.uploads.complete(principal, upload))


@router.delete("/{upload}", status_code=204, **requires(Permission.DOCUMENTS_WRITE))
async def cancel_upload(upload: UploadId, services: ServicesDep, principal: PrincipalDep) -> None:
    """Give up an upload that is not complete."""
    await services.uploads.cancel(principal, upload)
