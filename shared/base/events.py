"""Event types and their form on the bus: CloudEvents 1.0, structured JSON.

Spec: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md and formats/json-format.md.
Extension attributes: ``tenant`` and, where the cause carried one, ``traceparent`` (W3C Trace Context).
Data holds identifiers only, never a name, a content or a secret.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from shared.base.errors import InvalidInput
from shared.base.models import JsonObject

SPEC_VERSION: Final = "1.0"
SOURCE_PREFIX: Final = "/strongroom/"


class EventType(StrEnum):
    """What can happen. The names in ``infra/topology.json`` filters are these."""

    UPLOAD_COMPLETED = "upload.completed"
    DOCUMENT_SEALED = "document.sealed"
    DOCUMENT_DAMAGED = "document.damaged"
    DOCUMENT_REPAIRED = "document.healed"
    DOCUMENT_DELETED = "document.deleted"
    AUDIT_RECORDED = "audit.recorded"


@dataclass(frozen=True, slots=True)
class Event:
    """One fact, as published.

    Attributes:
        id: Unique; an event id takes effect once.
        type: What happened.
        environment: Where; the CloudEvents source is ``/strongroom/{environment}``.
        tenant: Whose; also the session on the bus.
        subject: The id of the thing that it happened to.
        time: When, UTC.
        data: Identifiers that the consumer needs.
        traceparent: The W3C trace context of the request that caused it.
    """

    id: str
    type: EventType
    environment: str
    tenant: str
    subject: str
    time: datetime
    data: JsonObject = field(default_factory=dict)
    traceparent: str | None = None

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
            "data": self.data,
        }
        if self.traceparent is not None:
            body["traceparent"] = self.traceparent
        return json.dumps(body, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, body: bytes) -> Event:
        """Read what ``to_json`` wrote.

        Raises:
            InvalidInput: The body is not a CloudEvent of a type that we know.
        """
        try:
            raw = json.loads(body)
            if raw["specversion"] != SPEC_VERSION or not raw["source"].startswith(SOURCE_PREFIX):
                raise ValueError
            event = cls(
                id=raw["id"],
                type=EventType(raw["type"]),
                environment=raw["source"].removeprefix(SOURCE_PREFIX),
                tenant=raw["tenant"],
                subject=raw["subject"],
                time=datetime.fromisoformat(raw["time"]),
                data=raw["data"],
                traceparent=raw.get("traceparent"),
            )
            identifiers = (event.id, event.environment, event.tenant, event.subject)
            if not all(isinstance(text, str) and text for text in identifiers):
                raise ValueError
            if not isinstance(event.data, dict) or event.time.utcoffset() is None:
                raise ValueError
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput("The message is not a CloudEvent of a known type.") from error
        return event
