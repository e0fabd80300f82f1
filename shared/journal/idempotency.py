"""``Idempotency-Key``: a POST that is sent twice takes effect once, and is answered as the first time.

What has become since of the thing that was made is for a GET to say: a repeated request gets what the first
one got. Most of that is in the request itself, and in what never changes of the thing; the rest, neither
secrets nor names, is remembered.

The key is a random string of the client's choice. It is never stored: a record is found by its hash,
and the request's fingerprint is an HMAC under it, so a fingerprint gives nothing away about names,
contents or passwords in the request.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from pydantic import Field

from shared.base.errors import Conflict, IdempotencyKeyReused, InvalidInput
from shared.base.models import Model, UtcDatetime
from shared.base.partitions import Partition
from shared.journal.collections import Collection
from shared.ports.clock import Runtime
from shared.ports.records import Create, RecordStore

KIND: Final = "idempotency"
RESERVATION_KIND: Final = "idempotency-reservation"
KEPT: Final = timedelta(hours=24)
KEY_LENGTH: Final = range(16, 256)


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A client's key for one operation of one user.

    Attributes:
        tenant: The user's tenant.
        scope: The user and the operation; keys of different scopes never meet.
        value: The header's value.
    """

    tenant: str
    scope: str
    value: str

    def __post_init__(self) -> None:
        if len(self.value) not in KEY_LENGTH or not self.value.isascii():
            raise InvalidInput(
                "The Idempotency-Key must be 16 to 255 ASCII characters; send a random UUID."
            )

    @property
    def record_id(self) -> str:
        """Where the outcome is kept."""
        return hashlib.sha256(f"{self.scope}\n{self.value}".encode()).hexdigest()

    def fingerprint(self, request: Mapping[str, Any]) -> str:
        """What two equal requests under this key have in common, and unequal ones do not."""
        canonical = json.dumps(request, sort_keys=True, separators=(",", ":"))
        return hmac.new(self.value.encode(), canonical.encode(), hashlib.sha256).hexdigest()


class Outcome(Model):
    """What came of a key.

    Attributes:
        id: The key's record id.
        fingerprint: Of the request.
        made: The id of what it made.
        facts: What else the response said and the request does not, such as a time; no secret, no name.
            Empty as written by releases before 0.2.
        expires_at: When the key is forgotten.
    """

    id: str
    fingerprint: str
    made: str
    facts: dict[str, str] = Field(default_factory=dict)
    expires_at: UtcDatetime


class Reservation(Model):
    """The id under which the request of a key makes its record, whichever attempt succeeds.

    Attributes:
        id: The key's record id.
        reserved: The id to use.
        expires_at: When the key is forgotten.
    """

    id: str
    reserved: str
    expires_at: UtcDatetime


class Idempotency:
    """Remembers for a day what came of each key.

    Args:
        records: The record store.
        runtime: Time.
    """

    def __init__(self, records: RecordStore, runtime: Runtime) -> None:
        self._records = records
        self._runtime = runtime
        self._outcomes = Collection(
            records,
            Outcome,
            KIND,
            lambda outcome: outcome.id,
            expires_at=lambda outcome: outcome.expires_at,
        )
        self._reservations = Collection(
            records,
            Reservation,
            RESERVATION_KIND,
            lambda reservation: reservation.id,
            expires_at=lambda reservation: reservation.expires_at,
        )

    async def reserve(self, key: IdempotencyKey | None, fresh: str) -> str:
        """The id under which to make a record whose partition is found from its id.

        Two attempts under one key would otherwise make two records in two months around midnight of
        the last day. The same id conflicts in the same partition, whenever the attempts are made.

        Args:
            key: The client's; without one, ``fresh`` is the id.
            fresh: The id to use if this is the first attempt.
        """
        if key is None:
            return fresh
        partition = Partition(key.tenant)
        found = await self._reservations.find(partition, key.record_id)
        if found is not None:
            return found.value.reserved
        reservation = Reservation(
            id=key.record_id, reserved=fresh, expires_at=self._runtime.now() + KEPT
        )
        try:
            await self._records.commit(
                partition, [self._reservations.create(partition, reservation)]
            )
        except Conflict:
            return (await self._reservations.get(partition, key.record_id)).value.reserved
        return fresh

    async def replayed(
        self, key: IdempotencyKey | None, request: Mapping[str, Any], partition: Partition
    ) -> str | None:
        """The id of what an earlier request under this key made; None where there was none.

        The arguments and the errors are those of ``outcome``.
        """
        found = await self.outcome(key, request, partition)
        return None if found is None else found.made

    async def outcome(
        self, key: IdempotencyKey | None, request: Mapping[str, Any], partition: Partition
    ) -> Outcome | None:
        """What came of an earlier request under this key; None where there was none.

        Args:
            key: The client's, if any.
            request: Must be the same as the earlier one.
            partition: Where the outcome was committed.

        Raises:
            IdempotencyKeyReused: The earlier request was a different one.
        """
        if key is None:
            return None
        found = await self._outcomes.find(partition, key.record_id)
        if found is None:
            return None
        if not hmac.compare_digest(found.value.fingerprint, key.fingerprint(request)):
            raise IdempotencyKeyReused(
                "This Idempotency-Key was sent with a different request before; use a new key."
            )
        return found.value

    def remember(
        self,
        key: IdempotencyKey | None,
        request: Mapping[str, Any],
        made: str,
        partition: Partition,
        facts: Mapping[str, str] | None = None,
    ) -> list[Create]:
        """The change that remembers the outcome, to be committed with it; none without a key.

        A second request at the same time conflicts in that commit, so only one takes effect.
        """
        if key is None:
            return []
        outcome = Outcome(
            id=key.record_id,
            fingerprint=key.fingerprint(request),
            made=made,
            facts=dict(facts or {}),
            expires_at=self._runtime.now() + KEPT,
        )
        return [self._outcomes.create(partition, outcome)]
