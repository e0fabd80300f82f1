"""The whole catalogue: for each action when there is an entry, who did it, and what it says.

``python -m standalone.audit_entries`` publishes it as ``docs/audit-entries.md`` and
``docs/audit-entry.schema.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from shared.journal.catalogue.accounts import ACCOUNTS
from shared.journal.catalogue.backups import BACKUPS
from shared.journal.catalogue.content import CONTENT
from shared.journal.catalogue.description import Description
from shared.journal.catalogue.grants import GRANTS
from shared.journal.catalogue.operation import OPERATION
from shared.journal.catalogue.reviews import REVIEWS
from shared.journal.catalogue.webhooks import WEBHOOKS
from shared.journal.entries import Action, Details

_ALL: Final = {**ACCOUNTS, **CONTENT, **BACKUPS, **OPERATION, **WEBHOOKS, **GRANTS, **REVIEWS}

CATALOGUE: Final[Mapping[Action, Description]] = {action: _ALL[action] for action in Action}
"""In the order of ``Action``; an action that is not described fails here."""


def check_described(action: Action, outcome: str, details: Details) -> None:
    """Refuse an entry that is not as the catalogue says: a defect of ours, whatever a client sent.

    Raises:
        ValueError: Its action is a former one or has no such outcome, or a detail is unknown or of another
            type.
    """
    described = CATALOGUE[action]
    if described.former or outcome not in described.outcomes:
        raise ValueError(f"the catalogue has no entry {action} that is {outcome}")
    for name, value in details.items():
        kind = described.details.get(name)
        if kind is None or not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"the catalogue does not have this detail of {action}: {name}")
