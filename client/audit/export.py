"""Audit exports: a period of a log and its proof, as ``docs/formats.md`` has them.

An export is read once, line by line, however large it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import IO, Any, Final

from client.audit.evidence import Proved
from client.audit.problems import NotProved
from client.audit.ranges import RangeTree
from client.audit.strict_json import parse_object
from client.audit.trust import CHECKPOINT, Growth, Signed, Trust
from shared.crypto.canonical import canonical_json
from shared.crypto.checkpoints import Checkpoint, parse_checkpoint
from shared.crypto.merkle import EMPTY_ROOT, HASH_SIZE, extend, leaf_hash, root, subtrees
from shared.crypto.notes import VerifierKey, parse_note

FORMAT: Final = "strongroom-audit-export/1"

MAX_LINE: Final = 1 << 20
"""Bytes of a line at most: an entry has 65,535 before JSON escapes it and before OCSF repeats it."""

FIRST_LINE: Final = "line 1"
LAST_LINE: Final = "last line"

_HEADER: Final = {
    "format": str,
    "origin": str,
    "checkpoint": str,
    "keys": list,
    "start": int,
    "end": int,
    "from": str,
    "to": str,
}
_OCSF_REMARK: Final = "of the OCSF events only raw_data was checked"


class Export:
    """An export, of which the first line has been read.

    Args:
        lines: Each with its end.

    Attributes:
        note: The checkpoint.

    Raises:
        NotProved: The first line is malformed.
    """

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = iter(lines)
        header = self._object(FIRST_LINE)
        if header.get("format") != FORMAT:
            raise NotProved(f"the format is not {FORMAT}", FIRST_LINE)
        if header.keys() != _HEADER.keys():
            raise NotProved("members are missing or unknown", FIRST_LINE)
        for name, kind in _HEADER.items():
            if type(header[name]) is not kind:
                raise NotProved(f"the member {name} has a wrong type", FIRST_LINE)
        try:
            self.note = parse_note(header["checkpoint"].encode())
            self._keys = tuple(VerifierKey.parse(str(key)) for key in header["keys"])
            checkpoint = parse_checkpoint(self.note.text)
        except ValueError as error:
            raise NotProved(str(error), FIRST_LINE) from None
        self._start, self._end = header["start"], header["end"]
        if not 0 <= self._start <= self._end <= checkpoint.size:
            raise NotProved(
                f"entries {self._start} to {self._end} are not within the log's {checkpoint.size}",
                FIRST_LINE,
            )
        if header["origin"] != checkpoint.origin:
            raise NotProved(f"the origin is not the checkpoint's, {checkpoint.origin}", FIRST_LINE)

    def verify(self, trust: Trust, kept: Checkpoint | None = None) -> Proved:
        """Verify the checkpoint's signatures, every entry and the proof.

        Args:
            trust: Who must have signed.
            kept: An earlier checkpoint of the log, to prove that it only grew since.

        Raises:
            NotProved: Something is wrong or missing.
        """
        signed = trust.verify(self.note, self._keys)
        growth = Growth(kept, signed.checkpoint)
        tree = RangeTree(self._start)
        at_kept = list(tree.hashes) if growth.wanted == self._start else None
        events = False
        for position in range(self._start, self._end):
            line = self._object(position=position)
            if "proof" in line:
                raise NotProved(
                    f"missing, and every entry up to {self._end - 1}", position=position
                )
            events = events or "raw_data" in line
            try:
                tree.append(leaf_hash(_leaf(line, position)))
            except ValueError as error:
                raise NotProved(str(error), position=position) from None
            if growth.wanted == tree.end:
                at_kept = list(tree.hashes)
        self._verify_proof(signed, growth, tree, at_kept)
        if growth.wanted is not None:
            raise NotProved(
                f"the export does not show that the log grew from the {growth.wanted} entries that "
                f"you kept: export again with kept={growth.wanted}, or verify the log's URL",
                CHECKPOINT,
            )
        return Proved(signed, self._start, self._end, growth, _OCSF_REMARK if events else "")

    def _verify_proof(
        self, signed: Signed, growth: Growth, tree: RangeTree, at_kept: list[bytes] | None
    ) -> None:
        """Compare the tree of left, entries and right with the checkpoint."""
        checkpoint = signed.checkpoint
        line = self._object(LAST_LINE)
        proof = line.get("proof")
        if line.keys() != {"proof"} or not isinstance(proof, dict):
            raise NotProved(f"not the proof, which follows the entry before {self._end}", LAST_LINE)
        if next(self._lines, None) is not None:
            raise NotProved("a line follows the proof", LAST_LINE)
        if not {"left", "right"} <= proof.keys() <= {"left", "right", "growth"}:
            raise NotProved("members of the proof are missing or unknown", LAST_LINE)
        left = _hashes(proof["left"], "left")
        right = _hashes(proof["right"], "right")
        hashes = left + tree.hashes + right
        nodes = subtrees(0, self._start) + subtrees(self._start, self._end)
        nodes += subtrees(self._end, checkpoint.size)
        if len(left) != len(subtrees(0, self._start)) or len(hashes) != len(nodes):
            raise NotProved("left or right has a wrong number of hashes", LAST_LINE)
        roots = _roots(nodes, hashes)
        if roots[checkpoint.size] != checkpoint.root:
            raise NotProved(
                "not what the checkpoint was made of: an entry or the proof was changed, inserted, "
                "removed or moved",
                f"positions {self._start} to {self._end - 1}"
                if self._start < self._end
                else LAST_LINE,
            )
        if growth.wanted is None:
            return
        if at_kept is not None:
            nodes = subtrees(0, self._start) + subtrees(self._start, growth.wanted)
            roots |= _roots(nodes, left + at_kept)
        if growth.wanted in roots:
            growth.compare(growth.wanted, roots[growth.wanted])
        elif "growth" in proof:
            growth.compare_by_proof(_growth_hashes(proof["growth"], growth.wanted))

    def _object(self, where: str = "", position: int | None = None) -> dict[str, Any]:
        """The next line's object."""
        line = next(self._lines, b"")
        if len(line) > MAX_LINE:
            raise NotProved(f"the line has more than {MAX_LINE:,} bytes", where, position)
        if not line.endswith(b"\n"):
            raise NotProved("the export ends early", where, position)
        try:
            return parse_object(line)
        except ValueError as error:
            raise NotProved(f"the line is malformed: {error}", where, position) from None


def read_lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file, each with its end; a line that is too long is cut, and has none."""
    while line := file.readline(MAX_LINE + 1):
        yield line


def _leaf(line: dict[str, Any], position: int) -> bytes:
    """The leaf of a line with an entry, or with an OCSF event that holds one.

    Raises:
        ValueError: The line is not one of this position.
    """
    if "raw_data" in line:
        metadata = line.get("metadata")
        found = metadata.get("sequence") if isinstance(metadata, dict) else None
        raw = line["raw_data"]
        if not isinstance(raw, str):
            raise ValueError("raw_data is not text")
        leaf = canonical_json(parse_object(raw))
        if leaf != raw.encode():
            raise ValueError("raw_data is not canonical JSON")
    else:
        # What the service has opened stands beside the entry, and nothing proves it.
        others = line.keys() - {"opened"}
        if others != {"position", "entry"} or not isinstance(line["entry"], dict):
            raise ValueError("the line does not hold a position and an entry, and nothing else")
        if not isinstance(line.get("opened", {}), dict):
            raise ValueError("opened is not an object")
        found = line["position"]
        leaf = canonical_json(line["entry"])
    if type(found) is not int or found != position:
        raise ValueError(f"the line says that it is position {found}: entries are missing or moved")
    return leaf


def _roots(nodes: list[tuple[int, int]], hashes: list[bytes]) -> dict[int, bytes]:
    """The log's root at each size at which one of some subtrees, from the first leaf on, ends."""
    frontier: tuple[bytes, ...] = ()
    size = 0
    roots = {0: EMPTY_ROOT}
    for (level, _), node in zip(nodes, hashes, strict=True):
        frontier = extend(frontier, size, level, node)
        size += 1 << level
        roots[size] = root(frontier)
    return roots


def _growth_hashes(value: object, size: int) -> list[bytes]:
    if not isinstance(value, dict) or value.keys() != {"from", "hashes"}:
        raise NotProved("growth is malformed", LAST_LINE)
    if value["from"] != size:
        raise NotProved(f"growth is not from the {size} entries that you kept", LAST_LINE)
    return _hashes(value["hashes"], "growth")


def _hashes(value: object, name: str) -> list[bytes]:
    try:
        if not isinstance(value, list):
            raise TypeError
        hashes = [bytes.fromhex(text) for text in value]
        if [node.hex() for node in hashes] != value or any(
            len(node) != HASH_SIZE for node in hashes
        ):
            raise ValueError
    except (TypeError, ValueError):
        raise NotProved(
            f"{name} does not list hashes of {HASH_SIZE} bytes in hex", LAST_LINE
        ) from None
    return hashes
