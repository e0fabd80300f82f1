"""infra/deploy against an `az` and a `curl` that note what they are asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.infra.snapshots import INFRA

DEVELOPMENT = "00000000-0000-4000-8000-000000000001"

PUBLISH = "https://app.example/api/publish?RemoteBuild=false"
"""Where a package goes that is not to be built again."""

FAKE = (
    f"#!{sys.executable} -IS"
    + """
import json, os, pathlib, sys

home = pathlib.Path(os.environ["FAKE_HOME"])
arguments = sys.argv[1:]
with (home / "calls").open("a") as calls:
    calls.write(json.dumps([pathlib.Path(sys.argv[0]).name, *arguments]) + "\\n")


def option(name):
    return arguments[arguments.index(name) + 1] if name in arguments else ""


line = " ".join(arguments)
if pathlib.Path(sys.argv[0]).name == "curl" and "--config" in arguments:
    if 'Authorization: Bearer a-token' not in sys.stdin.read():
        sys.exit("401")
    address = next(word for word in arguments if word.startswith("https://"))
    if address == "https://app.example/api/publish?RemoteBuild=false":
        shipped = pathlib.Path(option("--data-binary")[1:]).read_bytes()
        (home / "running").write_bytes(shipped)
        print('"deployment-1"', end="")
    elif address == "https://app.example/api/deployments/deployment-1":
        status = int(os.environ.get("FAKE_STATUS", "4"))
        print(json.dumps({"id": "deployment-1", "status": status, "status_text": ""}))
    else:
        sys.exit(22)
elif pathlib.Path(sys.argv[0]).name == "curl":
    answers = json.loads((home / "health").read_text())
    answer = answers.pop(0) if answers else True
    (home / "health").write_text(json.dumps(answers))
    if not answer:
        sys.exit(22)
    if answer is True:
        import zipfile

        answer = zipfile.ZipFile(home / "running").read("release").decode()
    print(json.dumps({"status": "ok", "release": answer}))
elif line.startswith("account show"):
    print(os.environ["FAKE_SUBSCRIPTION"])
elif line.startswith("account get-access-token"):
    print("a-token")
elif line.startswith("deployment sub show"):
    if os.environ.get("FAKE_READS_DEPLOYMENTS", "yes") != "yes":
        sys.exit("AuthorizationFailed")
    app = "/resourceGroups/g/providers/Microsoft.Web/sites/a"
    print("/subscriptions/" + os.environ["FAKE_SUBSCRIPTION"] + app)
elif line.startswith("resource show"):
    hosts = "hostNameSslStates" in option("--query")
    print("app.example" if hosts else "https://releases.blob.core.windows.net/deployments")
elif line.startswith("functionapp config appsettings list"):
    print("https://api.example")
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
"""
)


class Azure:
    """A pretended subscription."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.programs = home / "bin"
        self.programs.mkdir()
        for name, text in (("az", FAKE), ("curl", FAKE), ("sleep", "#!/bin/sh\n")):
            program = self.programs / name
            program.write_text(text)
            program.chmod(0o755)
        self.health([])

    def health(self, answers: Sequence[bool | str]) -> None:
        """What the next health checks find, be it another release; healthy from then on."""
        (self.home / "health").write_text(json.dumps(answers))

    def left(self) -> list[bool | str]:
        """What no health check has found yet."""
        found: list[bool | str] = json.loads((self.home / "health").read_text())
        return found

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

    def lines(self) -> list[list[str]]:
        """What was asked: the program, and what it was given."""
        return [json.loads(line) for line in (self.home / "calls").read_text().splitlines()]

    def calls(self) -> list[str]:
        """What was asked of az, without the values of options, and of the app's deployment endpoint."""
        return [
            " ".join(word for word in line[1:5] if not word.startswith("--"))
            if line[0] == "az"
            else next(word for word in line if word.startswith("https://"))
            for line in self.lines()
            if line[0] == "az" or "--config" in line
        ]

    def asked_of_the_deployment(self) -> int:
        """How often the state of a deployment was asked for."""
        return sum("/api/deployments/" in call for call in self.calls())

    def changes(self) -> list[str]:
        """The calls that change something."""
        words = ("create", "upload", "publish")
        return [call for call in self.calls() if any(word in call for word in words)]

    def release(self, name: str) -> str:
        return (self.home / "releases" / name).read_text()

    def running(self) -> str:
        return zipfile.ZipFile(self.home / "running").read("release").decode()

    def package(self, release: str) -> tuple[str, ...]:
        path = self.home / f"{release}.zip"
        with zipfile.ZipFile(path, "w") as package:
            package.writestr("release", release)
        return ("--package", str(path), "--release", release)


@pytest.fixture
def azure(tmp_path: Path) -> Azure:
    return Azure(tmp_path)


def test_shows_the_changes_before_it_asks_and_deploys(azure: Azure) -> None:
    done = azure.deploy("development", *azure.package("1.0"), says="development\ndevelopment\n")
    assert done.returncode == 0, done.stderr
    calls = azure.calls()
    assert calls.index("deployment sub what-if") < calls.index("deployment sub create")
    assert calls.index("deployment sub create") < calls.index(PUBLISH)
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


def test_ships_without_the_right_to_read_deployments(azure: Azure) -> None:
    """As the identity of the workflows does, which may read the app alone."""
    app = f"/subscriptions/{DEVELOPMENT}/resourceGroups/g/providers/Microsoft.Web/sites/a"
    package = azure.package("1.0")
    alone = {"FAKE_READS_DEPLOYMENTS": "no"}
    assert azure.deploy("development", "--app", *package, "--yes", **alone).returncode != 0
    done = azure.deploy("development", "--app", *package, "--yes", STRONGROOM_APP_ID=app, **alone)
    assert done.returncode == 0, done.stderr
    assert azure.running() == "1.0"
    assert not any("deployment sub" in call for call in azure.calls())


def test_refuses_an_app_of_another_subscription(azure: Azure) -> None:
    app = "/subscriptions/another/resourceGroups/g/providers/Microsoft.Web/sites/a"
    done = azure.deploy(
        "development", "--app", *azure.package("1.0"), "--yes", STRONGROOM_APP_ID=app
    )
    assert done.returncode == 1
    assert "is no app of subscription" in done.stderr
    assert azure.changes() == []


def test_no_token_is_in_a_list_of_processes(azure: Azure) -> None:
    assert azure.deploy("development", "--app", *azure.package("1.0"), "--yes").returncode == 0
    assert not any("a-token" in word for line in azure.lines() for word in line)


def fail_the_second(azure: Azure, status: str) -> subprocess.CompletedProcess[str]:
    """Deploy twice; the second deployment ends, or stays, in a state of Azure's."""
    assert azure.deploy("development", "--app", *azure.package("1.0"), "--yes").returncode == 0
    done = azure.deploy("development", "--app", *azure.package("2.0"), "--yes", FAKE_STATUS=status)
    assert done.returncode == 1
    return done


@pytest.mark.parametrize("status", ["3", "-1", "6"])
def test_goes_back_where_azure_does_not_take_the_package(azure: Azure, status: str) -> None:
    done = fail_the_second(azure, status)
    assert f"in state {status}; why is in https://app.example/api/deployments/" in done.stderr
    assert azure.asked_of_the_deployment() == 2  # once for each of the two packages
    assert azure.running() == "1.0"
    assert azure.release("current") == "1.0"


def test_leaves_another_deployment_alone(azure: Azure) -> None:
    done = fail_the_second(azure, "5")
    assert "another deployment is under way" in done.stderr
    assert azure.asked_of_the_deployment() == 1
    assert azure.calls().count(PUBLISH) == 1, "nothing was shipped in the place of the other"
    assert azure.release("current") == "1.0"


def test_says_that_a_deployment_hangs(azure: Azure) -> None:
    done = fail_the_second(azure, "2")
    assert "has not ended the deployment after 600 seconds, in state 2" in done.stderr
    text = (INFRA.parent / "docs" / "operations.md").read_text()
    assert "\n### Where a deployment hangs\n" in text


def test_goes_back_by_itself(azure: Azure) -> None:
    assert azure.deploy("development", "--app", *azure.package("1.0"), "--yes").returncode == 0
    azure.health([False] * 30)
    done = azure.deploy("development", "--app", *azure.package("2.0"), "--yes")
    assert done.returncode == 1
    assert "2.0 did not become healthy" in done.stderr
    assert "1.0 runs again" in done.stderr
    assert azure.running() == "1.0"
    assert azure.release("current") == "1.0"


def test_what_the_release_before_answers_is_not_taken_for_health(azure: Azure) -> None:
    assert azure.deploy("development", "--app", *azure.package("1.0"), "--yes").returncode == 0
    azure.health(["1.0", "1.0"])
    done = azure.deploy("development", "--app", *azure.package("2.0"), "--yes")
    assert done.returncode == 0, done.stderr
    assert azure.left() == []
    # Going back waits too: the bad release may still answer now and then.
    azure.health(["2.0"] * 30 + ["3.0"])
    done = azure.deploy("development", "--app", *azure.package("3.0"), "--yes")
    assert done.returncode == 1
    assert "2.0 runs again" in done.stderr
    azure.health(["2.0"])
    assert azure.deploy("development", "--rollback", "--yes").returncode == 0
    assert azure.left() == []


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


def test_a_package_is_shipped_under_its_own_name_alone(azure: Azure) -> None:
    package = azure.package("1.0")[:2]
    done = azure.deploy("development", *package, "--release", "1.1")
    assert done.returncode == 1
    assert "is release '1.0', not '1.1'" in done.stderr
    assert azure.calls() == []


def test_a_release_needs_a_plain_name(azure: Azure) -> None:
    package = azure.package("1.0")[:2]
    done = azure.deploy("development", *package, "--release", "../1.0")
    assert done.returncode == 1
    assert "name the release" in done.stderr
