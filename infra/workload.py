"""What customers' work asks of Azure's services in a month, for the estimates of ``cost.py``.

What one request asks for was counted at the ports and is compared with them by
``tests/infra/test_cost_calls.py``. What the timers ask for follows from their schedules and from the work.
"""

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

UPLOAD = Work(12, 2, 6, 13, 2, 4, 4, 4)
OPEN = Work(6, 1, 4, 6, 1, 1, 0, 2)
"""A direct upload and a download of a document of one block, with keys in memory."""

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


RELAY_SECONDS = 15
SWEEP_SECONDS = 600
ROTATION_SECONDS = 600
BACKUP_SECONDS = 60
VERIFICATION_SECONDS = 60
RESTORE_SECONDS = 60
DRILL_SECONDS = 600
TARGET_SECONDS = 60
TRASH_SECONDS = 600
CHECKPOINT_SECONDS = 30
WEBHOOKS_SECONDS = 60
ATTESTATION_SECONDS = 60
MONITOR_SECONDS = 300
GRANTS_SECONDS = 60
REVIEWS_SECONDS = 600
"""How often the timers run, as the schedules in active.bicep say. That of attestations reads nothing where
nobody is named who states something about the logs, as in the parameters."""


RUNS = SECONDS_A_MONTH * (
    1 / RELAY_SECONDS
    + 1 / SWEEP_SECONDS
    + 1 / ROTATION_SECONDS
    + 1 / BACKUP_SECONDS
    + 1 / VERIFICATION_SECONDS
    + 1 / RESTORE_SECONDS
    + 1 / DRILL_SECONDS
    + 1 / TARGET_SECONDS
    + 1 / TRASH_SECONDS
    + 1 / CHECKPOINT_SECONDS
    + 1 / WEBHOOKS_SECONDS
    + 1 / ATTESTATION_SECONDS
    + 1 / MONITOR_SECONDS
    + 1 / GRANTS_SECONDS
    + 1 / REVIEWS_SECONDS
)
"""Runs of all timers in a month."""

AGENDA_SHARDS = 8
RELAY_WINDOW_SECONDS = 120
"""The agenda's partitions, and how long one agenda item stands for an active partition."""

ACTIVE_PARTITIONS = 2
"""Partitions of a tenant in which something happens at a time: the present month, and ``main``."""

EVENTS_A_DOCUMENT = 4
SWEPT_STORES = 3
"""The primary store, the replica and staging."""

OBJECTS_A_SET = 6
"""A manifest; for each of two partitions, the documents' and the audit log's, an index and a segment; a
pack. Beside them one key page, in the store that forgets."""

WRITES_AN_OBJECT = 2
"""A block, and the list of the blocks; larger packs are counted with the writes of documents."""

LISTS_AN_OBJECT = 2
READ_OBJECTS = 3
"""An object that is retained is its name's oldest version, which a LIST finds: before it is written, and
when it is removed. So does each read: the manifest and the two indexes of the set before."""

PACKED_MONTHS = 12
REQUESTS_A_PACK = 3
"""How many months' packs are kept; each month a LIST and a later date for each, and a LIST to check it."""

SET_VISITS = 2
SET_UNITS = 90
SET_GIGABYTE_SECONDS = 1
"""How often the timer looks at a tenant for one set, because the set's audit entry is a change as well; the
request units of the feed of changes, of the state and of the commit; memory times time."""

LINES_A_SET = 60
PLATFORM_LOG_GIGABYTES = 3
"""Log lines of one set, from its requests to the stores; what the platform logs of itself in a month."""

SIGNATURE_OPERATIONS = 2
"""The key vault is asked for the key's current version, then to sign."""

CHECKPOINT_WINDOW_SECONDS = 60
CHECKPOINT_UNITS = 90
CHECKPOINT_OBJECTS = 3
"""A tenant's log gets one checkpoint for all that happened in such a window, which is on the agenda
twice; the request units of that, of reading what was appended and of the commit; a bundle, a
tile and the checkpoint."""

LOOK_WINDOW_SECONDS = 3_600
LOOK_UNITS = 120
LOOK_LISTS = 6
"""The monitor looks at a tenant's log once for all that happened in such a window; the request units of
that, rows of the newest bundle included, and the lists of its tiles and checkpoints."""

VERIFICATION_DAYS = 30
VERIFIED_COPIES = 4
VERIFIED_FAR = 3
VERIFICATION_GIGABYTE_SECONDS = 20
"""Within so many days all content is read and checked, as the default policy says, for which a walk begins
after half of them: the primary store, the replica and the backups, which count twice; all but the first are
in the other region. Memory times time for each GB."""


@dataclass(frozen=True)
class Timers:
    """What the timers ask of the stores in a month, at most.

    Attributes:
        idle_units: Request units of runs that find nothing due: the agenda's partitions are read.
        relay_units: Request units of the outbox relay, for partitions with events.
        sweep_units: Request units of the upload sweep, for tenants with uploads.
        lists: LIST calls of the upload sweep.
        sets: Sets of backups.
        backup_units: Request units of the sets.
        checkpoints: Of audit logs.
        looks: Of the monitor at audit logs.
    """

    idle_units: float
    relay_units: float
    sweep_units: float
    lists: float
    sets: float
    backup_units: float
    checkpoints: float
    looks: float

    @property
    def units(self) -> float:
        """All request units."""
        own = self.idle_units + self.relay_units + self.sweep_units + self.backup_units
        own += self.checkpoints * CHECKPOINT_UNITS
        return own + self.looks * LOOK_UNITS

    @property
    def checkpoint_requests(self) -> float:
        """What the checkpoints ask of the storage, in requests with the price of a write."""
        return self.checkpoints * CHECKPOINT_OBJECTS * WRITES_AN_OBJECT

    @property
    def look_lists(self) -> float:
        """LIST calls of the monitor."""
        return self.looks * LOOK_LISTS

    @property
    def set_requests(self) -> float:
        """What making and removing the sets asks of the storage, in requests with the price of a write."""
        objects = self.sets * OBJECTS_A_SET
        pages = self.sets * WRITES_AN_OBJECT
        return objects * (WRITES_AN_OBJECT + LISTS_AN_OBJECT) + pages + self.sets * READ_OBJECTS

    @property
    def pack_requests(self) -> float:
        """The same for retaining and checking the packs of earlier sets."""
        return self.sets * PACKED_MONTHS * REQUESTS_A_PACK


def timers(use: Use) -> Timers:
    """What the timers ask of the stores: little when nothing happens, then in proportion to the work.

    Every run reads the agenda's partitions and nothing else, however many tenants there are. A
    partition with events costs one agenda write, one outbox query and one delete in each window of
    the relay; a staged upload the same when it expires. A tenant's hour with uploads costs one agenda
    write and one delete, and one LIST of up to 1,000 objects in each store; each object that is
    found there in the primary store and the replica has its document and its version read.

    A set is made of a tenant's changes of one window, so there are no more sets than windows of all tenants
    and no more than documents. Each document has one record that says where the backup keeps it.
    """
    seconds, tenants = SECONDS_A_MONTH, use.tenants
    # Each task of a timer reads the agenda: expired uploads and orphaned objects; sets and their removal;
    # erasures that are due and those that a legal hold has put off; reviews, and grants that need one.
    runs = seconds * (
        1 / RELAY_SECONDS
        + 2 / SWEEP_SECONDS
        + 1 / ROTATION_SECONDS
        + 2 / BACKUP_SECONDS
        + 1 / VERIFICATION_SECONDS
        + 1 / RESTORE_SECONDS
        + 1 / DRILL_SECONDS
        + 1 / TARGET_SECONDS
        + 2 / TRASH_SECONDS
        + 1 / CHECKPOINT_SECONDS
        + 1 / WEBHOOKS_SECONDS
        + 1 / MONITOR_SECONDS
        + 1 / GRANTS_SECONDS
        + 2 / REVIEWS_SECONDS
    )
    windows = min(
        tenants * ACTIVE_PARTITIONS * seconds / RELAY_WINDOW_SECONDS,
        use.documents * EVENTS_A_DOCUMENT,
    )
    tenant_hours = min(tenants * HOURS_A_MONTH, use.documents)
    sets = min(tenants * seconds / RELAY_WINDOW_SECONDS, use.documents)
    visit = WRITE_UNITS + QUERY_UNITS + WRITE_UNITS
    return Timers(
        idle_units=runs * AGENDA_SHARDS * QUERY_UNITS,
        relay_units=windows * visit,
        sweep_units=tenant_hours * 2 * WRITE_UNITS + use.documents * (visit + 2 * 2 * READ_UNITS),
        lists=tenant_hours * SWEPT_STORES,
        sets=sets,
        backup_units=sets * (SET_VISITS * visit + SET_UNITS) + use.documents * WRITE_UNITS,
        checkpoints=min(
            tenants * seconds / CHECKPOINT_WINDOW_SECONDS,
            use.documents * EVENTS_A_DOCUMENT + use.opens,
        ),
        looks=min(tenants * seconds / LOOK_WINDOW_SECONDS, use.documents + use.opens),
    )


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
