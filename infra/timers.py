"""What the timers ask of Azure's services in a month: it follows from their schedules and from the work."""

from __future__ import annotations

from dataclasses import dataclass

from use import HOURS_A_MONTH, QUERY_UNITS, READ_UNITS, SECONDS_A_MONTH, WRITE_UNITS, Use

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
    partition with events costs one agenda write, two queries and one delete in each window of the
    relay; a staged upload the same when it expires. A tenant's hour with uploads costs one agenda
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
    relayed = visit + QUERY_UNITS  # the outbox, and the entries that wait
    return Timers(
        idle_units=runs * AGENDA_SHARDS * QUERY_UNITS,
        relay_units=windows * relayed,
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
