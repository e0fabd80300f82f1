"""The messages of the embedded bus as rows of SQLite: what one transaction does with them.

A message is one row for each subscription whose filter lets it through. ``available_at`` says when
it may be delivered: at once when published, when its lock ends while a receiver has it, when its
back-off ends after it was abandoned. Where a subscription has sessions, only the oldest message of
a session has an ``available_at``; it passes to the next one when the oldest goes. So what can be
delivered is one index lookup, and order within a session holds through locks and back-offs.

Times are integers: microseconds since 1970.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from shared.adapters import deliveries
from shared.adapters.deliveries import DELIVERY_LIMIT
from shared.adapters.embedded.moments import from_microseconds
from shared.base import telemetry
from shared.base.errors import Conflict
from shared.base.topology import Subscription, Topic
from shared.ports.bus import Delivery
from shared.ports.clock import Entropy

SECOND: Final = 1_000_000
"""In microseconds."""

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS messages (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    subscription TEXT NOT NULL,
    message_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    body BLOB NOT NULL,
    enqueued_at INTEGER NOT NULL,
    available_at INTEGER,
    delivery_count INTEGER NOT NULL DEFAULT 0,
    lock_token TEXT
);
CREATE INDEX IF NOT EXISTS messages_by_time ON messages (subscription, available_at);
CREATE INDEX IF NOT EXISTS messages_by_session ON messages (subscription, session_id);
CREATE UNIQUE INDEX IF NOT EXISTS messages_by_lock ON messages (lock_token)
    WHERE lock_token IS NOT NULL;
CREATE TABLE IF NOT EXISTS dead_letters (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    subscription TEXT NOT NULL,
    message_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    body BLOB NOT NULL,
    enqueued_at INTEGER NOT NULL,
    delivery_count INTEGER NOT NULL,
    reason TEXT NOT NULL,
    dead_lettered_at INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS dead_letters_by_age ON dead_letters (subscription);
CREATE INDEX IF NOT EXISTS dead_letters_by_id ON dead_letters (subscription, message_id);
CREATE TABLE IF NOT EXISTS published (
    topic TEXT NOT NULL,
    message_id TEXT NOT NULL,
    published_at INTEGER NOT NULL,
    PRIMARY KEY (topic, message_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS published_by_age ON published (topic, published_at);
"""

LOCK_LOST: Final = "The lock on the message was lost; it is delivered again."

FORGOTTEN_EACH: Final = 200
"""Event ids that are forgotten, at most, for each event that is published."""


@dataclass(frozen=True, slots=True)
class Locked:
    """What ``lock_due`` found.

    Attributes:
        deliveries: The messages that are locked now.
        next_due: When the next message can be delivered; None: the subscription has no more, or some
            are locked.
    """

    deliveries: Sequence[Delivery]
    next_due: int | None


def is_new(writer: sqlite3.Connection, topic: Topic, message_id: str, now: int) -> bool:
    """Whether the id was not published within the duplicate window; from now on it was."""
    noted = writer.execute(
        "INSERT INTO published (topic, message_id, published_at) VALUES (?, ?, ?)"
        " ON CONFLICT DO UPDATE SET published_at = excluded.published_at WHERE published_at <= ?",
        (topic.name, message_id, now, _window_start(topic, now)),
    )
    return noted.rowcount == 1


def forget_published(writer: sqlite3.Connection, topic: Topic, now: int, count: int) -> None:
    """Forget ids that were published before the duplicate window, ``count`` at most."""
    writer.execute(
        "DELETE FROM published WHERE (topic, message_id) IN (SELECT topic, message_id"
        " FROM published WHERE topic = ? AND published_at <= ? LIMIT ?)",
        (topic.name, _window_start(topic, now), count),
    )


def _window_start(topic: Topic, now: int) -> int:
    return now - topic.duplicate_detection_minutes * 60 * SECOND


def enqueue(
    writer: sqlite3.Connection, target: Subscription, message: Sequence[Any], now: int
) -> None:
    """Add a message (id, session, body, when it was published) behind the others of its session."""
    message_id, session_id, body, enqueued_at = message
    behind = (
        target.sessions
        and writer.execute(
            "SELECT 1 FROM messages WHERE subscription = ? AND session_id = ? LIMIT 1",
            (target.name, session_id),
        ).fetchone()
    )
    writer.execute(
        "INSERT INTO messages"
        " (subscription, message_id, session_id, body, enqueued_at, available_at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (target.name, message_id, session_id, body, enqueued_at, None if behind else now),
    )


def replay(
    writer: sqlite3.Connection, target: Subscription, message_ids: Sequence[str], now: int
) -> int:
    """Make new messages of dead letters; return of how many."""
    replayed = 0
    for message_id in message_ids:
        letters = writer.execute(
            "DELETE FROM dead_letters WHERE subscription = ? AND message_id = ?"
            " RETURNING message_id, session_id, body, enqueued_at",
            (target.name, message_id),
        ).fetchall()
        for letter in letters:
            enqueue(writer, target, letter, now)
        replayed += len(letters)
    return replayed


def none_due(reader: sqlite3.Connection, source: Subscription, now: int) -> Locked | None:
    """What ``lock_due`` would find, where that is nothing; None where it has to look itself."""
    next_due = _next_due(reader, source)
    if next_due is not None and not now < next_due <= _horizon(source, now):
        return None
    return Locked([], next_due)


def lock_due(
    writer: sqlite3.Connection, source: Subscription, limit: int, now: int, entropy: Entropy
) -> Locked:
    """Lock up to ``limit`` messages that are due.

    A message whose lock ran out at its last try is found here, and dead-lettered. One that is due later
    than the longest back-off or lock from now got its time while the clock was ahead: it is due.
    """
    until = now + source.lock_seconds * SECOND
    writer.execute(
        "UPDATE messages SET available_at = ? WHERE subscription = ? AND available_at > ?",
        (now, source.name, _horizon(source, now)),
    )
    locked_now: list[Delivery] = []
    while not locked_now:
        due = _rows(
            writer,
            "SELECT * FROM messages WHERE subscription = ? AND available_at <= ?"
            " ORDER BY available_at, sequence LIMIT ?",
            (source.name, now, limit),
        )
        if not due:
            break
        taken: list[tuple[int, str, int]] = []
        for row in due:
            if row["delivery_count"] >= source.max_delivery_count:
                dead_letter(writer, row, DELIVERY_LIMIT, now)
                continue
            token = entropy(16).hex()
            taken.append((until, token, row["sequence"]))
            locked_now.append(_delivery(row, token, until))
        writer.executemany(
            "UPDATE messages SET available_at = ?, lock_token = ?,"
            " delivery_count = delivery_count + 1 WHERE sequence = ?",
            taken,
        )
    # Whoever has got messages comes again before the next one is due.
    return Locked(locked_now, None if locked_now else _next_due(writer, source))


def _horizon(source: Subscription, now: int) -> int:
    """The latest time at which a message can be due."""
    longest = deliveries.LONGEST_BACK_OFF // timedelta(microseconds=1)
    return now + max(source.lock_seconds * SECOND, longest)


def _next_due(connection: sqlite3.Connection, source: Subscription) -> int | None:
    found: tuple[int | None] = connection.execute(
        "SELECT min(available_at) FROM messages WHERE subscription = ?", (source.name,)
    ).fetchone()
    return found[0]


def locked(writer: sqlite3.Connection, token: str, now: int) -> sqlite3.Row:
    """The message that this token locks.

    Raises:
        Conflict: The lock was lost.
    """
    rows = _rows(
        writer,
        "SELECT * FROM messages WHERE lock_token = ? AND available_at > ?",
        (token, now),
    )
    if not rows:
        raise Conflict(LOCK_LOST)
    return rows[0]


def extend(writer: sqlite3.Connection, row: sqlite3.Row, until: int) -> None:
    """Hold a locked message until another time."""
    writer.execute(
        "UPDATE messages SET available_at = ? WHERE sequence = ?", (until, row["sequence"])
    )


def back_off(writer: sqlite3.Connection, row: sqlite3.Row, source: Subscription, now: int) -> None:
    """Unlock a message for another try in 1 s, 2 s, 4 s, ... 5 minutes; dead-letter it at the limit."""
    tries = row["delivery_count"]
    if tries >= source.max_delivery_count:
        dead_letter(writer, row, DELIVERY_LIMIT, now)
        return
    pause = deliveries.back_off(tries) // timedelta(microseconds=1)
    writer.execute(
        "UPDATE messages SET available_at = ?, lock_token = NULL WHERE sequence = ?",
        (now + pause, row["sequence"]),
    )


def forget_locked(writer: sqlite3.Connection, tokens: Sequence[str], now: int) -> set[str]:
    """Remove the messages of a subscription without sessions that are still locked; return their tokens.

    Args:
        writer: In a transaction.
        tokens: Of the locks.
        now: The present time.
    """
    places = ",".join("?" * len(tokens))
    removed = writer.execute(
        f"DELETE FROM messages WHERE lock_token IN ({places}) AND available_at > ?"  # noqa: S608
        " RETURNING lock_token",
        (*tokens, now),
    )
    return {token for (token,) in removed}


def forget(writer: sqlite3.Connection, row: sqlite3.Row, now: int) -> None:
    """Remove a message and let the next one of its session step forward."""
    writer.execute("DELETE FROM messages WHERE sequence = ?", (row["sequence"],))
    writer.execute(
        "UPDATE messages SET available_at = ? WHERE available_at IS NULL AND sequence ="
        " (SELECT min(sequence) FROM messages WHERE subscription = ? AND session_id = ?)",
        (now, row["subscription"], row["session_id"]),
    )


def dead_letter(writer: sqlite3.Connection, row: sqlite3.Row, reason: str, now: int) -> None:
    """Make a message a dead letter."""
    writer.execute(
        "INSERT INTO dead_letters (subscription, message_id, session_id, body, enqueued_at,"
        " delivery_count, reason, dead_lettered_at)"
        " SELECT subscription, message_id, session_id, body, enqueued_at, delivery_count, ?, ?"
        " FROM messages WHERE sequence = ?",
        (reason, now, row["sequence"]),
    )
    forget(writer, row, now)
    telemetry.DEAD_LETTERS.add(
        1, {telemetry.SUBSCRIPTION: row["subscription"], telemetry.ERROR_TYPE: reason}
    )


def _rows(writer: sqlite3.Connection, sql: str, parameters: Sequence[Any]) -> list[sqlite3.Row]:
    cursor = writer.cursor()
    cursor.row_factory = sqlite3.Row
    return cursor.execute(sql, parameters).fetchall()


def _delivery(row: sqlite3.Row, token: str, until: int) -> Delivery:
    return Delivery(
        subscription=row["subscription"],
        body=row["body"],
        message_id=row["message_id"],
        session_id=row["session_id"],
        delivery_count=row["delivery_count"] + 1,
        enqueued_at=from_microseconds(row["enqueued_at"]),
        locked_until=from_microseconds(until),
        lock_token=token,
    )
