"""The benchmarks run: from a fresh clone as modules and as scripts, and in small from end to end."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from bench import load, processor, revisions, small, upload
from bench.report import Report
from tests.support.process import ROOT

SCRIPTS = sorted(
    path.stem for path in (ROOT / "bench").glob("*.py") if "__main__" in path.read_text()
)


def test_there_are_scripts() -> None:
    assert {"coldstart", "load", "partitions", "scale", "seal", "upload"} <= set(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs_by_its_path_from_anywhere(name: str, tmp_path: Path) -> None:
    """Up to its help; one that takes no arguments runs."""
    ran = subprocess.run(
        [sys.executable, ROOT / "bench" / f"{name}.py", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.timeout(300)
def test_uploads_in_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(small, "TRACED_EACH", 1)
    upload.run(tmp_path, upload.Sizes(1_000_000, 1, 2, 1, 1, 20, 2_000_000))
    printed = capsys.readouterr().out
    for row in (
        *(
            "upload of 1 MB",
            "download of 1 MB",
            "10 KB up",
            "10 KB down",
            "sign-ins",
            "token checks",
        ),
        *("processor time a document, ms", "until replicated and logged, times the uploads"),
        "memory growth of the download",
    ):
        assert row in printed


@pytest.mark.timeout(300)
def test_revisions_are_compared_with_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same revision twice, in small."""
    revisions.run(tmp_path, [ROOT, ROOT], revisions.Sizes(1_000_000, 1, 1))
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == [ROOT.name[-12:]] * 2
    assert [row.split(",")[0].strip() for row in rows] == [
        *("1 MB up", "1 MB down", "10 KB up"),
        *("processor time of 1 MB up", "processor time of 1 MB down"),
        "processor time of a document of 10 KB",
    ]


def test_a_revision_is_told_in_parts_of_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    """Half the seconds are twice the speed, and half of the processor is half."""
    compared = []
    for name, seconds in (("before", 4.0), ("after", 2.0)):
        server: Any = None  # nothing is asked of it
        revision = revisions.Revision(name, server, "")
        for row in ("up", "down", "small"):
            for took in (seconds, seconds, 100.0):
                revision.note(row, took)
                revision.note(f"{row}, processor", took)
        compared.append(revision)
    revisions.show(Report(), compared, revisions.Sizes(8_000_000, 1, 3))
    head, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    assert head == ["before", "after"]
    assert [row[-4:] for row in rows[:3]] == [
        ["2", "(1.00)", "4", "(2.00)"],
        ["2", "(1.00)", "4", "(2.00)"],
        ["2", "(1.00)", "4", "(2.00)"],
    ]
    assert [row[-4:] for row in rows[3:]] == [
        ["4000", "(1.00)", "2000", "(0.50)"],
        ["4000", "(1.00)", "2000", "(0.50)"],
        ["500", "(1.00)", "250", "(0.50)"],
    ]


@pytest.mark.timeout(300)
def test_a_moment_of_load_has_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"USERS": 2, "DOCUMENTS_BEFORE": 5, "FEW": 4, "MANY": 8}.items():
        monkeypatch.setattr(load, name, value)
    load.run(tmp_path, 1.0, seed=1)
    printed = capsys.readouterr().out
    assert "errors: 0.00, at most 0: holds" in printed
    assert "4 clients" in printed
    assert "8 clients" in printed


@pytest.mark.parametrize(("clients", "at_work"), [(10, 7), (100, 85)])
def test_throughput_is_told_for_each_client_that_is_neither_slow_nor_stalled(
    clients: int, at_work: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load.working(clients) == at_work
    nothing = load.Load(0, [], memoryview(b""), [], "", 0)
    measured = load.Measured(clients, at_work * 3.0, 0.1, 0.2, 0.3, nothing)
    load.show(Report(), measured)
    assert capsys.readouterr().out.split()[:4] == [str(clients), "clients", f"{at_work * 3}", "3.0"]


@pytest.mark.parametrize(
    ("failing", "code"), [("", 0), ("bench.upload", 2), ("bench.audit", 2), ("bench.seal", 2)]
)
def test_make_bench_runs_all_and_fails_if_one_fails(
    failing: str, code: int, tmp_path: Path
) -> None:
    ran, python = tmp_path / "ran", tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$@" >> {ran}\n[ "$2" != "{failing}" ]\n')
    python.chmod(0o700)
    installed = ROOT / ".venv" / ".installed"
    made = subprocess.run(
        ["make", "bench", f"PY={python}", f"INSTALLED={installed}", "-o", installed],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == code, made.stderr
    assert ran.read_text().splitlines() == [
        *("-m bench.seal", "-m bench.upload", "-m bench.load", "-m bench.coldstart"),
        *("-m bench.scale", "-m bench.backup --quick", "-m bench.hostile --quick"),
        "-m bench.audit --quick",
    ]


def test_sizes_have_a_long_tail_and_follow_from_the_seed() -> None:
    chance = random.Random(14)
    sizes = [load.drawn_size(chance) for _ in range(20_000)]
    cuts = statistics.quantiles(sizes, n=100)
    assert 0.9 < cuts[49] / load.MEDIAN_BYTES < 1.1
    assert cuts[98] > 20 * load.MEDIAN_BYTES
    assert max(sizes) <= load.MOST_BYTES
    again = random.Random(14)
    assert [load.drawn_size(again) for _ in range(10)] == sizes[:10]


def test_processor_time_and_switches_are_counted() -> None:
    before = processor.usage(os.getpid())
    switch = threading.Event()
    for _ in range(20):
        switch.wait(0.001)
    while (used := processor.usage(os.getpid()) - before).processor < 0.05:
        sum(range(100_000))
    assert used.waited >= 20
    assert used.user > 0


def test_a_floor_that_is_missed_ends_in_failure(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    report.at_least("fast", 0.9, 0.6)
    report.at_most("small", 10, 20)
    assert report.end() == 0
    report.at_most("errors", 1, 0)
    assert report.end() == 1
    printed = capsys.readouterr().out
    assert "fast: 0.90, at least 0.6: holds by 50%" in printed
    assert "errors: 1.00, at most 0: FAILS" in printed
