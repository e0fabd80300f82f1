"""The rules that entries go through, as data: which entries count, by whom, how many within which time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from shared.access.permissions import Role
from shared.base.partitions import OPERATOR
from shared.journal.entries import Action, Entry

Severity = Literal["warning", "critical"]

NETWORK_REMEMBERED: Final = timedelta(days=90)
"""A network is new to a user if nothing came from it for so long."""

POWERFUL: Final = frozenset({Role.ADMINISTRATOR, Role.OPERATOR, Role.OFFICER})
"""Roles that can take protection away, or look at who did."""

WITHOUT_GRANT: Final = frozenset({Action.TENANT_CREATE, Action.KEY_ROTATE})
"""What employees do to tenants and sees nothing of theirs."""

ABOUT_GRANTS: Final = "grant."
"""How the actions about grants begin: asking for one, and refusing one, cannot need one."""


@dataclass(frozen=True, slots=True)
class Act:
    """An entry, and what is known beside it.

    Attributes:
        entry: As it is in the log.
        network: Stands for the network that it came from; empty: that is not known.
        is_new_network: The user has used others before, and not this one for ``NETWORK_REMEMBERED``.
        weakens: It is a change of policy that keeps less, or ends a legal hold.
    """

    entry: Entry
    network: str = ""
    is_new_network: bool = False
    weakens: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """Raises an alert when there are too many entries of a kind.

    Attributes:
        name: In events, entries and documentation.
        severity: A critical one is also a line for the operators' alert.
        count: So many within the window raise an alert.
        window: A key raises one alert within it at most.
        matches: Whether an entry counts.
        key: What entries are counted by; those with an empty one do not count.
        mark: Entries with the same mark count once.
        told: What made the entry has told the operator at once, by a line and an event: the alert is an
            entry of each log and, for a tenant, an event, so that nobody is told twice.
    """

    name: str
    severity: Severity
    count: int
    window: timedelta
    matches: Callable[[Act], bool]
    key: Callable[[Act], str]
    mark: Callable[[Act], str] = lambda act: act.entry.id
    told: bool = False


def _by_actor_or_network(act: Act) -> str:
    return act.entry.actor.id or act.network


def _is_refusal(act: Act) -> bool:
    return act.entry.outcome == "refused" and act.entry.action is not Action.SIGN_IN


def _is_refused_sign_in(act: Act) -> bool:
    return act.entry.outcome == "refused" and act.entry.action is Action.SIGN_IN


def _is_outside_grant(act: Act) -> bool:
    entry = act.entry
    return (
        entry.actor.kind == "employee"
        and entry.tenant != OPERATOR
        and not entry.grant
        and entry.outcome == "allowed"
        and entry.action not in WITHOUT_GRANT
        and not entry.action.startswith(ABOUT_GRANTS)
    )


def _is_download(act: Act) -> bool:
    return act.entry.action is Action.DOCUMENT_OPEN and act.entry.outcome == "allowed"


def _disables_protection(act: Act) -> bool:
    entry = act.entry
    if entry.outcome != "allowed" or entry.actor.kind == "system":
        return False
    match entry.action:
        case Action.POLICY_CHANGE:
            return act.weakens
        case Action.USER_CHANGE:
            roles = entry.details.get("roles")
            granted = isinstance(roles, list) and not POWERFUL.isdisjoint(roles)
            return granted and not entry.details.get("disabled")
        case action:
            return action in {Action.DOCUMENT_RELEASE, Action.TARGET_DELETE, Action.KEY_DELETE}


def rules(downloads_per_hour: int) -> Sequence[Rule]:
    """The rules.

    Args:
        downloads_per_hour: So many documents that one user opens within an hour raise an alert.
    """
    return (
        Rule(
            "refusals",
            "warning",
            count=50,
            window=timedelta(minutes=10),
            matches=_is_refusal,
            key=_by_actor_or_network,
        ),
        Rule(
            "sign-in-refusals",
            "warning",
            count=10,
            window=timedelta(minutes=10),
            matches=_is_refused_sign_in,
            key=lambda act: act.entry.resource,
        ),
        Rule(
            "sign-in-refusals-network",
            "warning",
            count=30,
            window=timedelta(minutes=10),
            matches=_is_refused_sign_in,
            key=lambda act: act.network,
        ),
        Rule(
            "outside-grant",
            "critical",
            count=1,
            window=timedelta(hours=1),
            matches=_is_outside_grant,
            key=lambda act: act.entry.actor.id,
        ),
        Rule(
            "break-glass",
            "critical",
            count=1,
            window=timedelta(hours=1),
            matches=lambda act: act.entry.action is Action.GRANT_BREAK_GLASS,
            key=lambda act: act.entry.grant,
            told=True,
        ),
        Rule(
            "new-network",
            "warning",
            count=1,
            window=timedelta(hours=1),
            matches=lambda act: act.is_new_network,
            key=lambda act: act.entry.actor.id,
        ),
        Rule(
            "mass-download",
            "critical",
            count=downloads_per_hour,
            window=timedelta(hours=1),
            matches=_is_download,
            key=lambda act: act.entry.actor.id,
            mark=lambda act: act.entry.resource,
        ),
        Rule(
            "protection-disabled",
            "critical",
            count=1,
            window=timedelta(hours=1),
            matches=_disables_protection,
            key=lambda act: f"{act.entry.action}.{act.entry.resource}",
        ),
    )
