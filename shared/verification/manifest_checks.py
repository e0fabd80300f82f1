"""Checks of manifests: the signature, the chain, the audit log's word for it, the date, the keys."""

from __future__ import annotations

import hmac
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from shared.audit.index import LOGGED_KIND, log_part, newest_log_part
from shared.audit.models import LoggedEntry
from shared.backup.models import Manifest, object_name
from shared.backup.reading import SetReader
from shared.backup.retention import MARGIN
from shared.base.errors import Damaged, NotFound
from shared.base.ids import created_at
from shared.base.partitions import MAIN
from shared.journal.collections import Collection
from shared.journal.entries import Action
from shared.ports.clock import Runtime
from shared.ports.records import RecordStore
from shared.ports.write_once import WriteOnceStore
from shared.verification.findings import Checked, Flawed

MISSING: Final = "It is missing."
CHANGED: Final = "It is not what was written."


@dataclass(slots=True)
class ManifestChecks:
    """Checks manifests.

    Attributes:
        reader: Reads them.
        records: The audit log, which knows their hashes.
        runtime: Time.
    """

    reader: SetReader
    records: RecordStore
    runtime: Runtime
    _logged: Collection[LoggedEntry] = field(init=False)

    def __post_init__(self) -> None:
        self._logged = Collection(self.records, LoggedEntry, LOGGED_KIND)

    async def check(
        self, tenant: str, name: str, after: Manifest | None, checked: Checked
    ) -> Manifest | None:
        """Check the manifest of a set: its signature, its place in the chain, its date.

        Args:
            tenant: Whose.
            name: The id of the set.
            after: The set after, whose keys need not be unwrapped again.
            checked: Learns what was found.

        Returns:
            None: it cannot be used.

        Raises:
            Unavailable: The backup store or the key vault does not respond.
        """
        checked.objects += 1
        manifests, label = self.reader.manifests, f"sets/{name}"
        try:
            info = await self.reader.store.head(object_name(tenant, "sets", name))
            checked.bytes += info.size
            manifest = await manifests.read(tenant, name)
            signed = await manifests.preceding(tenant, name)
        except NotFound:
            return None  # it was pruned since it was listed
        except Damaged:
            checked.add("manifest", label, CHANGED)
            checked.flawed.append(Flawed(MAIN, name))
            return None
        if info.retain_until < manifest.retain_until:
            await extend(self.reader.store, info.name, manifest.retain_until, checked)
        await self._check_chain(manifest, checked)
        logged = await self._logged_sha256(tenant, name)
        if logged is not None and not hmac.compare_digest(logged, signed.sha256.hex()):
            checked.add("chain", label, "It is not the set that the audit log names.")
        new = tuple(key for key in manifest.keys if after is None or key not in after.keys)
        try:
            await self.reader.keys(manifest.model_copy(update={"keys": new}))
        except Damaged:
            checked.add("key", label, "The keys of its segments cannot be unwrapped.")
        return manifest

    async def _check_chain(self, manifest: Manifest, checked: Checked) -> None:
        """Check that the set before is the one that a manifest names, if it is still kept."""
        previous = manifest.previous
        if previous is None:
            return
        label = f"sets/{manifest.id}"
        try:
            before = await self.reader.manifests.preceding(manifest.tenant, previous.id)
        except NotFound:
            # Whatever the policy says, a set is retained for longer than that.
            if created_at(previous.id) > self.runtime.now() - MARGIN:
                checked.add("chain", label, "The set before is missing.")
            return
        except Damaged:
            return  # its own check says so
        if not hmac.compare_digest(before.sha256, previous.sha256):
            checked.add("chain", label, "The set before is not the one that it names.")

    async def _logged_sha256(self, tenant: str, name: str) -> str | None:
        """What the audit log says the manifest of a set hashes to, in hexadecimal; None: it does not."""
        for number in range(await newest_log_part(self.records, tenant), -1, -1):
            page = await self._logged.page(log_part(tenant, number), where={"resource": name})
            for stored in page.items:
                entry = stored.value.entry
                if entry.action is Action.BACKUP_CREATE:
                    return str(entry.details["sha256"])
        return None


async def extend(store: WriteOnceStore, name: str, until: datetime, checked: Checked) -> None:
    """Retain an object for as long as a set that needs it, and note that it was not."""
    label = name.partition("/")[2]
    checked.add("retention", label, "Its date was earlier than that of a set; it was moved.")
    with suppress(NotFound):
        await store.extend(name, until)
