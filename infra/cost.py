"""Estimates what an environment costs a month, from the resources of its snapshot.

    python infra/cost.py            prints the table that docs/cost.md holds
    python infra/cost.py timers     prints its table of what the timers ask of the stores
    python infra/cost.py tenants    prints its table of production with 10, 1,000 and 100,000 customers
    python infra/cost.py calls      prints its table of what one upload and one open ask for
    python infra/cost.py million    prints its table of a million uploads and opens in a month

Prices are those of ``prices.json``, which says that they are assumptions; use is that of ``use.py``.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import million
from timers import (
    VERIFICATION_DAYS,
    VERIFICATION_GIGABYTE_SECONDS,
    VERIFIED_COPIES,
    VERIFIED_FAR,
    timers,
)
from use import HOURS_A_MONTH, PEAK, SECONDS_A_MONTH, USES, Use, grown
from workload import KEYS_A_TENANT, demand

HERE = Path(__file__).parent
PRICES = json.loads((HERE / "prices.json").read_text())
GROWN = (10, 1_000, 100_000)
GATEWAY_UNIT_MEGABITS = 2.22
"""Throughput of one capacity unit of the gateway, a second."""


@dataclass(frozen=True)
class Line:
    """One line of the estimate: what, how much of it, and dollars a month."""

    what: str
    amount: str
    dollars: float


def _hourly(what: str, price: str, count: float) -> Line:
    return Line(what, f"{count:g}", count * PRICES["hourly"][price] * HOURS_A_MONTH)


def _monthly(what: str, price: str, count: float) -> Line:
    return Line(what, f"{count:g}", count * PRICES["monthly"][price])


def _used(what: str, price: str, amount: float, unit: str) -> Line:
    return Line(what, f"{amount:g} {unit}", amount * PRICES["units"][price])


def tenant_keys(count: float) -> float:
    """Dollars a month for so many keys in hardware; the more there are, the less each costs."""
    dollars, before = 0.0, 0
    for upto, price in PRICES["keys in HSM, advanced types"]:
        most = count if upto is None else min(count, upto)
        dollars += max(0.0, most - before) * price
        before = upto or before
    return dollars


def estimate(environment: str, use: Use | None = None, protection: str = "") -> list[Line]:
    """Every line of one environment's estimate.

    Args:
        environment: Whose snapshot.
        use: What it is asked to do; None: what ``USES`` says.
        protection: Of the keys that the app makes, ``hardware`` or ``software``; empty: what the snapshot
            says.

    Raises:
        KeyError: A SKU has no price in ``prices.json``.
    """
    path = HERE / "snapshots" / f"{environment}.snapshot.json"
    resources: list[dict[str, Any]] = json.loads(path.read_text())["predictedResources"]
    use = use or USES[environment]
    return [
        *_standing(resources),
        *_running(resources, use),
        *_keys(resources, use, protection),
        *_traffic(resources, use),
    ]


def _of(resources: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [item for item in resources if item["type"] == kind]


def _standing(resources: list[dict[str, Any]]) -> Iterator[Line]:
    """What costs the same whether it is used or not."""
    for gateway in _of(resources, "Microsoft.Network/applicationGateways"):
        sku = gateway["properties"]["sku"]["tier"]
        yield _hourly("application gateway", f"gateway {sku}", 1)
    for firewall in _of(resources, "Microsoft.Network/azureFirewalls"):
        tier = firewall["properties"]["sku"]["tier"]
        yield _hourly("firewall", f"firewall {tier}", 1)
    if nat := _of(resources, "Microsoft.Network/natGateways"):
        yield _hourly("NAT gateway", "NAT gateway", len(nat))
    addresses = _of(resources, "Microsoft.Network/publicIPAddresses")
    yield _hourly("public IP addresses", "public address", len(addresses))
    endpoints = _of(resources, "Microsoft.Network/privateEndpoints")
    yield _hourly("private endpoints", "private endpoint", len(endpoints))
    zones = _of(resources, "Microsoft.Network/privateDnsZones")
    yield _monthly("private DNS zones", "private DNS zone", len(zones))
    for bus in _of(resources, "Microsoft.ServiceBus/namespaces"):
        if bus["sku"]["name"] == "Premium":
            places = len(bus["properties"]["geoDataReplication"]["locations"])
            units = bus["sku"]["capacity"] * places
            yield _hourly("Service Bus, units in both regions", "bus Premium unit", units)
        else:
            yield _monthly("Service Bus", f"bus {bus['sku']['name']}", 1)
    for site in _of(resources, "Microsoft.Web/sites"):
        scale = site["properties"]["functionAppConfig"]["scaleAndConcurrency"]
        ready = sum(group["instanceCount"] for group in scale["alwaysReady"])
        gigabytes = ready * scale["instanceMemoryMB"] / 1024
        yield _hourly("functions, always ready, GB", "function always ready GB", gigabytes)
    alerts = Counter(item["type"] for item in resources)
    yield _monthly("alerts on logs", "log alert", alerts["Microsoft.Insights/scheduledQueryRules"])
    yield _monthly("alerts on metrics", "metric alert", alerts["Microsoft.Insights/metricAlerts"])
    keys = _of(resources, "Microsoft.KeyVault/vaults/keys")
    yield _monthly("keys of the platform in the HSM", "key in HSM, 3072 bits", len(keys))
    for plan in _of(resources, "Microsoft.Security/pricings"):
        vaults = _of(resources, "Microsoft.KeyVault/vaults")
        yield _monthly(f"Defender, {plan['name']}", f"Defender {plan['name']}", len(vaults))


def _running(resources: list[dict[str, Any]], use: Use) -> Iterator[Line]:
    """What costs by what is stored, asked and run."""
    asked, needed = timers(use), demand(use)
    for database in _of(resources, "Microsoft.DocumentDB/databaseAccounts/sqlDatabases"):
        account = _of(resources, "Microsoft.DocumentDB/databaseAccounts")[0]
        regions = len(account["properties"]["locations"])
        most = database["properties"]["options"]["autoscaleSettings"]["maxThroughput"]
        # Charged by the busiest second of each hour, and never for less than a tenth of the most.
        hundreds = max(needed.peak_units, most * 0.1) / 100 * regions
        yield _hourly("Cosmos DB, hundreds of RU/s", "records 100 RU autoscale", hundreds)
        size = use.record_gigabytes
        yield _used("Cosmos DB, stored", "records GB", size * regions, "GB")
        yield _used("Cosmos DB, restorable", "records backup GB", size * regions, "GB")
    sizes = {
        "primary": use.stored_gigabytes,
        "replica": use.stored_gigabytes,
        "backup": use.stored_gigabytes * 2,
        "backupkeys": use.record_gigabytes,
    }
    for account in _of(resources, "Microsoft.Storage/storageAccounts"):
        # stsr, three letters for the environment, what it is for, six characters.
        purpose = account["name"][7:-6]
        if purpose in sizes:
            price = f"storage GB {account['sku']['name']}"
            yield _used(f"storage, {purpose}", price, sizes[purpose], "GB")
    # A LIST costs what a write costs, and is taken to cost as much as giving an object a date.
    for what, requests in {
        "storage, writes of documents": needed.blob_writes,
        "storage, lists of the sweep": asked.lists,
        "storage, sets of the backups": asked.set_requests,
        "storage, packs of earlier sets": asked.pack_requests,
        "storage, audit logs": asked.checkpoint_requests,
        "storage, lists of the monitor": asked.look_lists,
    }.items():
        yield _used(what, "storage 10,000 writes", requests / 10_000, "x 10,000")
    reads = needed.blob_reads / 10_000
    yield _used("storage, reads of documents", "storage 10,000 reads", reads, "x 10,000")
    yield _used("logs", "logs GB", needed.log_gigabytes, "GB")
    for workspace in _of(resources, "Microsoft.OperationalInsights/workspaces"):
        # The first 31 days are in the price of taking them in.
        months = (workspace["properties"]["retentionInDays"] - 31) / 30
        yield _used("logs, kept", "logs GB month", needed.log_gigabytes * months, "GB months")
    verified = use.stored_gigabytes * 30 / (VERIFICATION_DAYS / 2) * VERIFIED_COPIES
    busy = needed.gigabyte_seconds + verified * VERIFICATION_GIGABYTE_SECONDS
    yield _used("functions, time", "function GB second", busy, "GB s")
    runs = needed.executions / 1e6
    yield _used("functions, executions", "function million executions", runs, "million")
    for bus in _of(resources, "Microsoft.ServiceBus/namespaces"):
        if bus["sku"]["name"] == "Standard":
            millions = max(0.0, needed.messages / 1e6 - PRICES["bus Standard million included"])
            yield _used("Service Bus, messages", "bus Standard million", millions, "million")


def _keys(resources: list[dict[str, Any]], use: Use, protection: str) -> Iterator[Line]:
    """The keys that the app makes, and what is asked of them."""
    (site,) = _of(resources, "Microsoft.Web/sites")
    given = {
        item["name"]: item["value"] for item in site["properties"]["siteConfig"]["appSettings"]
    }
    count = use.tenants * KEYS_A_TENANT
    hardware = (protection or given["STRONGROOM_KEY_PROTECTION"]) == "hardware"
    dollars = tenant_keys(count) if hardware else 0.0
    yield Line("keys of tenants", f"{count:g}", dollars)
    operations = demand(use).key_operations / 10_000
    yield _used("Key Vault, operations", "keys 10,000 operations", operations, "x 10,000")


def _traffic(resources: list[dict[str, Any]], use: Use) -> Iterator[Line]:
    """What costs by the gigabyte that passes."""
    verified = use.stored_gigabytes * 30 / (VERIFICATION_DAYS / 2)
    # Each byte that comes or goes is also one of the primary store, the replica and the backups.
    traffic = use.traffic_gigabytes
    yield _used("private endpoints, traffic", "endpoint GB", traffic * 4, "GB")
    yield _used("between regions", "traffic between regions GB", traffic * 2, "GB")
    out = traffic * use.opens / max(use.documents + use.opens, 1)
    yield _used("out to clients", "traffic out to the internet GB", out, "GB")
    near, far = verified * VERIFIED_COPIES, verified * VERIFIED_FAR
    yield _used("verification, private endpoints", "endpoint GB", near, "GB")
    yield _used("verification, between regions", "traffic between regions GB", far, "GB")
    if _of(resources, "Microsoft.Network/azureFirewalls"):
        yield _used("firewall, traffic", "firewall GB", traffic, "GB")
    if _of(resources, "Microsoft.Network/natGateways"):
        yield _used("NAT gateway, traffic", "NAT GB", traffic, "GB")
    for gateway in _of(resources, "Microsoft.Network/applicationGateways"):
        # An instance that always runs counts as ten units, used or not.
        reserved = 10 * gateway["properties"]["autoscaleConfiguration"]["minCapacity"]
        busy = traffic * 8_000 / SECONDS_A_MONTH / GATEWAY_UNIT_MEGABITS * PEAK
        yield _hourly(
            "application gateway, capacity units",
            "gateway WAF_v2 capacity unit",
            max(busy, reserved),
        )


def table() -> str:
    """The estimate of all environments, as Markdown."""
    estimates = {name: {line.what: line for line in estimate(name)} for name in USES}
    rows = ["| what | " + " | ".join(USES) + " |", "|---|" + "---:|" * len(USES)]
    names = list(dict.fromkeys(what for lines in estimates.values() for what in lines))
    for what in names:
        cells = [
            f"{lines[what].dollars:,.2f}" if what in lines else "-" for lines in estimates.values()
        ]
        rows.append(f"| {what} | " + " | ".join(cells) + " |")
    sums = [sum(line.dollars for line in lines.values()) for lines in estimates.values()]
    rows.append("| **dollars a month** | " + " | ".join(f"**{s:,.0f}**" for s in sums) + " |")
    return "\n".join(rows) + "\n"


def timers_table() -> str:
    """What the timers ask of the stores in all environments, as Markdown."""
    seconds = SECONDS_A_MONTH
    asked = {name: timers(use) for name, use in USES.items()}
    rows = {
        "runs that find nothing, RU/s": [t.idle_units / seconds for t in asked.values()],
        "outbox relay, RU/s": [t.relay_units / seconds for t in asked.values()],
        "upload sweep, RU/s": [t.sweep_units / seconds for t in asked.values()],
        "backups, RU/s": [t.backup_units / seconds for t in asked.values()],
        "**all timers, RU/s**": [t.units / seconds for t in asked.values()],
        "upload sweep, LIST calls a month": [t.lists for t in asked.values()],
        "backups, sets a month": [t.sets for t in asked.values()],
        "backups, requests a month for a set": [t.set_requests / t.sets for t in asked.values()],
    }
    lines = ["| timers | " + " | ".join(USES) + " |", "|---|" + "---:|" * len(USES)]
    for what, values in rows.items():
        cells = [f"{v:,.1f}" if "RU/s" in what else f"{v:,.0f}" for v in values]
        lines.append(f"| {what} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def tenants_table() -> str:
    """Production with more and more customers of one size, as Markdown."""
    uses = [grown(count) for count in GROWN]
    lines = [{line.what: line.dollars for line in estimate("production", use)} for use in uses]
    soft = [sum(line.dollars for line in estimate("production", use, "software")) for use in uses]
    parts = {
        "requests to Cosmos DB": ("Cosmos DB, hundreds",),
        "records, kept and restorable": ("Cosmos DB, stored", "Cosmos DB, restorable"),
        "documents, copies and backups, kept": (
            *("storage, primary", "storage, replica", "storage, backup", "storage, backupkeys"),
        ),
        "requests to storage": (
            *("storage, writes", "storage, reads", "storage, lists"),
            *("storage, sets", "storage, packs", "storage, audit logs"),
        ),
        "functions": ("functions, time", "functions, executions"),
        "logs": ("logs",),
        "keys of tenants, in hardware": ("keys of tenants",),
        "operations of the key vault": ("Key Vault, operations",),
        "traffic": (
            *("private endpoints, traffic", "between regions", "out to clients", "verification"),
            *("firewall, traffic", "application gateway, capacity"),
        ),
    }
    rows: dict[str, list[float]] = {
        what: [sum(d for name, d in each.items() if name.startswith(names)) for each in lines]
        for what, names in parts.items()
    }
    sums = [sum(each.values()) for each in lines]
    counted = [sum(column) for column in zip(*rows.values(), strict=True)]
    rows["standing"] = [total - part for total, part in zip(sums, counted, strict=True)]
    rows["**dollars a month**"] = sums
    rows["dollars a month, keys in software"] = soft
    each = [total / use.tenants for total, use in zip(sums, uses, strict=True)]
    needs = [demand(use) for use in uses]
    text = [
        "| tenants | " + " | ".join(f"{n:,}" for n in GROWN) + " |",
        "|---|" + "---:|" * len(GROWN),
    ]
    text += [
        f"| {what} | " + " | ".join(f"{value:,.0f}" for value in values) + " |"
        for what, values in rows.items()
    ]
    text.append("| dollars a tenant and month | " + " | ".join(f"{v:,.2f}" for v in each) + " |")
    peaks: dict[str, Callable[[Any], float]] = {
        "request units a second, busiest hour": lambda need: need.peak_units,
        "messages a second, busiest hour": lambda need: need.messages / SECONDS_A_MONTH * PEAK,
        "unwraps and signatures in 10 seconds": lambda need: (
            need.key_operations / SECONDS_A_MONTH * PEAK * 10
        ),
    }
    text += [
        f"| {what} | " + " | ".join(f"{peak(need):,.0f}" for need in needs) + " |"
        for what, peak in peaks.items()
    ]
    return "\n".join(text) + "\n"


TABLES: dict[str, Callable[[], str]] = {
    "timers": timers_table,
    "tenants": tenants_table,
    "calls": million.calls_table,
    "million": lambda: million.table(PRICES),
}

if __name__ == "__main__":
    sys.stdout.write(TABLES.get("".join(sys.argv[1:]), table)())
