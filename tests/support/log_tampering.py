"""Hostile changes of a log, made below its adapters: in dictionaries, the SQLite file and the folder."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from shared.adapters.embedded.moments import from_microseconds, to_microseconds
from shared.adapters.memory.blobs import _Blob
from shared.adapters.memory.records import MemoryRecords
from shared.adapters.memory.write_once import MemoryWriteOnce
from shared.audit.findings import Finding
from shared.audit.index import CHECKPOINT_KIND, HEAD_KIND, LOGGED_KIND, SPAN_KIND, log_part
from shared.base.partitions import Partition
from shared.crypto.tiles import WIDTH, decode_bundle, encode_bundle
from shared.ports.records import Record
from tests.support.monitored import MAIN, TENANT

Body = dict[str, Any]
Row = tuple[Partition, str, str]
Found = Callable[[Finding], bool]


class Raw(Protocol):
    """What lies below the adapters."""

    def rows(self, partition: Partition, kind: str) -> list[Record]: ...

    def put_row(self, record: Record) -> None: ...

    def drop_row(self, record: Record) -> None: ...

    def objects(self) -> list[str]: ...

    def read(self, name: str) -> bytes: ...

    def write(self, name: str, content: bytes) -> None: ...

    def drop(self, name: str) -> None: ...


@dataclass
class RawMemory:
    """The dictionaries of the adapters in memory."""

    records: MemoryRecords
    store: MemoryWriteOnce

    def rows(self, partition: Partition, kind: str) -> list[Record]:
        found = [r for key, r in self.records._records.items() if key[:2] == (partition, kind)]
        return sorted(found, key=lambda record: record.id)

    def put_row(self, record: Record) -> None:
        self.records._records[record.partition, record.kind, record.id] = record

    def drop_row(self, record: Record) -> None:
        del self.records._records[record.partition, record.kind, record.id]

    def objects(self) -> list[str]:
        return sorted(self.store._blobs._blobs)

    def read(self, name: str) -> bytes:
        return self.store._blobs._blobs[name].content

    def write(self, name: str, content: bytes) -> None:
        blobs = self.store._blobs._blobs
        kept = blobs.get(name)
        at = kept.modified_at if kept else self.store.clock.now()
        blobs[name] = _Blob(content, at)
        self.store._dates.setdefault(name, at + timedelta(days=9))

    def drop(self, name: str) -> None:
        del self.store._blobs._blobs[name]
        del self.store._dates[name]


@dataclass
class RawFiles:
    """The SQLite file and the folder of the embedded adapters."""

    database: Path
    folder: Path
    header: bytes = field(default=2 * b"retain until 2026-11-01T00:00:00Z\n")

    def rows(self, partition: Partition, kind: str) -> list[Record]:
        with closing(sqlite3.connect(self.database)) as db:
            found = db.execute(
                "SELECT id, body, fields, expires_at, etag FROM records"
                " WHERE partition = ? AND kind = ? ORDER BY id",
                (str(partition), kind),
            ).fetchall()
        return [
            Record(
                partition,
                kind,
                row,
                json.loads(body),
                json.loads(fields),
                None if expires_at is None else from_microseconds(expires_at),
                etag,
            )
            for row, body, fields, expires_at, etag in found
        ]

    def put_row(self, record: Record) -> None:
        key = (str(record.partition), record.kind, record.id)
        expires_at = None if record.expires_at is None else to_microseconds(record.expires_at)
        with closing(sqlite3.connect(self.database)) as db, db:
            values = (json.dumps(record.body).encode(), json.dumps(dict(record.index)), expires_at)
            changed = db.execute(
                "UPDATE records SET body = ?, fields = ?, expires_at = ?"
                " WHERE partition = ? AND kind = ? AND id = ?",
                (*values, *key),
            ).rowcount
            if not changed:
                db.execute(
                    "INSERT INTO records (body, fields, expires_at, partition, kind, id, etag, changed)"
                    " SELECT ?, ?, ?, ?, ?, ?, 'x', max(changed) + 1 FROM records",
                    (*values, *key),
                )
            db.execute("DELETE FROM fields WHERE partition = ? AND kind = ? AND id = ?", key)
            db.executemany(
                "INSERT INTO fields (partition, kind, field, value, id) VALUES (?, ?, ?, ?, ?)",
                [(*key[:2], name, value, key[2]) for name, value in record.index.items()],
            )

    def drop_row(self, record: Record) -> None:
        key = (str(record.partition), record.kind, record.id)
        with closing(sqlite3.connect(self.database)) as db, db:
            for table in ("records", "fields"):
                db.execute(
                    f"DELETE FROM {table} WHERE partition = ? AND kind = ? AND id = ?",
                    key,
                )

    def objects(self) -> list[str]:
        return sorted(self._names())

    def read(self, name: str) -> bytes:
        return self._path(name).read_bytes()[len(self.header) :]

    def write(self, name: str, content: bytes) -> None:
        path = self._path(name)
        header = path.read_bytes()[: len(self.header)] if path.exists() else self.header
        path.write_bytes(header + content)
        path.chmod(0o600)

    def drop(self, name: str) -> None:
        self._path(name).unlink()

    def _names(self) -> Iterator[str]:
        for path in self.folder.rglob("*="):
            yield str(path.relative_to(self.folder)).removesuffix("=")

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}="


@dataclass(frozen=True)
class Case:
    """A hostile change, and what the monitor has to say of it."""

    target: str
    way: str
    change: Callable[[Raw, random.Random], Found]


CASES: list[Case] = []


def case(target: str, *ways: str) -> Callable[[Any], Any]:
    """Make a function of a way, a store and chance into cases."""

    def add(make: Callable[[str, Raw, random.Random], Found]) -> Any:
        CASES.extend(Case(target, way, partial(make, way)) for way in ways)
        return make

    return add


def found(*kinds: str, object: str | None = None, position: int | None = None) -> Found:
    """A finding of one of these kinds, about this object and this place."""

    def is_it(finding: Finding) -> bool:
        return (
            finding.kind in kinds
            and object in {None, finding.object}
            and position in {None, finding.position}
        )

    return is_it


def bundles(raw: Raw) -> list[str]:
    return [name for name in raw.objects() if "/tile/entries/" in name]


def tiles(raw: Raw, level: int) -> list[str]:
    return [name for name in raw.objects() if f"/tile/{level}/" in name]


def path_of(name: str) -> str:
    return name.removeprefix(f"{TENANT}/")


def flipped(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content))
    return content[:at] + bytes([content[at] ^ (1 << chance.randrange(8))]) + content[at + 1 :]


@case("entry", "edit", "edit-text", "drop", "swap", "insert", "truncate", "remove", "exchange")
def entries(way: str, raw: Raw, chance: random.Random) -> Found:
    name = chance.choice(bundles(raw))
    items = decode_bundle(raw.read(name))
    at = chance.randrange(len(items))
    is_newest = name in {bundles(raw)[0], bundles(raw)[-1]}
    match way:
        case "edit":
            # A byte of the object: of an entry, or of its length.
            raw.write(name, flipped(raw.read(name), chance))
            return found("entry", object=path_of(name))
        case "edit-text":
            items[at] = items[at].replace(b"document.list", b"document.read")
        case "drop":
            del items[at]
        case "swap":
            other = chance.choice([n for n in range(len(items)) if n != at])
            items[at], items[other] = items[other], items[at]
            at = min(at, other)
        case "insert":
            items.insert(at, items[at].replace(b"aud_", b"aud_0"))
        case "truncate":
            content = raw.read(name)
            raw.write(name, content[: chance.randrange(len(content))])
            return found("entry", object=path_of(name))
        case "remove":
            name = bundles(raw)[chance.choice([0, -1])]
            raw.drop(name)
            return found("entry", object=path_of(name))
        case "exchange":
            other_name = chance.choice([each for each in bundles(raw) if each != name])
            raw.write(name, raw.read(other_name))
            return found("entry", object=path_of(name))
    if not items:
        raw.write(name, b"")
        return found("entry", object=path_of(name))
    raw.write(name, encode_bundle(items))
    if way == "insert" and len(items) > WIDTH:
        at = (
            int(path_of(name).split("/")[2][:3]) * WIDTH
        )  # a bundle that is too large has no entries
        return found("entry", object=path_of(name))
    position = int(path_of(name).split("/")[2][:3]) * WIDTH + at if is_newest else None
    return found("entry", object=path_of(name), position=position)


def _tile(level: int, way: str, raw: Raw, chance: random.Random) -> Found:
    name = chance.choice(tiles(raw, level))
    content = raw.read(name)
    hashes = [content[at : at + 32] for at in range(0, len(content), 32)]
    at = chance.randrange(len(hashes))
    match way:
        case "edit":
            raw.write(name, flipped(content, chance))
        case "drop":
            raw.write(name, b"".join(hashes[:at] + hashes[at + 1 :]))
        case "swap":
            other_name = chance.choice([each for each in raw.objects() if "/tile/" in each])
            if len(hashes) > 1:
                other = chance.choice([n for n in range(len(hashes)) if n != at])
                hashes[at], hashes[other] = hashes[other], hashes[at]
                raw.write(name, b"".join(hashes))
            else:
                other_name = next(each for each in tiles(raw, 0))
                raw.write(name, raw.read(other_name)[:32])
        case "insert":
            raw.write(name, b"".join([*hashes[:at], chance.randbytes(32), *hashes[at:]]))
        case "truncate":
            raw.write(name, content[: chance.randrange(len(content))])
        case "remove":
            name = tiles(raw, level)[chance.choice([0, -1]) if level == 0 else 0]
            raw.drop(name)
        case "add":
            stem = path_of(name).split(".")[0]
            at = chance.randrange(100)
            name = f"{TENANT}/{stem}.p/{chance.choice([f'x{at}', f'{at + 300}', f'0{at}'])}"
            if chance.random() < 0.3:
                name = f"{TENANT}/tile/0/00{chance.randrange(2, 10)}"
            raw.write(name, content)
    return found("tile", object=path_of(name))


@case("tile-0", "edit", "drop", "swap", "insert", "truncate", "remove", "add")
def tiles_of_level_0(way: str, raw: Raw, chance: random.Random) -> Found:
    return _tile(0, way, raw, chance)


@case("tile-1", "edit", "drop", "swap", "insert", "truncate", "remove")
def tiles_of_level_1(way: str, raw: Raw, chance: random.Random) -> Found:
    return _tile(1, way, raw, chance)


def signed_rows(raw: Raw) -> list[Record]:
    return [row for n in (0, 1) for row in raw.rows(log_part(TENANT, n), LOGGED_KIND)]


def with_entry(record: Record, **changes: Any) -> Record:
    return replace(record, body={**record.body, "entry": {**record.body["entry"], **changes}})


EDITS: list[Callable[[Record], Record]] = [
    lambda row: with_entry(row, resource="doc_x"),
    lambda row: with_entry(row, actor={"kind": "user", "id": "usr_x"}),
    lambda row: with_entry(row, action="document.read"),
    lambda row: with_entry(row, outcome="refused", reason="forbidden"),
    lambda row: with_entry(row, details={"n": 1}),
    lambda row: with_entry(row, details={"n": 1 << 60}),
    lambda row: with_entry(row, time="2025-01-01T00:00:00Z"),
    lambda row: with_entry(row, id="aud_" + "0" * 26),
    lambda row: with_entry(row, trace="ff"),
    lambda row: with_entry(row, grant="grn_x"),
    lambda row: replace(row, body={**row.body, "position": row.body["position"] + 1}),
    lambda row: replace(row, body={**row.body, "position": -1}),
    lambda row: replace(row, body={**row.body, "more": True}),
]


@case("row", "edit", "drop", "swap", "insert", "truncate")
def rows(way: str, raw: Raw, chance: random.Random) -> Found:
    all_rows = signed_rows(raw)
    row, other = chance.sample(all_rows, 2)
    # Rows that no checkpoint holds yet are all in the root of the log's head.
    kinds = ("row", "head") if row.body["position"] >= 340 else ("row",)
    match way:
        case "edit":
            raw.put_row(chance.choice(EDITS)(row))
        case "drop":
            raw.drop_row(row)
        case "swap":
            if chance.random() < 0.5:
                raw.put_row(replace(row, body=other.body))
                raw.put_row(replace(other, body=row.body))
            else:
                raw.put_row(replace(row, body={**row.body, "position": other.body["position"]}))
                raw.put_row(replace(other, body={**other.body, "position": row.body["position"]}))
        case "insert":
            time = chance.choice([row.id[4:14], "00000000aa", "01zzzzzzzz"])
            forged = f"aud_{time}{chance.randrange(10**15):016d}"
            position = chance.choice([row.body["position"], chance.randrange(340), 345, 10**6, -5])
            index = chance.choice([{}, row.index, {**row.index, "bundle": "9"}])
            new = with_entry(replace(row, id=forged, index=index), id=forged)
            raw.put_row(replace(new, body={**new.body, "position": position}))
            return found("row", object=forged)
        case "truncate":
            body = chance.choice([{}, {"unreadable": True}, {"entry": row.body["entry"]}])
            raw.put_row(replace(row, body=body))
    return found(*kinds) if len(kinds) > 1 else found("row", object=row.id)


@case("field", "edit", "drop", "swap", "insert", "expire")
def fields(way: str, raw: Raw, chance: random.Random) -> Found:
    row = chance.choice(signed_rows(raw))
    kinds = ("row", "head") if row.body["position"] >= 340 else ("row",)
    name = chance.choice(sorted(row.index))
    match way:
        case "edit":
            raw.put_row(replace(row, index={**row.index, name: "77"}))
        case "drop":
            kept = {each: value for each, value in row.index.items() if each != name}
            raw.put_row(replace(row, index=kept))
        case "swap":
            names = sorted(row.index)
            values = [row.index[each] for each in names]
            raw.put_row(replace(row, index=dict(zip(names, values[1:] + values[:1], strict=True))))
        case "insert":
            raw.put_row(replace(row, index={**row.index, "grant": "grn_x"}))
        case "expire":
            row = chance.choice([each for each in signed_rows(raw) if each.body["position"] < 340])
            assert row.expires_at is not None
            sooner = row.expires_at - timedelta(days=chance.randrange(2, 3_000))
            raw.put_row(replace(row, expires_at=sooner))
            return found("row", object=row.id)
    return found(*kinds) if len(kinds) > 1 else found("row", object=row.id)


@case("head", "edit", "drop", "swap", "truncate")
def heads(way: str, raw: Raw, chance: random.Random) -> Found:
    both = [head for n in (0, 1) for head in raw.rows(log_part(TENANT, n), HEAD_KIND)]
    head = chance.choice(both)
    body = head.body
    match way:
        case "edit":
            tree = dict(body["tree"])
            edits: list[Body] = [
                {**body, "tree": {**tree, "size": tree["size"] + chance.choice([-1, 1, 300])}},
                {**body, "tree": {**tree, "root": "00" * 32}},
                {**body, "tree": {**tree, "frontier": [*tree["frontier"], "00" * 32]}},
                {**body, "tree": {**tree, "frontier": tree["frontier"][:-1]}},
                {**body, "appended": ["aud_" + "0" * 26]},
                {**body, "source": "ten_b/main"},
            ]
            raw.put_row(replace(head, body=chance.choice(edits)))
        case "drop":
            raw.drop_row(head)
        case "swap":
            raw.put_row(replace(both[0], body=both[1].body))
            raw.put_row(replace(both[1], body=both[0].body))
        case "truncate":
            raw.put_row(replace(head, body={}))
    return found("head")


@case("span", "edit", "drop", "swap", "insert", "truncate")
def spans(way: str, raw: Raw, chance: random.Random) -> Found:
    [span] = raw.rows(log_part(TENANT, 0), SPAN_KIND)
    name = span.id
    match way:
        case "edit":
            field = chance.choice(["first", "last", "id"])
            raw.put_row(replace(span, body={**span.body, field: "aud_" + "0" * 26}))
        case "drop":
            raw.drop_row(span)
        case "swap":
            body = {**span.body, "first": span.body["last"], "last": span.body["first"]}
            raw.put_row(replace(span, body=body))
        case "insert":
            name = chance.choice([f"{span.id}x", f"{chance.randrange(2, 10**6):012d}"])
            part = span.partition if name.endswith("x") else log_part(TENANT, 1)
            raw.put_row(replace(span, partition=part, id=name, body={**span.body, "id": name}))
        case "truncate":
            raw.put_row(replace(span, body={"id": span.id}))
    return found("span", object=name)


def checkpoints(raw: Raw) -> list[str]:
    return [name for name in raw.objects() if "/checkpoints/" in name]


@case("checkpoint-record", "edit", "drop", "swap", "truncate")
def records_of_checkpoints(way: str, raw: Raw, chance: random.Random) -> Found:
    [record] = raw.rows(MAIN, CHECKPOINT_KIND)
    tree = dict(record.body["tree"])
    match way:
        case "edit":
            edits: list[Body] = [
                {"tree": {**tree, "size": tree["size"] + chance.choice([-1, 1])}},
                {"tree": {**tree, "root": "00" * 32}},
                {"tree": {**tree, "frontier": [*tree["frontier"], "00" * 32]}},
                {"tree": {**tree, "frontier": tree["frontier"][::-1]}},
                {"note": flipped(record.body["note"].encode(), chance).decode("latin-1")},
            ]
            raw.put_row(replace(record, body={**record.body, **chance.choice(edits)}))
        case "drop":
            raw.drop_row(record)
        case "swap":
            note = raw.read(chance.choice(checkpoints(raw)[:-1])).decode()
            raw.put_row(replace(record, body={**record.body, "note": note}))
        case "truncate":
            note = record.body["note"]
            raw.put_row(
                replace(record, body={**record.body, "note": note[: chance.randrange(len(note))]})
            )
    return found("checkpoint-record")


@case("checkpoint", "edit", "drop", "swap", "insert", "truncate")
def objects_of_checkpoints(way: str, raw: Raw, chance: random.Random) -> Found:
    name, other = chance.sample(checkpoints(raw), 2)
    content = raw.read(name)
    match way:
        case "edit":
            raw.write(name, flipped(content, chance))
        case "drop":
            raw.drop(name)
        case "swap":
            raw.write(name, raw.read(other))
            raw.write(other, content)
        case "insert":
            size = chance.choice([chance.randrange(1, 340), chance.randrange(346, 10**12)])
            sizes = {int(each[-20:]) for each in checkpoints(raw)}
            size += size in sizes
            name = f"{TENANT}/checkpoints/{size:020d}"
            raw.write(name, content)
        case "truncate":
            raw.write(name, content[: chance.randrange(len(content))])
    return found("checkpoint", object=path_of(name))
