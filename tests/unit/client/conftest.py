from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pyrage import x25519

from tests.support.cli import Ran, invoke
from tests.support.target_writer import TargetWriter, Written, folder_writer, write_identity


@dataclass
class Customer:
    """Somebody with a key of their own and a target in a folder."""

    folder: Path
    identity: x25519.Identity = field(default_factory=x25519.Identity.generate)

    def __post_init__(self) -> None:
        self.source = self.folder / "target"
        self.dest = self.folder / "recovered"
        self.key = write_identity(self.folder / "key.txt", self.identity)
        self.writer = TargetWriter(folder_writer(self.source), [self.identity])

    def recover(self, *arguments: object) -> Ran:
        return invoke("recover", "--identity", self.key, self.source, self.dest, *arguments)

    def look(self, *arguments: object) -> Ran:
        """Run a command that recovers nothing."""
        return invoke("recover", "--identity", self.key, self.source, *arguments)

    def files(self) -> dict[str, bytes]:
        """What was recovered."""
        return {
            path.name: path.read_bytes()
            for path in self.dest.iterdir()
            if path.name != ".strongroom"
        }

    def path(self, written: Written) -> Path:
        """Where the sealed content of a version lies."""
        return self.source / written.object

    def key_path(self, written: Written) -> Path:
        return self.source / written.key_name

    def partials(self) -> list[Path]:
        return list((self.dest / ".strongroom" / "partial").iterdir())


@pytest.fixture
def customer(tmp_path: Path) -> Customer:
    return Customer(tmp_path)
