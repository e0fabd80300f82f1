"""What stands behind the ports of one process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from shared.base.activity import Activity
from shared.ports.blobs import BlobStore
from shared.ports.bus import EventBus, EventSource
from shared.ports.collectors import Collectors
from shared.ports.keys import KeyVault
from shared.ports.posting import Poster
from shared.ports.records import RecordStore
from shared.ports.targets import TargetConnector
from shared.ports.write_once import WriteOnceStore


async def _has_room() -> None:
    """For stores that do not fill up."""


@dataclass(frozen=True, slots=True)
class Adapters:
    """What stands behind the ports.

    Attributes:
        primary: Sealed content.
        replica: Sealed content in the second region.
        staging: Content on its way in.
        backup: Backups, which nobody can change or remove before their date; in another region.
        backup_keys: The keys of the content in the backups, in a store that can forget: what is deleted
            there is gone, with no version or soft-deleted copy of it.
        audit: The tiles and checkpoints of the audit logs, which nobody can change or remove before their
            date; in the region of the backups.
        records: Records.
        targets: Opens external storage that tenants own.
        collectors: Sends webhooks.
        poster: Posts to witnesses and time stamp authorities, which the operator names.
        key_vault: Keys.
        bus: The sending side of the bus.
        source: The receiving side, for hosts that pump messages themselves.
        verify_grant: The size limit of an upload grant, by object name and query parameters, for a
            server that takes staged content itself; None where the storage service does.
        environments: Asks each resource that can tell which environment it belongs to.
        upgrade: Brings what an earlier release has stored into today's form, before first use.
        check_room: Raises ``Unavailable`` where the stores have no room for what comes next.
        activity: What the host is to count requests and messages in; embedded parts look at it.
        mirror_keys: Puts a copy of the key vault beside the backups, where the key vault is files.
        close: Closes them all.
    """

    primary: BlobStore
    replica: BlobStore
    staging: BlobStore
    backup: WriteOnceStore
    backup_keys: BlobStore
    audit: WriteOnceStore
    records: RecordStore
    targets: TargetConnector
    collectors: Collectors
    poster: Poster
    key_vault: KeyVault
    bus: EventBus
    source: EventSource
    verify_grant: Callable[[str, Mapping[str, str]], int] | None
    environments: Callable[[], Awaitable[Mapping[str, str | None]]]
    upgrade: Callable[[], Awaitable[None]]
    mirror_keys: Callable[[], Awaitable[None]]
    close: Callable[[], Awaitable[None]]
    check_room: Callable[[], Awaitable[None]] = _has_room
    activity: Activity = field(default_factory=Activity)
