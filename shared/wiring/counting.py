"""Adapters of either profile whose calls are counted, for tests and benchmarks."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from shared.adapters.counting import BLOBS, BUS, KEYS, RECORDS, SOURCE, Calls, counted
from shared.wiring.adapters import Adapters

_WRITE_ONCE: Final = "write_once"


def counted_adapters(adapters: Adapters, calls: Calls) -> Adapters:
    """The same adapters, counted; see ``shared.adapters.counting`` for the names.

    Args:
        adapters: Of either profile.
        calls: Where to count; clear it to begin anew.
    """
    return replace(
        adapters,
        primary=counted(adapters.primary, BLOBS, calls),
        replica=counted(adapters.replica, BLOBS, calls),
        staging=counted(adapters.staging, BLOBS, calls),
        backup_keys=counted(adapters.backup_keys, BLOBS, calls),
        backup=counted(adapters.backup, _WRITE_ONCE, calls),
        audit=counted(adapters.audit, _WRITE_ONCE, calls),
        records=counted(adapters.records, RECORDS, calls),
        key_vault=counted(adapters.key_vault, KEYS, calls),
        bus=counted(adapters.bus, BUS, calls),
        source=counted(adapters.source, SOURCE, calls),
    )
