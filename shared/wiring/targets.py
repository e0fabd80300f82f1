"""The services of targets, put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shared.crypto.streaming import sealed_size
from shared.documents.opening import ContentOpener
from shared.documents.store import DocumentRecords
from shared.journal.idempotency import Idempotency
from shared.journal.journal import Journal
from shared.keys.sealing import ConfigurationSealer
from shared.ports.clock import Runtime
from shared.ports.targets import TargetConnector
from shared.targets.backfill import Backfill
from shared.targets.configurations import TargetConfigurations
from shared.targets.connections import TargetConnections
from shared.targets.copying import TargetCopier
from shared.targets.health import TargetHealth
from shared.targets.places import Places
from shared.targets.queue import TargetQueue
from shared.targets.service import Targets
from shared.targets.setup import TargetSetup
from shared.targets.store import TargetRecords
from shared.targets.timer import TargetTimer
from shared.targets.turns import COPY_SECONDS, TargetTurns
from shared.targets.waits import Waits

# Of the time of a copy: the rest is for reading it back.
_SENDING: Final = 0.8


@dataclass(frozen=True, slots=True)
class TargetServices:
    """What entry points call.

    Attributes:
        targets: For administrators.
        queue: For events.
        timer: Works off what waits.
    """

    targets: Targets
    queue: TargetQueue
    timer: TargetTimer


def build_targets(
    documents: DocumentRecords,
    opener: ContentOpener,
    journal: Journal,
    idempotency: Idempotency,
    connector: TargetConnector,
    runtime: Runtime,
    *,
    max_bytes: int,
) -> TargetServices:
    """Put the services of targets together.

    Args:
        documents: Finds versions, and what is to be copied.
        opener: Knows the stores and the keys.
        journal: Commits changes with their audit entries.
        idempotency: Remembers outcomes of POSTs.
        connector: Opens targets.
        runtime: Time and randomness.
        max_bytes: The largest content that there can be.
    """
    store = TargetRecords(documents.records, documents.agenda, runtime)
    sealer = ConfigurationSealer(opener.epochs, opener.environment, "target", runtime)
    configurations = TargetConfigurations(sealer)
    connections = TargetConnections(connector, configurations)
    turns = TargetTurns(
        store,
        connections,
        TargetCopier(documents, opener),
        Backfill(documents, store),
        Waits(store, journal),
        TargetHealth(store, journal),
    )
    targets = Targets(
        store,
        journal,
        TargetSetup(connections, runtime),
        Places(store),
        idempotency,
        least_bytes_per_second=-int(-sealed_size(max_bytes) // (_SENDING * COPY_SECONDS)),
    )
    return TargetServices(targets, TargetQueue(store), TargetTimer(store, turns))
