"""What administrators ask of targets, and how these are described to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from shared.base.errors import InvalidInput
from shared.base.models import Model
from shared.base.texts import normalized_text
from shared.crypto.recovery import MAX_HOLDERS, canonical_recipient
from shared.ports.targets import ProbeResult, TargetAddress, TargetCredentials
from shared.targets.models import (
    MAX_NAME,
    State,
    Target,
    TargetConfiguration,
    TargetName,
    TargetStatus,
)
from shared.targets.store import Lag


def _normalized_name(name: str) -> str:
    return normalized_text(name, "The name", MAX_NAME)


BytesPerSecond = Annotated[int, Field(ge=0, le=1 << 40)]
"""A bandwidth limit; 0: none."""

NewTargetName = Annotated[TargetName, AfterValidator(_normalized_name)]
"""What an administrator is about to call a target."""

Recipient = Annotated[str, Field(max_length=128), AfterValidator(canonical_recipient)]
"""An age X25519 public key, ``age1...``."""


class Recovery(Model):
    """Who can open the copies of a target without the service.

    Attributes:
        recipients: Of the holders.
        quorum: How many of them it takes.
    """

    recipients: tuple[Recipient, ...] = Field(min_length=1, max_length=MAX_HOLDERS)
    quorum: int = Field(default=1, ge=1, le=MAX_HOLDERS, strict=True)

    def check(self) -> None:
        """Refuse what no files can be encrypted to.

        Raises:
            InvalidInput: A holder is named twice, or the quorum is larger than the number of holders.
        """
        if len(set(self.recipients)) < len(self.recipients):
            raise InvalidInput("Each holder has a recipient of their own; send each once.")
        if self.quorum > len(self.recipients):
            raise InvalidInput("The quorum is larger than the number of recipients.")


@dataclass(frozen=True, slots=True)
class NewTarget:
    """A target to set up.

    Attributes:
        name: What the administrators call it.
        address: Where it is.
        credentials: For it.
        recovery: Who can open its copies without the service; None: nobody.
        bytes_per_second: The most to send; 0: no limit.
    """

    name: str
    address: TargetAddress
    credentials: TargetCredentials
    recovery: Recovery | None = None
    bytes_per_second: int = 0

    @property
    def configuration(self) -> TargetConfiguration:
        """Before there are recovery keys."""
        return TargetConfiguration(address=self.address, credentials=self.credentials)

    def request(self) -> dict[str, Any]:
        """What makes two requests the same; it holds the credentials."""
        recovery = None if self.recovery is None else self.recovery.model_dump(mode="json")
        return self.configuration.with_secrets() | {
            "name": self.name,
            "bytes_per_second": self.bytes_per_second,
            "recovery": recovery,
        }


@dataclass(frozen=True, slots=True)
class TargetChange:
    """What to change about a target; None: it stays."""

    name: str | None = None
    paused: bool | None = None
    bytes_per_second: int | None = None
    credentials: TargetCredentials | None = None

    @property
    def changed(self) -> list[str]:
        """The names of what changes."""
        return [name for name in self.__slots__ if getattr(self, name) is not None]

    def state_after(self, state: State) -> State:
        """The state of a target after the change."""
        if self.paused is not None:
            return "paused" if self.paused else "active"
        return "active" if self.credentials is not None and state == "failing" else state


@dataclass(frozen=True, slots=True)
class DescribedTarget:
    """A target, what it is configured as, and how it fares.

    Attributes:
        target: It.
        tag: Its entity tag.
        configuration: Opened: it holds the credentials, which are never shown.
        status: How copying fares.
        lag: How far it is behind.
        steps: What a probe has found, where the request made one.
    """

    target: Target
    tag: str
    configuration: TargetConfiguration
    status: TargetStatus
    lag: Lag
    steps: Sequence[ProbeResult] = ()
