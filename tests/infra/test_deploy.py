"""infra/deploy against an `az` and a `curl` that note what they are asked."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.infra.snapshots import INFRA

DEVELOPMENT = "00000000-0000-4000-8000-000000000001"

FAKE = """#!/usr/bin/env python3
import json, os, pathlib, sys

home = pathlib.Path(os.environ["FAKE_HOME"])
arguments = sys.argv[1:]
with (home / "calls").open("a") as calls:
    calls.write(json.dumps([pathlib.Path(sys.argv[0]).name, *arguments]) + "\\n")


def option(name):
    return arguments[arguments.index(name) + 1] if name in arguments else ""


line = " ".join(arguments)
if pathlib.Path(sys.argv[0]).name == "curl":
    answers = json.loads((home / "health").read_text())
    answer = answers.pop(0) if answers else True
    (home / "health").write_text(json.dumps(answers))
    sys.exit(0 if answer else 22)
if line.startswith("account show"):
    print(os.environ["FAKE_SUBSCRIPTION"])
elif line.startswith("deployment sub show"):
    name = option("--query").split(".")[2]
    print({"publicBaseUrl": "https://api.example"}.get(name, name))
elif line.startswith(("deployment sub what-if", "deployment sub create")):
    sys.exit(1 if os.environ.get("FAKE_BREAKS", "nothing") in line else 0)
elif line.startswith("storage blob"):
    blob = home / "releases" / option("--name")
    if arguments[2] == "upload":
        blob.parent.mkdir(exist_ok=True)
        blob.write_bytes(pathlib.Path(option("--file")).read_bytes())
    elif not os.environ.get("FAKE_NETWORK", "inside") == "inside":
        sys.exit("AuthorizationFailure: not from this network")
    elif blob.exists():
        pathlib.Path(option("--file")).write_bytes(blob.read_bytes())
    else:
        sys.exit("ErrorCode:BlobNotFound")
elif line.startswith("functionapp deployment source config-zip"):
    (home / "running").write_bytes(pathlib.Path(option("--src")).read_bytes())
"""


class Azure:
    """A pretended subscription."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.programs = home / "bin"
        self.programs.mkdir()
        for name in ("az", "curl", "sleep"):
            program = self.programs / name
            program.write_text(FAKE)
            program.chmod(0o755)
        self.health([])

    def health(self, answers: Sequence[bool]) -> None:
        """What the next health checks find; healthy from then on."""
        (self.home / "health").write_text(json.dumps(answers))

    def deploy(
        self, *arguments: str, says: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        (self.home / "calls").write_text("")
        return subprocess.run(
            [INFRA / "deploy", *arguments],
            input=says,
            env={
                "PATH": f"{self.programs}:{os.environ['PATH']}",
                "FAKE_HOME": str(self.home),
                "FAKE_SUBSCRIPTION": DEVELOPMENT,
            }
            | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def calls(self) -> list[str]:
        """What was asked of az, without the values of options."""
        lines = [json.loads(line) for line in (self.home / "calls").read_text().splitlines()]
        return [
            " ".join(word for word in line[1:5] if not word.startswith("--"))
            for line in lines
            if line[0] == "az"
        ]

    def changes(self) -> list[str]:
        """The calls that change something."""
        words = ("create", "upload", "config-zip")
        return [call for call in self.calls() if any(word in call for word in words)]

    def release(self, name: str) -> str:
        return (self.home / "releases" / name).read_text()

    def running(self) -> str:
        return (self.home / "running").read_text()

    def package(self, release: str) -> tuple[str, ...]:
        path = self.home / f"{release}.zip"
        path.write_text(release)
        return ("--package", str(path), "--release", release)


@pytest.fixture
def azure(tmp_path: Path) -> Azure:
    return Azure(tmp_path)


def test_shows_the_changes_before_it_asks_and_deploys(azure: Azure) -> None:
    done = azure.deploy("development", *azure.package("1.0"), says="development\ndevelopment\n")
    assert done.returncode == 0, done.stderr
    calls = azure.calls()
    assert calls.index("deployment sub what-if") < calls.index("deployment sub create")
    assert calls.index("deployment sub create") < calls.index(
        "functionapp deployment source config-zip"
    )
    assert azure.running() == "1.0"
    assert azure.release("current") == "1.0"


@pytest.mark.parametrize("answer", ["", "\n", "yes\n", "production\n"])
def test_changes_nothing_without_the_name_of_the_environment(azure: Azure, answer: str) -> None:
    done = azure.deploy("development", *azure.package("1.0"), says=answer)
    assert done.returncode != 0
    assert azure.changes() == []


def test_refuses_another_subscription(azure: Azure) -> None:
    done = azure.deploy(
        "development", *azure.package("1.0"), "--yes", FAKE_SUBSCRIPTION="somewhere-else"
    )
    assert done.returncode == 1
    assert f"not in subscription {DEVELOPMENT}" in done.stderr
    assert azure.changes() == []


def test_stops_where_what_if_fails(azure: Azure) -> None:
    done = azure.deploy("development", *azure.package("1.0"), "--yes", FAKE_BREAKS="what-if")
    assert done.returncode == 1
    assert azure.changes() == []


def test_ships_nothing_where_the_infrastructure_fails(azure: Azure) -> None:
    done = azure.deploy("development", *azure.package("1.0"), "--yes", FAKE_BREAKS="sub create")
    assert done.returncode == 1
    assert azure.changes() == ["deployment sub create"]


def test_waits_for_health(azure: Azure) -> None:
    azure.health([False, False, False])
    done = azure.deploy("development", "--app", *azure.package("1.0"), "--yes")
    assert done.returncode == 0, done.stderr
    assert "1.0 runs in development" in done.stdout


def test_goes_back_by_itself(azure: Azure) -> None:
    assert azure.deploy("development", "--app", *azure.package("1.0"), "--yes").returncode == 0
    azure.health([False] * 30)
    done = azure.deploy("development", "--app", *azure.package("2.0"), "--yes")
    assert done.returncode == 1
    assert "2.0 did not become healthy" in done.stderr
    assert "1.0 runs again" in done.stderr
    assert azure.running() == "1.0"
    assert azure.release("current") == "1.0"


def test_says_so_where_there_is_nothing_to_go_back_to(azure: Azure) -> None:
    azure.health([False] * 30)
    done = azure.deploy("development", "--app", *azure.package("1.0"), "--yes")
    assert done.returncode == 1
    assert "no release to go back to" in done.stderr


def test_rolls_back_on_demand(azure: Azure) -> None:
    for release in ("1.0", "2.0"):
        assert (
            azure.deploy("development", "--app", *azure.package(release), "--yes").returncode == 0
        )
    done = azure.deploy("development", "--rollback", "--yes")
    assert done.returncode == 0, done.stderr
    assert azure.running() == "1.0"
    assert (azure.release("current"), azure.release("previous")) == ("1.0", "2.0")
    assert "deployment sub create" not in azure.calls()


def test_rollback_without_a_release_before(azure: Azure) -> None:
    assert azure.deploy("development", "--app", *azure.package("1.0"), "--yes").returncode == 0
    done = azure.deploy("development", "--rollback", "--yes")
    assert done.returncode == 1
    assert "no release before '1.0'" in done.stderr
    assert azure.running() == "1.0"


def test_infrastructure_alone_needs_no_package(azure: Azure) -> None:
    done = azure.deploy("development", "--infrastructure", "--yes")
    assert done.returncode == 0, done.stderr
    assert azure.changes() == ["deployment sub create"]


def test_from_outside_the_network_the_app_is_not_shipped(azure: Azure) -> None:
    done = azure.deploy(
        "development", "--app", *azure.package("1.0"), "--yes", FAKE_NETWORK="outside"
    )
    assert done.returncode == 1
    assert "the releases cannot be read" in done.stderr
    assert azure.changes() == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name the environment first"),
        (["testing"], "name the environment first"),
        (["development"], "no package at"),
        (["development", "--app", "--infrastructure"], "nothing to do"),
        (["development", "--package", "/nonexistent.zip"], "no package at"),
        (["development", "--force"], "unknown argument --force"),
    ],
)
def test_refuses_what_it_does_not_understand(azure: Azure, arguments: list[str], says: str) -> None:
    done = azure.deploy(*arguments)
    assert done.returncode == 1
    assert says in done.stderr
    assert azure.calls() == []


def test_a_release_needs_a_plain_name(azure: Azure) -> None:
    package = azure.package("1.0")[:2]
    done = azure.deploy("development", *package, "--release", "../1.0")
    assert done.returncode == 1
    assert "name the release" in done.stderr
