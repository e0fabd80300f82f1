"""Estimates what an environment costs a month, from the resources of its snapshot.

    python infra/cost.py            prints the table that docs/cost.md holds
    python infra/cost.py timers     prints its table of what the timers ask of the stores

Prices are those of ``prices.json``, which says that they are assumptions; use is that of ``USES``.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PRICES = json.loads((HERE / "prices.json").read_text())


@dataclass(frozen=True)
class Use:
    """What an environment is asked to do in a month.

    Attributes:
        stored_gigabytes: Documents kept, in the primary store; as much again is the replica, and
            twice as much the backups: what was deleted or replaced stays in sets that are kept.
        documents: New documents.
        record_gigabytes: Records; the keys of the backups are less.
        records_share: How much of the maximum throughput of records is used, on average; autoscale
            never charges for less than a tenth.
        log_gigabytes: What is logged.
        traffic_gigabytes: What the app sends and receives.
        gateway_units: Capacity units of the gateway, on average.
        busy_gigabyte_seconds: Memory times time in which functions run on demand, without backups and their
            verification.
    """

    stored_gigabytes: float
    documents: int
    record_gigabytes: float
    records_share: float
    log_gigabytes: float
    traffic_gigabytes: float
    gateway_units: float
    busy_gigabyte_seconds: float


USES = {
    "development": Use(5, 10_000, 1, 0.1, 5, 10, 0, 100_000),
    "staging": Use(50, 20_000, 1, 0.1, 10, 50, 1, 200_000),
    "production": Use(2_000, 1_000_000, 20, 0.3, 100, 1_000, 5, 5_000_000),
}


TENANTS = 100
INSTANCES = 10

QUERY_UNITS = 3
WRITE_UNITS = 10
READ_UNITS = 1
"""Request units of a query with few rows, of a write or a delete of a small item, of a point read."""

RELAY_SECONDS = 15
SWEEP_SECONDS = 600
ROTATION_SECONDS = 600
BACKUP_SECONDS = 60
VERIFICATION_SECONDS = 60
RESTORE_SECONDS = 60
DRILL_SECONDS = 600
TARGET_SECONDS = 60
TRASH_SECONDS = 600
"""How often the timers run, as the schedules in active.bicep say."""


AGENDA_SHARDS = 8
RELAY_WINDOW_SECONDS = 120
"""The agenda's partitions, and how long one agenda item stands for an active partition."""

ACTIVE_PARTITIONS = 2
"""Partitions of a tenant in which something happens at a time: the present month, and ``main``."""

EVENTS_A_DOCUMENT = 4
SWEPT_STORES = 3
"""The primary store, the replica and staging."""

OBJECTS_A_SET = 6
"""A manifest; for each of two partitions, the documents' and the audit log's, an index and a segment; a
pack. Beside them one key page, in the store that forgets."""

WRITES_AN_OBJECT = 2
"""A block, and the list of the blocks; larger packs are counted with the writes of documents."""

LISTS_AN_OBJECT = 2
READ_OBJECTS = 3
"""An object that is retained is its name's oldest version, which a LIST finds: before it is written, and
when it is removed. So does each read: the manifest and the two indexes of the set before."""

PACKED_MONTHS = 12
REQUESTS_A_PACK = 3
"""How many months' packs are kept; each month a LIST and a later date for each, and a LIST to check it."""

SET_VISITS = 2
SET_UNITS = 90
SET_GIGABYTE_SECONDS = 1
"""How often the timer looks at a tenant for one set, because the set's audit entry is a change as well; the
request units of the feed of changes, of the state and of the commit; memory times time."""

SIGNATURE_OPERATIONS = 2
"""The key vault is asked for the key's current version, then to sign."""

VERIFICATION_DAYS = 30
VERIFIED_COPIES = 4
VERIFIED_FAR = 3
VERIFICATION_GIGABYTE_SECONDS = 20
"""Within so many days all content is read and checked, as the default policy says, for which a walk begins
after half of them: the primary store, the replica and the backups, which count twice; all but the first are
in the other region. Memory times time for each GB."""


@dataclass(frozen=True)
class Timers:
    """What the timers ask of the stores in a month, at most.

    Attributes:
        idle_units: Request units of runs that find nothing due: the agenda's partitions are read.
        relay_units: Request units of the outbox relay, for partitions with events.
        sweep_units: Request units of the upload sweep, for tenants with uploads.
        lists: LIST calls of the upload sweep.
        sets: Sets of backups.
        backup_units: Request units of the sets.
    """

    idle_units: float
    relay_units: float
    sweep_units: float
    lists: float
    sets: float
    backup_units: float

    @property
    def units(self) -> float:
        """All request units."""
        return self.idle_units + self.relay_units + self.sweep_units + self.backup_units

    @property
    def set_requests(self) -> float:
        """What making and removing the sets asks of the storage, in requests with the price of a write."""
        objects = self.sets * OBJECTS_A_SET
        pages = self.sets * WRITES_AN_OBJECT
        return objects * (WRITES_AN_OBJECT + LISTS_AN_OBJECT) + pages + self.sets * READ_OBJECTS

    @property
    def pack_requests(self) -> float:
        """The same for retaining and checking the packs of earlier sets."""
        return self.sets * PACKED_MONTHS * REQUESTS_A_PACK


def timers(use: Use, tenants: int = TENANTS) -> Timers:
    """What the timers ask of the stores: little when nothing happens, then in proportion to the work.

    Every run reads the agenda's partitions and nothing else, however many tenants there are. A
    partition with events costs one agenda write, one outbox query and one delete in each window of
    the relay; a staged upload the same when it expires. A tenant's hour with uploads costs one agenda
    write and one delete, and one LIST of up to 1,000 objects in each store; each object that is
    found there in the primary store and the replica has its document and its version read.

    A set is made of a tenant's changes of one window, so there are no more sets than windows of all tenants
    and no more than documents. Each document has one record that says where the backup keeps it.
    """
    hours = PRICES["hours_a_month"]
    seconds = hours * 3600
    # Each task of a timer reads the agenda: expired uploads and orphaned objects; sets and their removal;
    # erasures that are due and those that a legal hold has put off.
    runs = seconds * (
        1 / RELAY_SECONDS
        + 2 / SWEEP_SECONDS
        + 1 / ROTATION_SECONDS
        + 2 / BACKUP_SECONDS
        + 1 / VERIFICATION_SECONDS
        + 1 / RESTORE_SECONDS
        + 1 / DRILL_SECONDS
        + 1 / TARGET_SECONDS
        + 2 / TRASH_SECONDS
    )
    windows = min(
        tenants * ACTIVE_PARTITIONS * seconds / RELAY_WINDOW_SECONDS,
        use.documents * EVENTS_A_DOCUMENT,
    )
    tenant_hours = min(tenants * hours, use.documents)
    sets = min(tenants * seconds / RELAY_WINDOW_SECONDS, use.documents)
    visit = WRITE_UNITS + QUERY_UNITS + WRITE_UNITS
    return Timers(
        idle_units=runs * AGENDA_SHARDS * QUERY_UNITS,
        relay_units=windows * visit,
        sweep_units=tenant_hours * 2 * WRITE_UNITS + use.documents * (visit + 2 * 2 * READ_UNITS),
        lists=tenant_hours * SWEPT_STORES,
        sets=sets,
        backup_units=sets * (SET_VISITS * visit + SET_UNITS) + use.documents * WRITE_UNITS,
    )


@dataclass(frozen=True)
class Line:
    """One line of the estimate: what, how much of it, and dollars a month."""

    what: str
    amount: str
    dollars: float


def _hourly(what: str, price: str, count: float) -> Line:
    return Line(what, f"{count:g}", count * PRICES["hourly"][price] * PRICES["hours_a_month"])


def _monthly(what: str, price: str, count: float) -> Line:
    return Line(what, f"{count:g}", count * PRICES["monthly"][price])


def _used(what: str, price: str, amount: float, unit: str) -> Line:
    return Line(what, f"{amount:g} {unit}", amount * PRICES["units"][price])


def estimate(environment: str) -> list[Line]:
    """Every line of one environment's estimate.

    Raises:
        KeyError: A SKU has no price in ``prices.json``.
    """
    path = HERE / "snapshots" / f"{environment}.snapshot.json"
    resources: list[dict[str, Any]] = json.loads(path.read_text())["predictedResources"]
    use = USES[environment]
    return [*_standing(resources), *_running(resources, use)]


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
    """What costs by use."""
    for database in _of(resources, "Microsoft.DocumentDB/databaseAccounts/sqlDatabases"):
        account = _of(resources, "Microsoft.DocumentDB/databaseAccounts")[0]
        regions = len(account["properties"]["locations"])
        most = database["properties"]["options"]["autoscaleSettings"]["maxThroughput"]
        hundreds = most * max(use.records_share, 0.1) / 100 * regions
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
    # Staged, sealed, replicated, backed up; each in a few blocks.
    writes = use.documents * 10 / 10_000
    yield _used("storage, writes", "storage 10,000 writes", writes, "x 10,000")
    # A LIST costs what a write costs, and is taken to cost as much as giving an object a date.
    asked = timers(use)
    for what, requests in {
        "storage, lists of the sweep": asked.lists,
        "storage, sets of the backups": asked.set_requests,
        "storage, packs of earlier sets": asked.pack_requests,
    }.items():
        yield _used(what, "storage 10,000 writes", requests / 10_000, "x 10,000")
    yield _used("logs", "logs GB", use.log_gigabytes, "GB")
    for workspace in _of(resources, "Microsoft.OperationalInsights/workspaces"):
        # The first 31 days are in the price of taking them in.
        months = (workspace["properties"]["retentionInDays"] - 31) / 30
        yield _used("logs, kept", "logs GB month", use.log_gigabytes * months, "GB months")
    verified = use.stored_gigabytes * 30 / (VERIFICATION_DAYS / 2)
    busy = use.busy_gigabyte_seconds + asked.sets * SET_GIGABYTE_SECONDS
    busy += verified * VERIFIED_COPIES * VERIFICATION_GIGABYTE_SECONDS
    yield _used("functions, time", "function GB second", busy, "GB s")
    # Four events a document, and each of its requests.
    yield _used(
        "functions, executions", "function million executions", use.documents * 10 / 1e6, "million"
    )
    # Each day one wrap a tenant, and one unwrap a tenant and instance; for each set a signature.
    operations = TENANTS * 30 * (1 + INSTANCES) + asked.sets * SIGNATURE_OPERATIONS
    yield _used("Key Vault, operations", "keys 10,000 operations", operations / 10_000, "x 10,000")
    # Each byte that comes or goes is also one of the primary store, the replica and the backups.
    traffic = use.traffic_gigabytes
    yield _used("private endpoints, traffic", "endpoint GB", traffic * 4, "GB")
    yield _used("between regions", "traffic between regions GB", traffic * 2, "GB")
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
        yield _hourly(
            "application gateway, capacity units",
            "gateway WAF_v2 capacity unit",
            max(use.gateway_units, reserved),
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
    seconds = PRICES["hours_a_month"] * 3600
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


if __name__ == "__main__":
    sys.stdout.write(timers_table() if sys.argv[1:] == ["timers"] else table())
