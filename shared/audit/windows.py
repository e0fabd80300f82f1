"""What the rules remember between entries: one record a tenant, whose size is bounded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pydantic import Field

from shared.audit.rules import NETWORK_REMEMBERED, Act, Rule
from shared.base.models import Model
from shared.journal.collections import Collection
from shared.journal.entries import SealedFacts
from shared.ports.records import RecordStore

WATCH_KIND: Final = "audit-watch"
WATCH_ID: Final = "watch"

MAX_KEYS: Final = 500
MAX_MARKS: Final = 10_000
MAX_USERS: Final = 1_000
MAX_NETWORKS: Final = 8
"""Of one user. Together with the others these keep a record below 500 KiB."""

_MARK: Final = 8
_DAY: Final = 86_400


class Window(Model):
    """The entries that count for one rule and key.

    Attributes:
        marks: What stands for each entry, and when it was made, POSIX time in seconds.
        alerted_at: When the last alert was raised; 0: none was.
    """

    marks: dict[str, int] = Field(default_factory=dict)
    alerted_at: int = 0

    @property
    def last(self) -> int:
        """When something last happened in it."""
        return max([self.alerted_at, *self.marks.values()])


class WatchState(Model):
    """What the rules remember of a log.

    Attributes:
        id: Always the same.
        salt: The key of the hashes that stand for networks, sealed under a key of the tenant's.
        windows: By rule and key.
        networks: Of each user, hashes of networks and the day, from 1970, on which each was used last.
        policy: The numbers of the tenant's policy.
    """

    id: str = WATCH_ID
    salt: SealedFacts | None = None
    windows: dict[str, Window] = Field(default_factory=dict)
    networks: dict[str, dict[str, int]] = Field(default_factory=dict)
    policy: dict[str, int] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Raised:
    """An alert: the rule, the entry that raised it, and how many entries counted."""

    rule: Rule
    act: Act
    count: int


@dataclass(slots=True)
class Windows:
    """Counts entries.

    Attributes:
        windows: By rule and key.
    """

    windows: dict[str, Window]

    def count(self, rule: Rule, act: Act) -> Raised | None:
        """Count an entry that matches a rule; the alert, if it is one too many."""
        key = rule.key(act)
        if not key:
            return None
        name = f"{rule.name}.{key}"
        at = int(act.entry.time.timestamp())
        since = at - int(rule.window.total_seconds())
        window = self.windows.pop(name, Window())
        if window.alerted_at > since:
            self.windows[name] = window
            return None
        marks = {mark: made for mark, made in window.marks.items() if made > since}
        refusals = act.entry.details.get("refusals", 1)
        for number in range(min(refusals if isinstance(refusals, int) else 1, rule.count)):
            mark = rule.mark(act)[-_MARK:]
            marks[f"{mark}{number}" if number else mark] = at
        if len(marks) < rule.count:
            self.windows[name] = Window(marks=marks, alerted_at=window.alerted_at)
            return None
        self.windows[name] = Window(alerted_at=at)
        return Raised(rule, act, len(marks))

    def bounded(self) -> dict[str, Window]:
        """The windows, without the oldest ones where they are too many."""
        newest = sorted(self.windows.items(), key=lambda item: item[1].last, reverse=True)
        kept, marks = {}, 0
        for name, window in newest[:MAX_KEYS]:
            marks += len(window.marks)
            if marks > MAX_MARKS:
                break
            kept[name] = window
        return kept


def use_network(networks: dict[str, dict[str, int]], user: str, network: str, at: datetime) -> bool:
    """Remember that a user came from a network; whether it is new to a user who is known.

    Args:
        networks: Of each user; the one who came last is put last.
        user: The id.
        network: Stands for the network.
        at: When.
    """
    today = int(at.timestamp()) // _DAY
    oldest = today - NETWORK_REMEMBERED // timedelta(days=1)
    known = {each: day for each, day in networks.pop(user, {}).items() if day >= oldest}
    is_new = bool(known) and network not in known
    known[network] = max(today, known.pop(network, 0))
    networks[user] = dict(list(known.items())[-MAX_NETWORKS:])
    for forgotten in list(networks)[:-MAX_USERS]:
        del networks[forgotten]
    return is_new


def watch_states(records: RecordStore) -> Collection[WatchState]:
    """What the rules remember of each log, in its tenant's main partition."""
    return Collection(records, WatchState, WATCH_KIND, lambda state: state.id)
