"""Events as messages of Service Bus, and what the bus's errors mean.

The body is the CloudEvent; ``message_id`` is the event's id, for duplicate detection;
``session_id`` is the tenant; the application property ``type`` is what the subscriptions' filters
look at. A replay goes to the topic as well, because a subscription cannot be sent to: it carries
the property ``replay_to``, which the filters of all other subscriptions refuse, and ``;replay=``
with the dead letter's sequence number after the event's id, so that the duplicate window lets it
through once.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from shared.adapters.azure.calls import Classification
from shared.adapters.deliveries import DELIVERY_LIMIT, event_of
from shared.base.errors import Conflict, InternalError, Unavailable
from shared.base.events import Event
from shared.ports.bus import DeadLetter

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusMessage, ServiceBusReceivedMessage

_REPLAY: Final = ";replay="
_AZURE_DELIVERY_LIMIT: Final = "MaxDeliveryCountExceeded"
_BUSY_PAUSE: Final = 10.0
"""Seconds that Microsoft asks to wait when a namespace throttles, which its response does not say."""


def to_message(event: Event) -> ServiceBusMessage:
    """The message that publishes an event."""
    from azure.servicebus import ServiceBusMessage

    return ServiceBusMessage(
        event.to_json(),
        message_id=event.id,
        session_id=event.tenant,
        subject=event.type.value,
        content_type="application/cloudevents+json",
        application_properties={"type": event.type.value},
    )


def to_replay(letter: ServiceBusReceivedMessage, subscription: str) -> ServiceBusMessage:
    """The message that delivers a dead letter again, to one subscription."""
    from azure.servicebus import ServiceBusMessage

    return ServiceBusMessage(
        body_of(letter),
        message_id=f"{event_id(letter)}{_REPLAY}{letter.sequence_number}",
        session_id=letter.session_id,
        subject=letter.subject,
        content_type=letter.content_type,
        application_properties={"type": letter.subject or "", "replay_to": subscription},
    )


def event_id(message: ServiceBusReceivedMessage) -> str:
    """The id of the event that a message carries, replayed or not."""
    return str(message.message_id).partition(_REPLAY)[0]


def body_of(message: ServiceBusReceivedMessage) -> bytes:
    """The message's body; empty where it is not bytes, as those of all events are."""
    from azure.servicebus.amqp import AmqpMessageBodyType

    if message.body_type != AmqpMessageBodyType.DATA:
        return b""
    return b"".join(message.body)


def to_dead_letter(message: ServiceBusReceivedMessage, subscription: str) -> DeadLetter:
    """The port's view of a message in a dead letter queue."""
    return DeadLetter(
        subscription=subscription,
        event=event_of(body_of(message)),
        message_id=event_id(message),
        reason=_slug(message.dead_letter_reason or ""),
        delivery_count=message.delivery_count or 0,
        dead_lettered_at=_dead_lettered_at(message),
    )


def classify(error: Exception) -> Classification | None:
    """What Service Bus's errors mean."""
    from azure.core.exceptions import ClientAuthenticationError
    from azure.servicebus import exceptions as sdk

    lost = (
        sdk.MessageLockLostError,
        sdk.SessionLockLostError,
        sdk.MessageAlreadySettled,
        sdk.MessageNotFoundError,
    )
    refused = (
        sdk.ServiceBusAuthenticationError,
        sdk.ServiceBusAuthorizationError,
        ClientAuthenticationError,
    )
    if isinstance(error, lost):
        return Classification(Conflict("The message's lock was lost; it will be delivered again."))
    if isinstance(error, sdk.MessageSizeExceededError):
        return Classification(InternalError("The event is larger than the bus takes."))
    if isinstance(error, sdk.MessagingEntityNotFoundError):
        return Classification(
            InternalError("The bus lacks a topic or subscription; deploy it again.")
        )
    if isinstance(error, refused):
        return Classification(
            Unavailable("The bus refused this service's identity.", retry_after=60)
        )
    if isinstance(error, sdk.ServiceBusQuotaExceededError):
        return Classification(Unavailable("The bus is full; try again later.", retry_after=60))
    if isinstance(error, sdk.ServiceBusServerBusyError):
        return Classification(
            Unavailable("The bus is busy; try again."), again=True, wait=_BUSY_PAUSE
        )
    if isinstance(error, (sdk.ServiceBusError, ConnectionError, TimeoutError)):
        return Classification(
            Unavailable("The bus did not respond in time; try again."), again=True
        )
    return None


def _slug(reason: str) -> str:
    """The port's form of a reason: ours is a slug already, Azure's are words run together."""
    if reason == _AZURE_DELIVERY_LIMIT:
        return DELIVERY_LIMIT
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", reason).lower()
    return re.sub(r"[^a-z0-9]+", "-", words).strip("-") or "unknown"


def _dead_lettered_at(message: ServiceBusReceivedMessage) -> datetime:
    """When we dead-lettered it; the time of publication where the bus did, which does not say when."""
    try:
        return datetime.fromisoformat(message.dead_letter_error_description or "")
    except ValueError:
        return message.enqueued_time_utc or datetime.fromtimestamp(0, UTC)
