"""The services of staff grants, put together."""

from __future__ import annotations

from dataclasses import dataclass

from shared.documents.reading import DocumentReader
from shared.grants.access import GrantAccess
from shared.grants.deciding import GrantDecisions
from shared.grants.reading import GrantedReader
from shared.grants.report import GrantReports
from shared.grants.service import Grants
from shared.grants.store import GrantRecords, GrantTexts
from shared.grants.timer import GrantTimer
from shared.identity.accounts import Accounts
from shared.identity.tenants import Tenants
from shared.journal.agenda import Agenda
from shared.journal.idempotency import Idempotency
from shared.journal.journal import Journal
from shared.keys.epochs import EpochKeys
from shared.keys.sealing import ConfigurationSealer
from shared.policy.service import Policies
from shared.wiring.audit import Audit


@dataclass(frozen=True, slots=True)
class GrantServices:
    """What entry points call.

    Attributes:
        grants: Asked for, and shown.
        decisions: Of people about them.
        access: Says whether one is live.
        reader: Reads what one covers.
        timer: Says which are over.
        reports: For tenants.
    """

    grants: Grants
    decisions: GrantDecisions
    access: GrantAccess
    reader: GrantedReader
    timer: GrantTimer
    reports: GrantReports


def build_grants(
    epochs: EpochKeys,
    environment: str,
    journal: Journal,
    accounts: Accounts,
    tenants: Tenants,
    policies: Policies,
    agenda: Agenda,
    idempotency: Idempotency,
    reader: DocumentReader,
    audit: Audit,
) -> GrantServices:
    """Put the services of grants together, and let the keys' gate ask them."""
    runtime = epochs.runtime
    store = GrantRecords(epochs.records)
    texts = GrantTexts(ConfigurationSealer(epochs, environment, "grant", runtime))
    access = GrantAccess(store, texts, accounts, policies, journal, runtime)
    epochs.gate.admits = access.admits
    grants = Grants(store, texts, journal, tenants, policies, agenda, idempotency, runtime)
    decisions = GrantDecisions(grants, accounts, agenda)
    return GrantServices(
        grants,
        decisions,
        access,
        GrantedReader(access, reader),
        GrantTimer(decisions, agenda),
        GrantReports(grants, audit.reader, audit.keys),
    )
