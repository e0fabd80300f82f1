"""What is shipped agrees with itself: settings and sample, declared and pinned requirements."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from shared.wiring.settings import Settings

ROOT = Path(__file__).parents[2]
HOST_SETTINGS = {
    "AzureWebJobsStorage__accountName",
    "FUNCTIONS_WORKER_RUNTIME",
    "PYTHON_ENABLE_INIT_INDEXING",
    "ServiceBus__fullyQualifiedNamespace",
}
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def sample() -> dict[str, str]:
    values: dict[str, str] = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
    return values


def pins(filename: str) -> list[tuple[Requirement, list[str]]]:
    """Each pinned requirement with its hashes."""
    text = (ROOT / filename).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    return [(Requirement(line.split(" --hash=")[0]), HASH.findall(line)) for line in lines]


def declared() -> dict[str, list[Requirement]]:
    """The requirements of pyproject.toml, by the file that pins them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime = [Requirement(text) for text in project["project"]["dependencies"]]
    dev, worker = (
        [Requirement(text) for text in project["dependency-groups"][group]]
        for group in ("dev", "worker")
    )
    return {
        "requirements.txt": runtime,
        "requirements-dev.txt": runtime + dev,
        "requirements-worker.txt": worker,
    }


def test_the_sample_lists_every_setting_and_nothing_else() -> None:
    settings = {"STRONGROOM_" + name.upper() for name in Settings.model_fields}
    assert set(sample()) == settings | HOST_SETTINGS


def test_the_sample_explains_every_setting_in_a_sentence() -> None:
    """The Functions tools read ``Values`` alone and leave the rest of the file to people."""
    explained: dict[str, str] = json.loads((ROOT / "local.settings.sample.json").read_text())[
        "Explained"
    ]
    assert list(explained) == list(sample())
    assert all(re.fullmatch(r"\S.{15,}\.", sentence) for sentence in explained.values())


def test_the_sample_shows_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {name: value for name, value in sample().items() if name.startswith("STRONGROOM_")}
    for name in ours:
        monkeypatch.delenv(name, raising=False)
    defaults = Settings()
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    assert Settings() == defaults


@pytest.mark.parametrize("filename", list(declared()))
def test_every_declared_requirement_is_pinned_within_its_range(filename: str) -> None:
    pinned: dict[str, list[str]] = {}
    for pin, _ in pins(filename):
        [specifier] = pin.specifier
        assert specifier.operator == "=="
        pinned.setdefault(canonicalize_name(pin.name), []).append(specifier.version)
    for requirement in declared()[filename]:
        versions = pinned[canonicalize_name(requirement.name)]
        assert versions == list(requirement.specifier.filter(versions)), requirement.name


@pytest.mark.parametrize("filename", list(declared()))
def test_every_pin_has_hashes_and_no_address(filename: str) -> None:
    for pin, hashes in pins(filename):
        assert hashes, pin.name
        assert pin.url is None
    assert "://" not in (ROOT / filename).read_text()


def test_the_emulators_are_pinned_by_hash_and_no_registry_is_named() -> None:
    lock = json.loads((ROOT / "tests/support/emulators/package-lock.json").read_text())
    packages = [each for name, each in lock["packages"].items() if name]
    assert packages
    assert all(each["integrity"].startswith("sha512-") for each in packages)
    assert not any("resolved" in each for each in packages)


def test_development_runs_on_the_pins_of_production() -> None:
    # Under which conditions a pin applies differs with who else asks for it.
    development = {f"{pin.name}{pin.specifier}" for pin, _ in pins("requirements-dev.txt")}
    production = {f"{pin.name}{pin.specifier}" for pin, _ in pins("requirements.txt")}
    assert production <= development
