"""What one request asks for, and what a million of them cost in a month, by the calls that were counted."""

from __future__ import annotations

from typing import Any

from use import HOURS_A_MONTH, PEAK, SECONDS_A_MONTH
from workload import (
    BILLED_SECONDS,
    INSTANCE_GIGABYTES,
    LINE_BYTES,
    OPEN,
    TOGETHER,
    UNWRAPS,
    UPLOAD,
    Work,
)

MILLION = 1_000_000
REGIONS = 2
"""Cosmos DB charges each region for the throughput."""


def calls_table() -> str:
    """What one upload and one open ask for, as Markdown."""
    works = (UPLOAD, OPEN)
    rows = {
        "records read by id": [f"{each.reads}" for each in works],
        "pages of queries": [f"{each.queries}" for each in works],
        "commits, of items in all": [f"{each.commits}, of {each.changes}" for each in works],
        "request units": [f"{each.units}" for each in works],
        "messages sent, taken by functions": [f"{each.sends}, {each.deliveries}" for each in works],
        "calls of storage: writes, reads": [
            f"{each.blob_writes}, {each.blob_reads}" for each in works
        ],
        "runs of functions": [f"{each.executions}" for each in works],
        "lines of log": [f"{each.log_lines}" for each in works],
        "calls of the key vault, if memory has no key": [f"{UNWRAPS}" for _ in works],
    }
    lines = [
        "| calls | an upload, sealed, replicated and in the log | an open |",
        "|---|---:|---:|",
    ]
    lines += [f"| {what} | {' | '.join(cells)} |" for what, cells in rows.items()]
    return "\n".join(lines) + "\n"


def dollars(work: Work, prices: dict[str, Any]) -> dict[str, float]:
    """Dollars a month for a million times this work, by service."""
    units, hourly = prices["units"], prices["hourly"]
    hundreds = _units_a_second(work) * PEAK / 100 * REGIONS
    seconds = work.executions * MILLION * BILLED_SECONDS / TOGETHER
    runs = work.executions * units["function million executions"]
    blobs = work.blob_writes * units["storage 10,000 writes"]
    blobs += work.blob_reads * units["storage 10,000 reads"]
    return {
        "Cosmos DB, throughput": hundreds * hourly["records 100 RU autoscale"] * HOURS_A_MONTH,
        "Service Bus, as Standard charges": _messages(work) * units["bus Standard million"],
        "storage, transactions": blobs * MILLION / 10_000,
        "functions": runs + seconds * INSTANCE_GIGABYTES * units["function GB second"],
        "logs": work.log_lines * MILLION * LINE_BYTES / 1e9 * units["logs GB"],
    }


def table(prices: dict[str, Any]) -> str:
    """A million uploads and a million opens in a month, as Markdown."""
    works = (UPLOAD, OPEN)
    asked: dict[str, list[float]] = {
        "request units, millions": [each.units for each in works],
        "request units a second, on average": [_units_a_second(each) for each in works],
        "operations of the bus, millions": [_messages(each) for each in works],
        "transactions of storage, writes, millions": [each.blob_writes for each in works],
        "transactions of storage, reads, millions": [each.blob_reads for each in works],
        "runs of functions, millions": [each.executions for each in works],
    }
    rows = ["| a million in a month | uploads | opens |", "|---|---:|---:|"]
    rows += [
        f"| {what} | " + " | ".join(f"{amount:,.0f}" for amount in amounts) + " |"
        for what, amounts in asked.items()
    ]
    euros = [
        {what: sum_ * prices["euros a dollar"] for what, sum_ in dollars(work, prices).items()}
        for work in works
    ]
    rows += [
        f"| {what}, euros | " + " | ".join(f"{each[what]:,.2f}" for each in euros) + " |"
        for what in euros[0]
    ]
    sums = [sum(each.values()) for each in euros]
    rows.append("| **euros a month** | " + " | ".join(f"**{each:,.0f}**" for each in sums) + " |")
    return "\n".join(rows) + "\n"


def _units_a_second(work: Work) -> float:
    return work.units * MILLION / SECONDS_A_MONTH


def _messages(work: Work) -> float:
    """Millions of messages sent and taken."""
    return work.sends + work.deliveries
