"""restic and BorgBackup as their manuals have them used: a local repository with a passphrase."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Archiver:
    """A backup program, and the folder in which it keeps everything.

    Attributes:
        name: Of the program.
        folder: For its repository and its cache.
        environment: The variables that it takes.
        commands: What each step runs, one after another; ``{corpus}`` and ``{restored}`` are folders.
    """

    name: str
    folder: Path
    environment: Mapping[str, str]
    commands: Mapping[str, list[list[str]]]

    @property
    def installed(self) -> bool:
        return shutil.which(self.commands["first backup"][0][0]) is not None

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    def version(self) -> str:
        return self._run(self.commands["version"][0]).strip()

    def run(self, step: str, corpus: Path, restored: Path) -> None:
        """Do one step, or fail."""
        for command in self.commands[step]:
            words = [word.format(corpus=corpus, restored=restored) for word in command]
            # Borg restores into the folder in which it runs.
            self._run(words, restored if step == "restore" else corpus)

    def _run(self, command: list[str], folder: Path | None = None) -> str:
        done = subprocess.run(
            command,
            cwd=folder,
            env=os.environ | self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}\n{done.stdout}")
        return done.stdout


def restic(folder: Path) -> Archiver:
    return Archiver(
        "restic",
        folder,
        {
            "RESTIC_REPOSITORY": str(folder / "repository"),
            "RESTIC_PASSWORD": "correct horse battery staple",
            "RESTIC_CACHE_DIR": str(folder / "cache"),
        },
        {
            "version": [["restic", "version"]],
            "set-up": [["restic", "init"]],
            "first backup": [["restic", "backup", "."]],
            "incremental": [["restic", "backup", "."]],
            "verify": [["restic", "check", "--read-data"]],
            "restore": [["restic", "restore", "latest", "--target", "{restored}"]],
            "prune": [["restic", "forget", "--keep-last", "1", "--prune"]],
        },
    )


def borg(folder: Path) -> Archiver:
    return Archiver(
        "borg",
        folder,
        {
            "BORG_REPO": str(folder / "repository"),
            "BORG_PASSPHRASE": "correct horse battery staple",
            "BORG_BASE_DIR": str(folder / "base"),
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        },
        {
            "version": [["borg", "--version"]],
            "set-up": [["borg", "init", "--encryption", "repokey-blake2"]],
            "first backup": [["borg", "create", "::first", "."]],
            "incremental": [["borg", "create", "::second", "."]],
            "verify": [["borg", "check", "--verify-data"]],
            "restore": [["borg", "extract", "::second"]],
            "prune": [["borg", "prune", "--keep-last", "1"], ["borg", "compact"]],
        },
    )
