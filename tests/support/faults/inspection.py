"""What must be true of a server and of its data folder once it has come to rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from shared.adapters.embedded.folders import TEMPORARY_PREFIX
from shared.audit.tree import StoredTree
from shared.base.partitions import OPERATOR
from shared.crypto import merkle
from shared.crypto.canonical import canonical_json
from shared.crypto.checkpoints import parse_checkpoint
from shared.crypto.notes import parse_note
from shared.documents.models import Document, Version
from shared.documents.naming import GRACE, SWEEP_WINDOW
from shared.journal.entries import Entry
from shared.ports.blobs import BlobStore
from shared.ports.clock import system_entropy
from shared.wiring.services import Services, build
from shared.wiring.settings import Settings
from tests.support.accounts import bearer
from tests.support.clock import FakeClock
from tests.support.faults.clients import Ledger
from tests.support.records import find_entries, find_records
from tests.support.topology import SUBSCRIPTIONS


def check_answers(http: httpx.Client, token: str, operator: str, ledger: Ledger) -> None:
    """What the server says: all that was acknowledged is there, and nothing is there by half.

    What was not acknowledged is there as a whole or not at all.
    """
    listed = {item["id"]: item for item in _documents(http, token)}
    acknowledged = ledger.documents | {
        document: [content] for document, content in ledger.staged.values()
    }
    owners = {versions[0].name: document for document, versions in acknowledged.items()}
    lost = set(acknowledged) - set(listed) - ledger.deleted
    assert not lost, f"acknowledged and not listed: {lost}"
    undead = ledger.deleted & set(listed)
    assert not undead, f"deleted and listed: {undead}"

    found: Counter[str] = Counter()
    for document, item in listed.items():
        versions = _get(http, f"documents/{document}/versions", token)["items"]
        assert [each["version"] for each in versions] == list(range(len(versions), 0, -1))
        assert {name: versions[0][name] for name in item} == item
        names = [each["name"] for each in reversed(versions)]
        found[names[0]] += 1
        assert owners.get(names[0], document) == document, f"{names[0]} is there twice"
        if document in acknowledged:
            assert names == [content.name for content in acknowledged[document]]
        for number, name in enumerate(names, start=1):
            answer = http.get(
                f"documents/{document}/content",
                params={"version": number},
                headers=bearer(token),
            )
            assert answer.status_code == 200, answer.text
            assert answer.content == ledger.sent[name].bytes(), f"{document} is not {name}"
        assert item["replicated"], f"{document} has no replica"
    assert set(found.values()) <= {1}, f"there twice: {found.most_common(3)}"

    for document in ledger.deleted:
        for path in (f"documents/{document}", f"documents/{document}/content"):
            assert http.get(path, headers=bearer(token)).status_code == 404
    for upload, (document, _) in ledger.staged.items():
        answer = _get(http, f"uploads/{upload}", token)
        assert (answer["state"], answer["document"]) == ("sealed", document)
    for subscription in SUBSCRIPTIONS:
        letters = _get(http, f"dead-letters?subscription={subscription}", operator)["items"]
        assert not letters, letters


async def check_data(data: Path, tenant: str, ledger: Ledger) -> None:
    """What the data folder of a server that was stopped holds: records, log, objects, nothing else."""
    now = datetime.now(UTC)
    services = build(Settings(data_dir=data), FakeClock(now), system_entropy)
    try:
        versions = _versions(data, tenant)
        await _check_copies(services, versions)
        await _check_uploads(services, data, tenant, ledger)
        for each in (tenant, OPERATOR):
            await _check_log(services, data, each)
        _check_effects(data, tenant, versions)
        assert not list(find_records(data, "outbox"))
        for subscription in SUBSCRIPTIONS:
            assert not await services.adapters.bus.dead_letters(subscription)
    finally:
        await services.close()
    left = list(_temporary_files(data))
    assert not left, left
    await _check_sweep(data, now, versions)


async def _check_copies(services: Services, versions: dict[tuple[str, int], Version]) -> None:
    """Every version has a replica, and it is what is in the primary store."""
    primary, replica = services.adapters.primary, services.adapters.replica
    for (document, number), version in versions.items():
        assert version.replica is not None, f"{document}, version {number}"
        sealed = await _object(primary, version.object)
        assert sealed == await _object(replica, version.replica), f"{document}, version {number}"


async def _check_uploads(services: Services, data: Path, tenant: str, ledger: Ledger) -> None:
    """Each Idempotency-Key granted one upload, and what is sealed is staged no more."""
    uploads = {
        record.id: record.body["state"] for record in find_records(data, "upload", tenant=tenant)
    }
    assert set(uploads) == ledger.uploads
    sealed = {upload for upload, state in uploads.items() if state == "sealed"}
    assert sealed == set(ledger.staged)
    assert set(uploads.values()) <= {"sealed", "granted"}
    staged = [blob.name async for blob in services.adapters.staging.list()]
    assert sealed.isdisjoint(name.rsplit("/", 1)[1] for name in staged)


async def _check_log(services: Services, data: Path, tenant: str) -> None:
    """Every entry has its own position, without a gap; every tree that was ever signed is one over them."""
    logged = find_entries(data, tenant)
    assert None not in {body["position"] for body in logged}, "an entry waits"
    logged.sort(key=lambda body: int(body["position"]))
    assert [body["position"] for body in logged] == list(range(len(logged)))
    frontier: tuple[bytes, ...] = ()
    roots = [merkle.EMPTY_ROOT]
    for position, body in enumerate(logged):
        leaf = merkle.leaf_hash(
            canonical_json(Entry.model_validate(body["entry"]).model_dump(mode="json"))
        )
        frontier = merkle.append(frontier, position, leaf)
        roots.append(merkle.root(frontier))
    head = await services.audit.log.head(tenant)
    assert (head.size, head.root) == (len(logged), roots[-1].hex())
    await services.audit.checkpoints.publish(tenant)
    store, keys = services.audit.checkpoints.store, services.audit.keys
    verifiers = [key for _, each in await keys.verifiers(await keys.origin(tenant)) for key in each]
    sizes = [size async for size in store.checkpoint_sizes(tenant)]
    assert sizes[-1] == head.size
    for size in sizes:
        note = parse_note(await store.read_checkpoint(tenant, size))
        assert len(note.verified_by(verifiers)) >= 3
        assert parse_checkpoint(note.text).root == roots[size], "a checkpoint disagrees"
        tree = StoredTree(store, tenant, size)
        assert merkle.root(await tree.frontier()) == roots[size]


def _check_effects(data: Path, tenant: str, versions: dict[tuple[str, int], Version]) -> None:
    """Every event took effect once: the log tells of each thing that was done, once."""
    done: Counter[tuple[str, str, int]] = Counter()
    for body in find_entries(data, tenant):
        entry = body["entry"]
        done[entry["action"], entry["resource"], entry["details"].get("version", 0)] += 1
    repeatable = {
        "document.open",
        "document.read",
        "document.list",
        "upload.read",
        "upload.receive",
    }
    once = {
        what: times for what, times in done.items() if what[0].startswith(("document.", "upload."))
    }
    once = {what: times for what, times in once.items() if what[0] not in repeatable}
    assert set(once.values()) == {1}, f"more than once: {Counter(once).most_common(3)}"
    for document, number in versions:
        created = "document.create" if number == 1 else "document.update"
        assert (created, document, number) in done
        assert ("document.replicate", document, number) in done
    for action in ("document.damage", "document.repair", "document.lost", "upload.fail"):
        assert not [what for what in done if what[0] == action]


async def _check_sweep(data: Path, now: datetime, versions: dict[tuple[str, int], Version]) -> None:
    """Objects that no record names are the sweep's: once its grace is over, it leaves none of them.

    They come from a process that died between making an object durable and committing the record that
    names it, so each is younger than this test.
    """
    clock = FakeClock(now + SWEEP_WINDOW + GRACE + timedelta(hours=1))
    services = build(Settings(data_dir=data), clock, system_entropy)
    try:
        await services.sweep.run()
        primary = {blob.name async for blob in services.adapters.primary.list()}
        replica = {blob.name async for blob in services.adapters.replica.list()}
        staging = {blob.name async for blob in services.adapters.staging.list()}
    finally:
        await services.close()
    assert primary == {version.object for version in versions.values()}
    assert replica == {version.replica for version in versions.values()}
    assert staging == set()


def _versions(data: Path, tenant: str) -> dict[tuple[str, int], Version]:
    """Every version of every document that is not deleted."""
    versions: dict[tuple[str, int], Version] = {}
    for record in find_records(data, "document", tenant=tenant):
        current = Document.model_validate(record.body).current
        if current is not None:
            versions[record.id, current.number] = current
    for record in find_records(data, "version", tenant=tenant):
        document, _, number = record.id.partition(".")
        versions[document, int(number)] = Version.model_validate(record.body)
    return versions


async def _object(store: BlobStore, name: str) -> bytes:
    return b"".join([piece async for piece in store.get(name)])


def _temporary_files(data: Path) -> Iterator[Path]:
    return (
        path
        for path in data.rglob("*")
        if path.is_file() and (".incoming" in path.parts or path.name.startswith(TEMPORARY_PREFIX))
    )


def _documents(http: httpx.Client, token: str) -> Iterator[dict[str, Any]]:
    path = "documents?limit=200"
    while True:
        page = _get(http, path, token)
        yield from page["items"]
        if page["cursor"] is None:
            return
        path = f"documents?limit=200&cursor={page['cursor']}"


def _get(http: httpx.Client, path: str, token: str) -> Any:
    answer = http.get(path, headers=bearer(token))
    assert answer.status_code == 200, answer.text
    return answer.json()
