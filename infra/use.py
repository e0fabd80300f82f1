"""What environments are asked to do in a month, and the request units of an operation: assumptions."""

from __future__ import annotations

from dataclasses import dataclass

HOURS_A_MONTH = 730
SECONDS_A_MONTH = HOURS_A_MONTH * 3600


@dataclass(frozen=True)
class Use:
    """What an environment is asked to do in a month.

    Attributes:
        stored_gigabytes: Documents kept, in the primary store; as much again is the replica, and
            twice as much the backups: what was deleted or replaced stays in sets that are kept.
        documents: New documents, of 4 MiB at most on average.
        opens: Downloads.
        record_gigabytes: Records; the keys of the backups are less.
        traffic_gigabytes: What the app sends and receives.
        tenants: How many customers share the documents and the opens.
    """

    stored_gigabytes: float
    documents: int
    opens: int
    record_gigabytes: float
    traffic_gigabytes: float
    tenants: int = 100


USES = {
    "development": Use(5, 10_000, 50_000, 1, 60, tenants=5),
    "staging": Use(50, 20_000, 100_000, 1, 120, tenants=10),
    "production": Use(2_000, 1_000_000, 5_000_000, 20, 6_000),
}


def grown(tenants: int) -> Use:
    """Production after a year, with so many customers of one size.

    Each uploads 200 documents of 2 MB a month and opens 1,000.
    """
    documents, opens, gigabytes = tenants * 200, tenants * 1_000, 0.002
    kept = documents * 12
    return Use(
        kept * gigabytes, documents, opens, kept * 20e-6, (documents + opens) * gigabytes, tenants
    )


INSTANCES = 10
"""Instances that serve one customer within a few minutes, each with a memory of its own."""

PEAK = 3
"""How much busier the busiest hour is than the average of the month."""

QUERY_UNITS = 6
WRITE_UNITS = 10
READ_UNITS = 2
"""Request units of a query with few rows, of a write or a delete of a small item, of a point read. Under
bounded staleness a read asks two copies, and costs twice what it costs under session consistency."""
