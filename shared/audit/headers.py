"""The first line of a file out of a log: what verifies the lines that follow."""

from __future__ import annotations

from typing import Any

from shared.audit.models import LogCheckpoint
from shared.audit.periods import Period
from shared.audit.signing import CheckpointKeys


async def file_header(
    form: str, tenant: str, newest: LogCheckpoint, keys: CheckpointKeys, period: Period
) -> dict[str, Any]:
    """The members that every such file has.

    Args:
        form: The format's name and version.
        tenant: Whose log it is.
        newest: The checkpoint that covers the file.
        keys: Signed it.
        period: Of which the file is; what has no end is empty.

    Raises:
        Unavailable: The key vault or the record store does not respond.
    """
    origin = await keys.origin(tenant)
    known = await keys.verifiers(origin)
    return {
        "format": form,
        "origin": origin,
        "checkpoint": newest.note,
        "keys": [str(verifier) for _, verifiers in known for verifier in verifiers],
        "from": period.since.isoformat() if period.since else "",
        "to": period.before.isoformat() if period.before else "",
    }
