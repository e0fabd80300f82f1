"""The bus's topology: ``infra/topology.json``, which Bicep deploys and the embedded bus obeys."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from shared.base.events import EventType

TOPOLOGY_FILE: Final = Path(__file__).resolve().parents[2] / "infra" / "topology.json"

_Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?$")]
"""1 to 50 characters, the limit of a Service Bus subscription."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel)


class Subscription(_Part):
    """One receiver's view of a topic.

    Attributes:
        name: Unique in the whole topology, because receivers name nothing else.
        types: The event types that its filter lets through. None of them: it is there for what an earlier
            release put into it, and for its dead letters that are replayed.
        sessions: Whether it sees the events of a tenant one at a time and in order.
        lock_seconds: How long a receiver has a message to itself; Service Bus allows 300 at most.
        max_delivery_count: After so many tries without success a message is dead-lettered.
    """

    name: _Name
    types: frozenset[EventType]
    sessions: bool
    lock_seconds: int = Field(ge=5, le=300)
    max_delivery_count: int = Field(ge=1, le=2_000)


class Topic(_Part):
    """What events are published to.

    Attributes:
        name: Unique.
        duplicate_detection_minutes: For so long an event id that comes again is dropped.
        subscriptions: Who receives what.
    """

    name: _Name
    duplicate_detection_minutes: int = Field(ge=1, le=10_080)
    subscriptions: tuple[Subscription, ...]


class Topology(_Part):
    """Every topic and subscription."""

    topics: tuple[Topic, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        for names in (
            Counter(topic.name for topic in self.topics),
            Counter(part.name for topic in self.topics for part in topic.subscriptions),
        ):
            repeated = sorted(name for name, times in names.items() if times > 1)
            if repeated:
                raise ValueError(f"these names are used more than once: {', '.join(repeated)}")
        return self

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """The subscriptions of every topic."""
        return tuple(part for topic in self.topics for part in topic.subscriptions)


def load_topology() -> Topology:
    """The topology that this version of the code is deployed with.

    Raises:
        OSError: The file is missing.
        pydantic.ValidationError: It is not a topology.
    """
    return Topology.model_validate_json(TOPOLOGY_FILE.read_bytes())
