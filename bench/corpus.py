"""Files to back up: as many and as large as asked for, incompressible, and the same ones in each run."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SEED = 10
SPREAD = 1.7
"""Sigma of the log-normal sizes: half of the files hold about a quarter of the mean, a few are large."""

CHANGED_EVERY = 100


@dataclass(frozen=True)
class Corpus:
    """Files with names from 0 on; ``sizes`` says how large each is."""

    sizes: tuple[int, ...]

    @classmethod
    def of(cls, files: int, total: int) -> "Corpus":
        """Files of sizes that are spread as in a file system: log-normal (Agrawal et al., FAST 2007)."""
        draw = random.Random(SEED)
        shares = [draw.lognormvariate(0, SPREAD) for _ in range(files)]
        scale = total / sum(shares)
        return cls(tuple(max(1, round(share * scale)) for share in shares))

    @property
    def total(self) -> int:
        return sum(self.sizes)

    def content(self, number: int, revision: int = 0) -> bytes:
        """Of one file; another revision has nothing in common with it."""
        return random.Random(f"{SEED}/{number}/{revision}").randbytes(self.sizes[number])

    def changed(self) -> Iterator[int]:
        """The files that the second revision changes: 1 %."""
        return iter(range(0, len(self.sizes), CHANGED_EVERY))

    def write(self, folder: Path) -> None:
        """Write the files, 100 in a folder."""
        for number in range(len(self.sizes)):
            path = _path(folder, number)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.content(number))

    def change(self, folder: Path) -> None:
        """Write the second revision over the first."""
        for number in self.changed():
            _path(folder, number).write_bytes(self.content(number, 1))

    def compare(self, folder: Path) -> None:
        """Fail unless the folder holds the second revision."""
        changed = set(self.changed())
        for number in range(len(self.sizes)):
            if _path(folder, number).read_bytes() != self.content(number, int(number in changed)):
                raise RuntimeError(f"file {number} is not what was backed up")


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number // 100:03d}" / f"{number:06d}.bin"
