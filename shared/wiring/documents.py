"""The services of documents, put together when they are first asked for."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from shared.wiring.foundation import Foundation

if TYPE_CHECKING:
    from shared.documents.opening import ContentOpener
    from shared.documents.reading import DocumentReader
    from shared.documents.sealing import ContentSealer
    from shared.documents.service import Documents
    from shared.documents.store import DocumentRecords
    from shared.documents.sweep import Sweep
    from shared.documents.trash import Trash
    from shared.documents.uploads import Uploads
    from shared.replication.service import Replication
    from shared.targets.queue import TargetQueue
    from shared.targets.service import Targets
    from shared.targets.timer import TargetTimer
    from shared.wiring.targets import TargetServices


class DocumentServices(Foundation):
    """Documents, their copies, and what removes them."""

    @cached_property
    def _store(self) -> DocumentRecords:
        """The records of documents."""
        from shared.documents.store import DocumentRecords

        return DocumentRecords(self.adapters.records, self._agenda)

    @cached_property
    def _sealer(self) -> ContentSealer:
        """Seals content."""
        from shared.documents.sealing import ContentSealer

        return ContentSealer(
            self.adapters.primary,
            self._epochs,
            self._store,
            self.settings.environment,
            self.runtime,
        )

    @cached_property
    def _opener(self) -> ContentOpener:
        """Opens content."""
        from shared.documents.opening import ContentOpener

        return ContentOpener(
            self.adapters.primary, self.adapters.replica, self._epochs, self.settings.environment
        )

    @cached_property
    def reader(self) -> DocumentReader:
        """Reads documents."""
        from shared.documents.reading import DocumentReader

        return DocumentReader(self._store, self.journal, self._opener)

    @cached_property
    def documents(self) -> Documents:
        """Takes documents."""
        from shared.documents.service import Documents

        return Documents(
            self._store,
            self.journal,
            self._sealer,
            self.reader,
            self._idempotency,
            self.runtime,
            max_bytes=self.settings.max_direct_upload_bytes,
        )

    @cached_property
    def trash(self) -> Trash:
        """Deletes documents."""
        from shared.documents.trash import Trash

        return Trash(self._store, self.journal, self.policies, self.runtime)

    @cached_property
    def uploads(self) -> Uploads:
        """Staged uploads."""
        from shared.documents.descriptions import UploadDescriptions
        from shared.documents.uploads import Uploads

        return Uploads(
            self._store,
            self.journal,
            self.adapters.staging,
            UploadDescriptions(self._epochs, self.settings.environment, self.runtime),
            self._idempotency,
            self.runtime,
            max_bytes=self.settings.max_staged_upload_bytes,
        )

    @cached_property
    def sweep(self) -> Sweep:
        """Removes what was begun and not finished."""
        from shared.documents.sweep import Sweep

        return Sweep(self.uploads, self.adapters.primary, self.adapters.replica, self.runtime)

    @cached_property
    def replication(self) -> Replication:
        """Makes replicas."""
        from shared.replication.service import Replication

        return Replication(
            self._store,
            self.journal,
            self._opener,
            self.adapters.primary,
            self.adapters.replica,
            self.runtime,
        )

    @cached_property
    def _targets(self) -> TargetServices:
        """Storage that tenants own."""
        from shared.wiring.targets import build_targets

        settings = self.settings
        return build_targets(
            self._store,
            self._opener,
            self.journal,
            self._idempotency,
            self.adapters.targets,
            self.runtime,
            max_bytes=max(settings.max_direct_upload_bytes, settings.max_staged_upload_bytes),
        )

    @property
    def targets(self) -> Targets:
        """Targets, for administrators."""
        return self._targets.targets

    @property
    def target_queue(self) -> TargetQueue:
        """What is to be copied to targets."""
        return self._targets.queue

    @property
    def target_timer(self) -> TargetTimer:
        """Copies to targets."""
        return self._targets.timer
