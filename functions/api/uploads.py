"""Staged uploads, for content that is too large to pass through the API."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from functions.api.bodies import Body, id_path
from functions.api.dependencies import PrincipalDep, ServicesDep
from functions.api.digests import repr_digest
from functions.api.guard import requires
from functions.api.request_headers import DIGEST_FORM, idempotency_key_for
from functions.api.routing import guarded_router
from shared.access.permissions import Permission
from shared.documents.media_types import NewMediaType
from shared.documents.models import Description, Upload
from shared.documents.texts import NewLabels, NewName
from shared.journal.idempotency import IdempotencyKey
from shared.ports.blobs import UploadGrant

router = guarded_router("/uploads", "uploads")

UploadId = Annotated[str, id_path("upl")]
KeyDep = Annotated[IdempotencyKey | None, idempotency_key_for("uploads")]


class NewUpload(Body):
    """What is about to be uploaded."""

    name: NewName
    media_type: NewMediaType = "application/octet-stream"
    metadata: NewLabels = Field(default_factory=dict)
    size: Annotated[int, Field(ge=0, description="Size of the content, bytes.")]
    repr_digest: Annotated[
        str | None,
        Field(
            max_length=256,
            description="`sha-256=:BASE64:` of the content, or `sha-512` (RFC 9530); checked once it is"
            " uploaded.",
            json_schema_extra=DIGEST_FORM,
        ),
    ] = None


class GrantView(BaseModel):
    """How to send the content: `method` to `url` with these `headers`, before `expires_at`."""

    url: str
    method: str
    headers: dict[str, str]
    expires_at: datetime

    @classmethod
    def of(cls, grant: UploadGrant) -> GrantView:
        """Return the view of a grant."""
        return cls(
            url=grant.url,
            method=grant.method,
            headers=dict(grant.headers),
            expires_at=grant.expires_at,
        )


class UploadView(BaseModel):
    """An upload. `document` is the id of the document that exists once `state` is `sealed`."""

    id: str
    state: Literal["granted", "completed", "sealed", "failed"]
    document: str
    failure: str | None
    grant: GrantView | None = None

    @classmethod
    def of(cls, upload: Upload, grant: UploadGrant | None = None) -> UploadView:
        """Return the view of an upload."""
        return cls(
            id=upload.id,
            state=upload.state,
            document=upload.document,
            failure=upload.failure or None,
            grant=None if grant is None else GrantView.of(grant),
        )


@router.post("", status_code=201, summary="Begin a staged upload")
@requires(Permission.DOCUMENTS_WRITE)
async def create_upload(
    body: NewUpload, services: ServicesDep, principal: PrincipalDep, key: KeyDep
) -> UploadView:
    """Begin an upload of large content. The response says where to send the content."""
    digests = repr_digest(body.repr_digest, "body.repr_digest")
    granted = await services.uploads.create(
        principal,
        Description(name=body.name, media_type=body.media_type, metadata=body.metadata),
        body.size,
        digests.get("sha256"),
        key,
        sha512=digests.get("sha512"),
    )
    return UploadView.of(granted.upload, granted.grant)


@router.get("/{upload}", summary="Get an upload's status")
@requires(Permission.DOCUMENTS_WRITE)
async def get_upload(
    upload: UploadId, services: ServicesDep, principal: PrincipalDep
) -> UploadView:
    """Get the state of an upload, and why it failed if it did."""
    return UploadView.of(await services.uploads.read(principal, upload))


@router.post("/{upload}/complete", status_code=202, summary="Complete an upload")
@requires(Permission.DOCUMENTS_WRITE)
async def complete_upload(
    upload: UploadId, services: ServicesDep, principal: PrincipalDep
) -> UploadView:
    """Say that the content has been sent. It is encrypted into its document soon after."""
    return UploadView.of(await services.uploads.complete(principal, upload))


@router.delete("/{upload}", status_code=204, summary="Cancel an upload")
@requires(Permission.DOCUMENTS_WRITE)
async def cancel_upload(upload: UploadId, services: ServicesDep, principal: PrincipalDep) -> None:
    """Cancel an upload that is not complete; what was sent is deleted."""
    await services.uploads.cancel(principal, upload)
