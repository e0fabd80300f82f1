"""Event types, their data, and their form on the bus: CloudEvents 1.0, structured JSON.

Spec: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md and formats/json-format.md.
Extension attributes: ``tenant``, ``partition`` (the part of the tenant's records that changed) and,
where the cause carried one, ``traceparent`` (W3C Trace Context). Data holds identifiers only, never a
name, content or a secret.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final, TypeVar

from shared.base.errors import InvalidEvent
from shared.base.models import JsonObject, Model
from shared.base.partitions import Partition, partition_of

SPEC_VERSION: Final = "1.0"
SOURCE_PREFIX: Final = "/strongroom/"


class EventType(StrEnum):
    """What can happen. The names in ``infra/topology.json`` filters are these."""

    UPLOAD_COMPLETED = "upload.completed"
    DOCUMENT_SEALED = "document.sealed"
    DOCUMENT_DAMAGED = "document.damaged"
    DOCUMENT_REPAIRED = "document.repaired"
    DOCUMENT_DELETED = "document.deleted"
    AUDIT_RECORDED = "audit.recorded"
    AUDIT_DIFFERENCE = "audit.difference"
    AUDIT_ALERT = "audit.alert"


class NoData(Model):
    """The subject says everything."""


class VersionData(Model):
    """Which version of the subject, a document."""

    version: int


class ReleasedData(Model):
    """Objects that no record names any more.

    Attributes:
        objects: In the primary store.
        replicas: In the second region.
    """

    objects: tuple[str, ...] = ()
    replicas: tuple[str, ...] = ()


class DifferenceData(Model):
    """Something in an audit log that is not as it was written.

    Attributes:
        kind: Where the difference is, such as ``tile``.
        difference: What it is, such as ``changed``.
        object: The path of the object, or the id of the record.
        position: Of the first entry that it is about; -1: it is about none.
        count: How many entries it is about.
    """

    kind: str
    difference: str
    object: str
    position: int
    count: int


class AlertData(Model):
    """What a rule has found in the entries of an audit log.

    Attributes:
        rule: Its name.
        severity: ``warning`` or ``critical``.
        count: How many entries it counted.
        seconds: Within which time, at most.
        user: The id of the user or employee; empty: there is none.
    """

    rule: str
    severity: str
    count: int
    seconds: int
    user: str


EventData = NoData | VersionData | ReleasedData | DifferenceData | AlertData
D = TypeVar("D", bound=Model)

DATA: Final[Mapping[EventType, type[EventData]]] = {
    EventType.UPLOAD_COMPLETED: NoData,
    EventType.DOCUMENT_SEALED: VersionData,
    EventType.DOCUMENT_DAMAGED: VersionData,
    EventType.DOCUMENT_REPAIRED: ReleasedData,
    EventType.DOCUMENT_DELETED: ReleasedData,
    EventType.AUDIT_RECORDED: NoData,
    EventType.AUDIT_DIFFERENCE: DifferenceData,
    EventType.AUDIT_ALERT: AlertData,
}
"""What the data of each type is."""

_JSON: Final = json.JSONEncoder(separators=(",", ":"))

_FORMER_TYPES: Final = {"document.healed": "document.repaired"}
"""Names of types that messages of an earlier release may still carry."""


@dataclass(frozen=True, slots=True)
class Event:
    """One fact, as published.

    Attributes:
        id: Unique; an event id takes effect once.
        type: What happened.
        environment: Where; the CloudEvents source is ``/strongroom/{environment}``.
        partition: The records that changed; its tenant is the session on the bus.
        subject: The id of the thing that it happened to.
        time: When, UTC.
        data: As ``DATA`` has it for the type.
        traceparent: The W3C trace context of the request that caused it.
    """

    id: str
    type: EventType
    environment: str
    partition: Partition
    subject: str
    time: datetime
    data: EventData = field(default_factory=NoData)
    traceparent: str | None = None

    @property
    def tenant(self) -> str:
        """Whose it is."""
        return self.partition.tenant

    def data_as(self, model: builtins.type[D]) -> D:
        """The data, known to be of one model.

        Raises:
            InvalidEvent: It is of another one: the event was handed to the wrong handler.
        """
        if not isinstance(self.data, model):
            raise InvalidEvent(f"An event of the type {self.type} has no {model.__name__}.")
        return self.data

    def to_json(self) -> bytes:
        """The event as CloudEvents JSON, UTF-8."""
        body: JsonObject = {
            "specversion": SPEC_VERSION,
            "id": self.id,
            "source": SOURCE_PREFIX + self.environment,
            "type": self.type.value,
            "subject": self.subject,
            "time": self.time.isoformat(),
            "datacontenttype": "application/json",
            "tenant": self.tenant,
            "partition": self.partition.part,
            "data": self.data.model_dump(mode="json"),
        }
        if self.traceparent is not None:
            body["traceparent"] = self.traceparent
        return _JSON.encode(body).encode()

    @staticmethod
    def from_json(body: bytes) -> Event:
        """Read what ``to_json`` wrote, in this release or an earlier one.

        Raises:
            InvalidEvent: The body is not a CloudEvent of a type that we know.
        """
        return _read(body)


# An event goes to several subscriptions, and their host reads it before their function does.
@lru_cache(maxsize=256)
def _read(body: bytes) -> Event:
    try:
        raw = json.loads(body)
        if raw["specversion"] != SPEC_VERSION or not raw["source"].startswith(SOURCE_PREFIX):
            raise ValueError
        identifiers = (
            raw["id"],
            raw["source"].removeprefix(SOURCE_PREFIX),
            raw["tenant"],
            raw["subject"],
        )
        if not all(isinstance(text, str) and text for text in identifiers):
            raise ValueError
        event_type = EventType(_FORMER_TYPES.get(raw["type"], raw["type"]))
        event = Event(
            id=raw["id"],
            type=event_type,
            environment=identifiers[1],
            partition=_partition(raw),
            subject=raw["subject"],
            time=datetime.fromisoformat(raw["time"]),
            data=DATA[event_type].model_validate(raw["data"]),
            traceparent=raw.get("traceparent"),
        )
        if event.time.utcoffset() is None:
            raise ValueError
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidEvent("The message is not a CloudEvent of a known type.") from error
    return event


def _partition(raw: JsonObject) -> Partition:
    part = raw.get("partition")
    if part is None:  # of an earlier release
        return partition_of(raw["tenant"], raw["subject"])
    return Partition.parse(f"{raw['tenant']}/{part}")
