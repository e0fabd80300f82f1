"""What customers' work asks of Azure's services in a month, for the estimates of ``cost.py``.

What one request asks for was counted at the ports and is compared with them by
``tests/infra/test_cost_calls.py``. What the timers ask for is in ``timers.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

from timers import (
    AGENDA_SHARDS,
    LINES_A_SET,
    PLATFORM_LOG_GIGABYTES,
    RUNS,
    SET_GIGABYTE_SECONDS,
    SIGNATURE_OPERATIONS,
    timers,
)
from use import (
    HOURS_A_MONTH,
    INSTANCES,
    PEAK,
    QUERY_UNITS,
    READ_UNITS,
    SECONDS_A_MONTH,
    WRITE_UNITS,
    Use,
)


@dataclass(frozen=True)
class Work:
    """The calls that one request causes, with those of all events that follow from it.

    Attributes:
        reads: Records read by their id.
        queries: Pages of queries for records.
        commits: Batches of changes.
        changes: Items written or deleted by them.
        sends: Messages sent to the bus.
        deliveries: Messages that a function took.
        blob_writes: Calls of Blob Storage that cost what a write costs.
        blob_reads: Calls of Blob Storage that cost what a read costs.
    """

    reads: int
    queries: int
    commits: int
    changes: int
    sends: int
    deliveries: int
    blob_writes: int
    blob_reads: int

    @property
    def units(self) -> int:
        """Request units."""
        return self.reads * READ_UNITS + self.queries * QUERY_UNITS + self.changes * WRITE_UNITS

    @property
    def executions(self) -> int:
        """Runs of functions: the request's and one for each message."""
        return 1 + self.deliveries

    @property
    def log_lines(self) -> int:
        """Calls that the services log, and what the gateway, the firewall and the app log of a request."""
        stores = self.reads + self.queries + self.commits + self.blob_writes + self.blob_reads
        return stores + self.executions * LINES_AN_EXECUTION + LINES_A_REQUEST


LINES_AN_EXECUTION = 4
LINES_A_REQUEST = 2
LINE_BYTES = 1_000
"""What is logged of a run (the request and two lines of the host, and the app's span), of a request at the
edge, and how long a line is."""

POINTS_AN_EXECUTION = 4
POINTS_A_TIMER = 2
POINTS_A_MINUTE = 20
"""Data points of metrics, each a line of log: of the run of a request or of a message, of a timer's run,
and at most of one instance in a minute, after which those of one series are one."""

UPLOAD = Work(6, 2, 4, 9, 3, 3, 4, 4)
OPEN = Work(3, 1, 3, 4, 1, 1, 0, 2)
"""A direct upload and a download of a document of one block, with keys in memory, each alone: what happens
at the same time in a tenant shares announcements and appends to its log."""

IN_MEMORY_MINUTES = 5
UNWRAPS = 1
KEYS_A_TENANT = 1
"""How long a process remembers a tenant's keys, what it asks of the key vault to have them again, and keys
in the key vault."""

BILLED_SECONDS = 1.0
INSTANCE_GIGABYTES = 2
TOGETHER = 4
"""The least that a run is charged; the memory of an instance; how many runs share one on average, of the
16 requests or messages that it takes at once."""


@dataclass(frozen=True)
class Demand:
    """What a month's use asks of the services, timers included.

    Attributes:
        request_units: Of Cosmos DB.
        messages: Sent and taken, of the bus.
        blob_writes: Calls that cost what a write costs, without the lists of the sweep and the backups.
        blob_reads: Calls that cost what a read costs.
        executions: Runs of functions.
        gigabyte_seconds: Memory times time in which they run, without the verification of backups.
        key_operations: Of Key Vault.
        log_gigabytes: What is logged.
    """

    request_units: float
    messages: float
    blob_writes: float
    blob_reads: float
    executions: float
    gigabyte_seconds: float
    key_operations: float
    log_gigabytes: float

    @property
    def peak_units(self) -> float:
        """Request units a second in the busiest hour."""
        return self.request_units / SECONDS_A_MONTH * PEAK


def demand(use: Use) -> Demand:
    """What a month's use asks of the services: counted calls, times how often they are made."""
    asked = timers(use)
    times = ((UPLOAD, use.documents), (OPEN, use.opens))

    def total(field: str) -> float:
        return float(sum(getattr(work, field) * often for work, often in times))

    windows = use.tenants * INSTANCES * HOURS_A_MONTH * 60 / IN_MEMORY_MINUTES
    # Of what follows from a message, only appending to a tenant's log needs a key; one process does that.
    unwraps = min(windows, use.documents + use.opens) * UNWRAPS
    unwraps += min(windows / INSTANCES, use.documents + use.opens) * UNWRAPS
    keys = unwraps + asked.sets * SIGNATURE_OPERATIONS + asked.checkpoints
    runs = total("executions") + RUNS
    alone = RUNS * BILLED_SECONDS + total("executions") * BILLED_SECONDS / TOGETHER
    lines = total("log_lines") + keys + asked.sets * LINES_A_SET
    lines += RUNS * (AGENDA_SHARDS + LINES_AN_EXECUTION)
    lines += min(
        total("executions") * POINTS_AN_EXECUTION + RUNS * POINTS_A_TIMER,
        INSTANCES * HOURS_A_MONTH * 60 * POINTS_A_MINUTE,
    )
    return Demand(
        request_units=total("units") + asked.units,
        messages=total("sends") + total("deliveries"),
        blob_writes=total("blob_writes"),
        blob_reads=total("blob_reads"),
        executions=runs,
        gigabyte_seconds=alone * INSTANCE_GIGABYTES + asked.sets * SET_GIGABYTE_SECONDS,
        key_operations=keys,
        log_gigabytes=PLATFORM_LOG_GIGABYTES + lines * LINE_BYTES / 1e9,
    )
