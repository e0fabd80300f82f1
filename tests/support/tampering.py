"""What somebody may do to a log, an export or a proof, and where the verifier must find it.

Whoever does this can write the files, and does not have the log's key, except for ``forked_logs``.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shared.crypto import tiles
from tests.support.audit_logs import BuiltLog, encoded

Files = dict[str, bytes]


@dataclass(frozen=True)
class Tampered:
    """Something that was changed.

    Attributes:
        what: What was done to it.
        where: What the verifier must name: the whole of ``NotProved.where``, as a pattern.
        files: Of the log, by path.
        lines: Of an export.
        proof: Bytes of a ``.tlog-proof`` file.
    """

    what: str
    where: str
    files: Files | None = None
    lines: list[bytes] | None = None
    proof: bytes | None = None


def tampered_logs(log: BuiltLog) -> Iterator[Tampered]:
    """A log's files with one of them changed."""
    files = log.files()
    for path in files:
        if path != "checkpoint":
            kind = _tampered_bundles if "entries" in path else _tampered_tiles
            for what, data, where in kind(path, files):
                yield Tampered(f"{path}: {what}", where, files=_with(files, path, data))
    for what, data in tampered_texts(files["checkpoint"]):
        changed = _with(files, "checkpoint", data)
        yield Tampered(f"checkpoint: {what}", "checkpoint", files=changed)
    yield Tampered("no checkpoint", "checkpoint", files=_with(files, "checkpoint", None))


def _tampered_tiles(path: str, files: Files) -> Iterator[tuple[str, bytes | None, str]]:
    tile = files[path]
    here = re.escape(path)
    width = len(tile) // 32
    yield "removed", None, here
    for number in sorted({0, 1, width // 2, width - 1} & {*range(width)}):
        at = number * 32
        flipped = tile[:at] + bytes([tile[at] ^ 0x80]) + tile[at + 1 :]
        yield f"hash {number} flipped", flipped, here
        yield f"hash {number} dropped", tile[:at] + tile[at + 32 :], here
        yield f"hash {number} doubled", tile[: at + 32] + tile[at:], here
        yield f"hash {number} zeroed", tile[:at] + bytes(32) + tile[at + 32 :], here
        if number + 1 < width:
            swapped = tile[:at] + tile[at + 32 : at + 64] + tile[at : at + 32] + tile[at + 64 :]
            yield f"hashes {number} and {number + 1} swapped", swapped, here
    for size in (0, 1, 31, len(tile) - 1):
        yield f"cut to {size} bytes", tile[:size], here
    yield "a byte appended", tile + b"\0", here
    yield "another tile in its place", bytes(reversed(tile)), here
    siblings = [other for other in files if other.startswith("tile/0/") and other != path]
    for other in siblings if path.startswith("tile/0/") else ():
        if len(files[other]) == len(tile):
            yield f"{other} in its place", files[other], here


def _tampered_bundles(path: str, files: Files) -> Iterator[tuple[str, bytes | None, str]]:
    entries = tiles.decode_bundle(files[path])
    first = tiles.parse_tile_path(path).index * tiles.WIDTH
    here = re.escape(path)
    yield "removed", None, here
    for number in range(0, len(entries), 5):
        position = rf"position {first + number}"
        entry = entries[number]
        edited = entry.replace(b"document.open", b"document.read")
        before, after = entries[:number], entries[number + 1 :]
        yield f"{number} edited", tiles.encode_bundle([*before, edited, *after]), position
        yield f"{number} emptied", tiles.encode_bundle([*before, b"", *after]), position
        yield f"{number} cut short", tiles.encode_bundle([*before, entry[:-1], *after]), position
        forged = [*before, edited, entry, *after]
        yield f"inserted before {number}", _bundle(forged), f"{position}|{here}"
        if after:
            yield f"{number} dropped", tiles.encode_bundle([*before, *after]), position
            swapped = [*before, after[0], entry, *after[1:]]
            yield f"{number} and the next swapped", tiles.encode_bundle(swapped), position
    yield "last dropped", _bundle(entries[:-1]), here
    yield "one appended", _bundle([*entries, entries[0]]), here
    data = files[path]
    for size in (0, 1, len(data) // 2, len(data) - 1):
        yield f"cut to {size} bytes", data[:size], here
    yield "a byte appended", data + b"\0", here


def _bundle(entries: list[bytes]) -> bytes:
    """Any number of entries."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def tampered_texts(data: bytes) -> Iterator[tuple[str, bytes]]:
    """A note or a proof with one character changed, dropped or doubled, or cut off, everywhere."""
    for at in range(len(data)):
        yield f"byte {at} changed", data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    for at in range(0, len(data), 3):
        yield f"byte {at} dropped", data[:at] + data[at + 1 :]
        yield f"cut at {at}", data[:at]


def forked_logs(log: BuiltLog, kept: int) -> Iterator[Tampered]:
    """Logs that somebody with the log's key wrote again after their first ``kept`` entries were pinned."""
    before = f"entries of the {kept}"
    for position in range(0, kept, 20):
        entries = copy.deepcopy(log.entries)
        entries[position]["action"] = "document.read"
        yield Tampered(f"edited {position} of {before}", "checkpoint", files=_log(log, entries))
        entries = [*log.entries[:position], *log.entries[position + 1 :]]
        yield Tampered(f"dropped {position} of {before}", "checkpoint", files=_log(log, entries))
    swapped = [log.entries[1], log.entries[0], *log.entries[2:]]
    yield Tampered("swapped two", "checkpoint", files=_log(log, swapped))
    yield Tampered("cut off", "checkpoint", files=_log(log, log.entries[: kept - 1]))
    yield Tampered("emptied", "checkpoint", files=_log(log, []))


def _log(log: BuiltLog, entries: list[dict[str, Any]]) -> Files:
    return BuiltLog(entries, log.key, log.origin).files()


def tampered_exports(log: BuiltLog, start: int, end: int, *, ocsf: bool) -> Iterator[Tampered]:
    """An export with something changed."""
    lines = log.export(start, end, ocsf=ocsf)
    header, rows, proof = lines[0], lines[1:-1], lines[-1]
    the_range = f"positions {start} to {end - 1}"

    def made(what: str, where: str, rows: list[bytes]) -> Tampered:
        return Tampered(what, where, lines=[header, *rows, proof])

    for number, row in enumerate(rows):
        position = f"position {start + number}"
        before, after = rows[:number], rows[number + 1 :]
        edited = row.replace(b"document.open", b"document.read")
        yield made(f"{position} edited", the_range, [*before, edited, *after])
        yield made(f"{position} dropped", position, [*before, *after])
        yield made(
            f"{position} doubled",
            f"position {start + number + 1}|last line",
            [*before, row, row, *after],
        )
        yield made(f"{position} cut", position, [*before, row[:-2] + b"\n", *after])
        yield made(f"{position} emptied", position, [*before, b"{}\n", *after])
        yield made(f"{position} without its end", position, [*before, row[:-1]])
        yield Tampered(f"cut before {position}", position, lines=[header, *before])
        if after:
            yield made(
                f"{position} and the next swapped", position, [*before, after[0], row, *after[1:]]
            )
            other = json.loads(after[0]) | _position_of(json.loads(row))
            moved = json.loads(row) | _position_of(json.loads(after[0]))
            renumbered = [*before, encoded(other), encoded(moved), *after[1:]]
            yield made(f"{position} and the next swapped, renumbered", the_range, renumbered)
    yield from _tampered_rows(made, rows, start, ocsf=ocsf)
    yield Tampered("cut before the proof", "last line", lines=[header, *rows])
    yield Tampered("a line after the proof", "last line", lines=[*lines, rows[0]])
    yield Tampered("the proof twice", "last line", lines=[*lines, proof])
    yield from _tampered_proofs(header, rows, json.loads(proof)["proof"])
    yield from _tampered_headers(json.loads(header), [*rows, proof])


def _position_of(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("position", "metadata") if name in row}


def _tampered_rows(made: Any, rows: list[bytes], start: int, *, ocsf: bool) -> Iterator[Tampered]:
    """The first row in forms that say the same to some readers and not to others."""
    row, after = json.loads(rows[0]), rows[1:]
    position = f"position {start}"
    others: dict[str, bytes] = {
        "a position that is text": encoded(
            row | {"position": str(start), "metadata": {"sequence": str(start)}}
        ),
        "a position that is a fraction": rows[0].replace(b": %d" % start, b": %d.0" % start, 1),
        "a member twice": rows[0].replace(b"{", b'{"position": %d, ' % start, 1)
        if not ocsf
        else rows[0].replace(b"{", b'{"raw_data": "", ', 1),
        "nested deeply": b'{"position": 0, "entry": '
        + b'{"a":' * 50_000
        + b"0"
        + b"}" * 50_001
        + b"\n",
        "nested less deeply": b'{"position": %d, "entry": ' % start
        + b'{"a":' * 600
        + b"0"
        + b"}" * 601
        + b"\n",
        "not an object": b"[]\n",
        "not JSON": b"\xff\n",
        "too long": b'{"position": 0, "entry": "' + b"a" * (1 << 20) + b'"}\n',
    }
    if ocsf:
        others["raw_data in another order"] = encoded(
            row | {"raw_data": json.dumps(json.loads(row["raw_data"]))}
        )
        others["raw_data that is an object"] = encoded(
            row | {"raw_data": json.loads(row["raw_data"])}
        )
        others["no metadata"] = encoded({"raw_data": row["raw_data"]})
    else:
        others["one more member"] = encoded(row | {"note": "true"})
        others["a fraction in the entry"] = encoded(row | {"entry": row["entry"] | {"size": 1.5}})
        others["a huge number in the entry"] = encoded(
            row | {"entry": row["entry"] | {"size": 1 << 60}}
        )
        others["a lone surrogate"] = encoded(row | {"entry": row["entry"] | {"size": "\ud800"}})
        others["an entry that is text"] = encoded(row | {"entry": "text"})
    for what, data in others.items():
        yield made(what, position, [data, *after])


def _tampered_proofs(header: bytes, rows: list[bytes], proof: dict[str, Any]) -> Iterator[Tampered]:
    def made(what: str, where: str, changed: Any) -> Tampered:
        return Tampered(what, where, lines=[header, *rows, encoded({"proof": changed})])

    for side in ("left", "right"):
        hashes = proof[side]
        for number, node in enumerate(hashes):
            flipped = ("1" if node[0] != "1" else "2") + node[1:]
            kept = [*hashes[:number], *hashes[number + 1 :]]
            others: list[tuple[str, str, list[Any]]] = [
                ("flipped", "positions .*", [*hashes[:number], flipped, *hashes[number + 1 :]]),
                ("dropped", "last line", kept),
                ("doubled", "last line", [*hashes[:number], node, *hashes[number:]]),
                ("cut", "last line", [*hashes[:number], node[:-2], *hashes[number + 1 :]]),
                (
                    "upper case",
                    "last line",
                    [*hashes[:number], "AB" + node[2:], *hashes[number + 1 :]],
                ),
                ("spaced", "last line", [*hashes[:number], f" {node}", *hashes[number + 1 :]]),
                ("a number", "last line", [*hashes[:number], 7, *hashes[number + 1 :]]),
            ]
            for what, where, changed in others:
                yield made(f"{side} {number} {what}", where, proof | {side: changed})
        if len(hashes) > 1:
            yield made(f"{side} reversed", "positions .*", proof | {side: hashes[::-1]})
        yield made(f"{side} empty", "last line", proof | {side: []})
        yield made(f"{side} text", "last line", proof | {side: "text"})
        yield made(f"no {side}", "last line", {name: proof[name] for name in proof if name != side})
    yield made(
        "left and right swapped",
        "last line|positions .*",
        {"left": proof["right"], "right": proof["left"]},
    )
    yield made("one more member", "last line", proof | {"middle": []})
    yield made("a list", "last line", [])


def _tampered_headers(header: dict[str, Any], rest: list[bytes]) -> Iterator[Tampered]:
    def made(what: str, where: str, changed: dict[str, Any]) -> Tampered:
        return Tampered(what, where, lines=[encoded(changed), *rest])

    for name, value in header.items():
        missing = {other: header[other] for other in header if other != name}
        yield made(f"no {name}", "line 1", missing)
        yield made(f"{name} of another type", "line 1", header | {name: {"a": value}})
    yield made("one more member", "line 1", header | {"more": 1})
    yield made("another format", "line 1", header | {"format": "strongroom-audit-export/2"})
    yield made("another origin", "line 1", header | {"origin": header["origin"] + "x"})
    for start in (header["start"] - 1, header["start"] + 1, 0):
        yield made(f"start {start}", "position .*|last line", header | {"start": start})
    for end in (header["end"] - 1, header["end"] + 1):
        yield made(f"end {end}", "position .*|last line", header | {"end": end})
    for start, end in ((-1, 5), (5, 4), (0, 1 << 70), (True, 5)):
        yield made(f"{start} to {end}", "line 1", header | {"start": start, "end": end})
    for what, note in tampered_texts(header["checkpoint"].encode()):
        text = note.decode("utf-8", "replace")
        yield made(
            f"checkpoint: {what}",
            "checkpoint|line 1|position .*|last line",
            header | {"checkpoint": text},
        )
    for key in ("", "text", header["keys"][0] + "A", 7):
        yield made(f"key {key}", "line 1", header | {"keys": [key]})


def tampered_proofs(log: BuiltLog, index: int) -> Iterator[Tampered]:
    """A ``.tlog-proof`` file with something changed."""
    data = log.proof(index).encode()
    for what, changed in tampered_texts(data):
        yield Tampered(what, f"|checkpoint|position {index}|position .*", proof=changed)
    lines = data.decode().split("\n")
    for number in range(2, lines.index("") - 1):
        swapped = [*lines[:number], lines[number + 1], lines[number], *lines[number + 2 :]]
        yield Tampered(
            f"hashes of line {number} swapped",
            f"position {index}",
            proof="\n".join(swapped).encode(),
        )
    for other in range(0, log.size, 9):
        if other != index:
            text = data.decode().replace(f"index {index}\n", f"index {other}\n")
            yield Tampered(f"index {other}", f"position {other}", proof=text.encode())


def _with(files: Files, path: str, data: bytes | None) -> Files:
    others = {name: content for name, content in files.items() if name != path}
    return others if data is None else others | {path: data}
