"""The first operator of an installation, created with a secret instead of an account."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

from shared.access.permissions import Role
from shared.access.principal import Origin
from shared.base.errors import Conflict, SignInRefused, StrongroomError
from shared.base.partitions import OPERATOR, Partition
from shared.identity.accounts import Accounts, TemporaryPassword
from shared.identity.models import FirstOperator
from shared.journal.collections import Collection
from shared.journal.entries import ANONYMOUS, Action
from shared.journal.journal import Journal
from shared.ports.records import RecordStore

FIRST_OPERATOR_KIND: Final = "first-operator"
FIRST_OPERATOR_ID: Final = "once"

_DIRECTORY: Final = Partition(OPERATOR)


@dataclass(slots=True)
class Bootstrap:
    """Creates the first operator.

    Attributes:
        secret_sha256: Of the secret that allows it, in hex; empty: no secret does.
    """

    records: RecordStore
    journal: Journal
    accounts: Accounts
    secret_sha256: str
    _first: Collection[FirstOperator] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._first = Collection(
            self.records, FirstOperator, FIRST_OPERATOR_KIND, lambda _: FIRST_OPERATOR_ID
        )

    async def create_operator(
        self, secret: str, username: str, origin: Origin
    ) -> TemporaryPassword:
        """Create the first operator. It works once in the life of an installation.

        Args:
            secret: As sent by the client.
            username: The operator's.
            origin: Where the request came from.

        Raises:
            Conflict: The first operator exists.
            SignInRefused: The secret is wrong, or none is set.
        """
        try:
            return await self._create(secret, username, origin)
        except StrongroomError as error:
            await self.journal.record_failure(
                error, Action.USER_CREATE, by=ANONYMOUS, tenant=OPERATOR, origin=origin
            )
            raise

    async def has_operator(self) -> bool:
        """Return whether the first operator exists."""
        return await self._first.find(_DIRECTORY, FIRST_OPERATOR_ID) is not None

    async def _create(self, secret: str, username: str, origin: Origin) -> TemporaryPassword:
        sent = hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
        if not hmac.compare_digest(sent, self.secret_sha256):
            raise SignInRefused("The bootstrap secret is wrong, or none is set.")
        draft = await self.accounts.draft(OPERATOR, username, (Role.OPERATOR,))
        user = draft.temporary.user.id
        entry = self.journal.entry(
            Action.USER_CREATE, user, by=ANONYMOUS, tenant=OPERATOR, origin=origin
        )
        first = self._first.create(_DIRECTORY, FirstOperator(user=user))
        try:
            await self.journal.commit(entry, [*draft.changes, first])
        except Conflict:
            raise Conflict("The first operator exists; ask them for an account.") from None
        return draft.temporary
