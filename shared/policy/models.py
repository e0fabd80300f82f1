"""A tenant's policy, as it is kept, and the operator's bounds for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from shared.base.errors import InvalidInput
from shared.base.models import Model

# The upper limits keep every retain-until date within what a calendar can hold.
HourlySets = Annotated[int, Field(ge=0, le=8_784)]
DailySets = Annotated[int, Field(ge=0, le=3_660)]
MonthlySets = Annotated[int, Field(ge=0, le=1_200)]
YearlySets = Annotated[int, Field(ge=0, le=100)]
TrashDays = Annotated[int, Field(ge=0, le=90)]
VerificationDays = Annotated[int, Field(ge=1, le=90)]


class StaffAccess(StrEnum):
    """Which employees may see a tenant's data, from the least protection to the most."""

    APPROVAL = "approval"
    CONSENT = "consent"
    FORBIDDEN = "forbidden"


class Retention(Model):
    """How many backup sets are kept: the first of each hour, day, month and year, UTC.

    Attributes:
        hourly: Hours whose first set is kept.
        daily: Days.
        monthly: Months.
        yearly: Years.
    """

    hourly: HourlySets = 24
    daily: DailySets = 30
    monthly: MonthlySets = 12
    yearly: YearlySets = 7

    @classmethod
    def parse(cls, text: str) -> Retention:
        """The retention that a setting names: hourly, daily, monthly and yearly with spaces between.

        Raises:
            ValueError: It is not four numbers, or one is too large.
        """
        hourly, daily, monthly, yearly = (int(number) for number in text.split(" "))
        return cls(hourly=hourly, daily=daily, monthly=monthly, yearly=yearly)


@dataclass(frozen=True, slots=True)
class RetentionBounds:
    """What the operator allows.

    Attributes:
        least: The smallest number of each kind.
        most: The largest.

    Raises:
        ValueError: A smallest number is above the largest.
    """

    least: Retention
    most: Retention

    def __post_init__(self) -> None:
        most = self.most.model_dump()
        above = [kind for kind, number in self.least.model_dump().items() if number > most[kind]]
        if above:
            raise ValueError(f"the least is above the most: {', '.join(above)}")

    def check(self, retention: Retention) -> None:
        """Refuse a retention outside the bounds.

        Raises:
            InvalidInput: A number is too small or too large; the detail names all of them.
        """
        low, high = self.least.model_dump(), self.most.model_dump()
        wrong = [
            f"{kind} from {low[kind]} to {high[kind]}"
            for kind, number in retention.model_dump().items()
            if not low[kind] <= number <= high[kind]
        ]
        if wrong:
            raise InvalidInput(f"The operator allows these retentions: {', '.join(wrong)}.")

    def clamp(self, retention: Retention) -> Retention:
        """The nearest retention within the bounds."""
        low, high = self.least.model_dump(), self.most.model_dump()
        return Retention(
            **{
                kind: max(low[kind], min(high[kind], number))
                for kind, number in retention.model_dump().items()
            }
        )


class TenantPolicy(Model):
    """The policy of one tenant; the defaults apply until its administrator sets one.

    Attributes:
        trash_days: How long a deleted document can be recovered; 0: deleting erases at once. The date is
            fixed when the document is deleted, so a change applies to what is deleted from then on.
        retention: Of backup sets.
        verification_days: Within so many days every object of the backups is read and checked.
        legal_hold: Nothing of the tenant is deleted, erased or pruned, whatever else the policy says.
        staff_access: Whether a grant takes a second employee's approval, the tenant's consent besides, or
            there are none; also for those that are live.
    """

    trash_days: TrashDays = 30
    retention: Retention = Retention()
    verification_days: VerificationDays = 30
    legal_hold: bool = False
    staff_access: StaffAccess = StaffAccess.APPROVAL
