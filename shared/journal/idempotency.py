"""``Idempotency-Key``: a POST that is sent twice takes effect once.

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

from shared.base.errors import IdempotencyKeyReused, InvalidInput, NotFound
from shared.ports.clock import Clock
from shared.ports.records import Create, Record, RecordStore

KIND: Final = "idempotency"
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


class Idempotency:
    """Remembers for a day what came of each key.

    Args:
        records: The record store.
        clock: Time.
    """

    def __init__(self, records: RecordStore, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    async def made(self, key: IdempotencyKey | None) -> str | None:
        """The id of what an earlier request under this key made; None where there was none."""
        record = await self._find(key)
        return None if record is None else str(record.body["made"])

    async def replayed(self, key: IdempotencyKey | None, request: Mapping[str, Any]) -> str | None:
        """As ``made``, once it is sure that the request is the same as the earlier one.

        Raises:
            IdempotencyKeyReused: The earlier request was another one.
        """
        record = await self._find(key)
        if key is None or record is None:
            return None
        if not hmac.compare_digest(record.body["fingerprint"], key.fingerprint(request)):
            raise IdempotencyKeyReused(
                "This Idempotency-Key was sent with a different request before; use a new key."
            )
        return str(record.body["made"])

    def remember(
        self, key: IdempotencyKey | None, request: Mapping[str, Any], made: str
    ) -> list[Create]:
        """The change that remembers the outcome, to be committed with it; none without a key.

        A second request at the same time conflicts in that commit, so only one takes effect.
        """
        if key is None:
            return []
        body = {"fingerprint": key.fingerprint(request), "made": made}
        expires = self._clock.now() + KEPT
        return [Create(Record(key.tenant, KIND, key.record_id, body, expires_at=expires))]

    async def _find(self, key: IdempotencyKey | None) -> Record | None:
        if key is None:
            return None
        try:
            return await self._records.get(key.tenant, KIND, key.record_id)
        except NotFound:
            return None
