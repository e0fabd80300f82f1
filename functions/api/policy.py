"""The policy of the caller's tenant: trash, backups, legal hold, access of the operator's staff."""

from __future__ import annotations

from typing import Annotated

from fastapi import Response
from pydantic import Field

from functions.api.bodies import Body
from functions.api.dependencies import PrincipalDep, ServicesDep
from functions.api.guard import requires
from functions.api.request_headers import IfMatchDep
from functions.api.response_headers import etag_header, response_headers
from functions.api.routing import guarded_router
from shared.access.permissions import Permission
from shared.policy.models import (
    DailySets,
    HourlySets,
    MonthlySets,
    Retention,
    StaffAccess,
    TenantPolicy,
    TrashDays,
    VerificationDays,
    YearlySets,
)
from shared.policy.service import TaggedPolicy

router = guarded_router("/policy", "policy")


class RetentionView(Body):
    """How many hours, days, months and years the first backup set of each is kept for."""

    hourly: HourlySets
    daily: DailySets
    monthly: MonthlySets
    yearly: YearlySets


class PolicyView(Body):
    """The policy of a tenant."""

    trash_days: Annotated[
        TrashDays, Field(description="How long a deleted document can be recovered; 0: not at all.")
    ]
    retention: RetentionView
    verification_days: Annotated[
        VerificationDays,
        Field(description="Within so many days every object of the backups is read and checked."),
    ]
    legal_hold: Annotated[
        bool, Field(description="Nothing of the tenant is deleted, erased or pruned.")
    ]
    # Not strict, as JSON has no enumerations.
    staff_access: Annotated[
        StaffAccess,
        Field(
            strict=False,
            description="What an employee needs to see data of yours, for one support case: a second "
            "employee's `approval`, your `consent` besides, or `forbidden`, which ends every grant.",
        ),
    ]

    @classmethod
    def of(cls, policy: TenantPolicy) -> PolicyView:
        """Return the view of a policy."""
        return cls.model_validate(policy.model_dump())

    @property
    def policy(self) -> TenantPolicy:
        """The policy that it describes."""
        return TenantPolicy(
            trash_days=self.trash_days,
            retention=Retention(**self.retention.model_dump()),
            verification_days=self.verification_days,
            legal_hold=self.legal_hold,
            staff_access=self.staff_access,
        )


@router.get("", responses={200: response_headers("ETag")}, summary="Get your tenant's policy")
@requires(Permission.POLICY_READ)
async def get_policy(
    services: ServicesDep, principal: PrincipalDep, response: Response
) -> PolicyView:
    """Get how long trash and backups are kept, whether your tenant is held, and what staff may see."""
    return _tagged(await services.policies.read(principal), response)


@router.put("", responses={200: response_headers("ETag")}, summary="Set your tenant's policy")
@requires(Permission.POLICY_MANAGE)
async def set_policy(
    body: PolicyView,
    services: ServicesDep,
    principal: PrincipalDep,
    response: Response,
    if_match: IfMatchDep,
) -> PolicyView:
    """Set the whole policy. What is in the trash already keeps its date.

    To begin or end a legal hold needs the permission `holds.manage` as well.
    """
    changed = await services.policies.change(principal, body.policy, if_match)
    return _tagged(changed, response)


def _tagged(tagged: TaggedPolicy, response: Response) -> PolicyView:
    response.headers["ETag"] = etag_header(tagged.etag)
    return PolicyView.of(tagged.policy)
