"""The services of access reviews, put together."""

from __future__ import annotations

from dataclasses import dataclass

from shared.grants.deciding import GrantDecisions
from shared.identity.accounts import Accounts
from shared.journal.journal import Journal
from shared.keys.epochs import EpochKeys
from shared.keys.sealing import ConfigurationSealer
from shared.ports.keys import KeyVault
from shared.reviews.assignments import Assignments
from shared.reviews.finishing import Reports
from shared.reviews.opening import Opening, Terms
from shared.reviews.schedule import ReviewSchedule
from shared.reviews.service import Reviews
from shared.reviews.settling import Settling
from shared.reviews.store import ReviewRecords, ReviewTexts
from shared.reviews.timer import ReviewTimer


@dataclass(frozen=True, slots=True)
class ReviewServices:
    """What entry points call.

    Attributes:
        reviews: Listed, decided, downloaded.
        timer: Opens them, and ends what nobody confirms.
    """

    reviews: Reviews
    timer: ReviewTimer


def build_reviews(
    schedule: ReviewSchedule,
    terms: Terms,
    epochs: EpochKeys,
    key_vault: KeyVault,
    environment: str,
    journal: Journal,
    accounts: Accounts,
    decisions: GrantDecisions,
) -> ReviewServices:
    """Put the services of reviews together."""
    runtime = epochs.runtime
    store = ReviewRecords(epochs.records, schedule.agenda)
    texts = ReviewTexts(ConfigurationSealer(epochs, environment, "review", runtime))
    assignments = Assignments(accounts)
    opening = Opening(store, journal, assignments, decisions.grants.store, terms, runtime)
    settling = Settling(store, journal, assignments, decisions, runtime)
    reports = Reports(store, texts, journal, key_vault, environment, runtime)
    return ReviewServices(
        Reviews(store, texts, opening, settling, reports, journal, runtime),
        ReviewTimer(opening, settling, reports, schedule, runtime),
    )
