"""How long a new process takes until it is of use, and what it holds when idle.

    python -m bench.coldstart [--quick] [--scratch FOLDER]

- Indexed: from the start of a process to a list of all functions, as the Functions host asks for
  it, against a process that imports only ``azure.functions``, FastAPI and pydantic.
- First request: from the start of ``python -m standalone`` to the first response of the API, against a
  bare FastAPI app with one route on the same HTTP server. The floor is that of the embedded profile.
- Memory: what a process holds that has run the code; of a server, with its second process, what it holds
  when idle: once two looks a second apart find the same, or after 20 seconds at the latest. The seconds are
  taken before.

Each on both profiles: embedded parts in an empty data folder; and Azure's services as the tests emulate
them on this machine, where Node is there to run them. Who is compared takes turns; a ratio is the median of
the ratios within each round. Modules have been compiled before, as those of an installation are.
Exits 1 if a floor is missed.
"""

import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.profiles import profiles
from bench.report import Report
from bench.servers import (
    ROOT,
    Server,
    free_port,
    read_arguments,
    resident_bytes,
    running,
    scratch_folder,
    strongroom,
)

TIMES_BARE_IMPORTS = 1.35
TIMES_BARE_APP = 1.6
MEBIBYTE = 1_048_576
BARE = "import azure.functions, fastapi, pydantic"
INDEX = "import function_app; function_app.app.get_functions()"
WAIT = "; print(flush=True); input()"
BETWEEN_LOOKS_SECONDS = 1.0
MOST_LOOKS = 20

Took = tuple[float, int]
"""Seconds, and bytes of memory."""


def start(code: str, settings: dict[str, str] | None = None) -> Took:
    """Seconds until a new process has run the code, and the memory that it holds then."""
    begin = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", code + WAIT],
        cwd=ROOT,
        env=os.environ | (settings or {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        if process.stdout is None or process.stdout.readline() != "\n":
            raise RuntimeError("the process ended early")
        took = time.perf_counter() - begin
        held = resident_bytes(process.pid)
        process.communicate("\n")
    return took, held


def first_response(folder: Path, settings: dict[str, str]) -> Took:
    """Seconds until a new server has responded, and the memory that it holds when idle."""
    begin = time.perf_counter()
    with strongroom(folder, settings) as server:
        return time.perf_counter() - begin, idle_bytes(server)


def first_response_of_bare_app(folder: Path) -> Took:
    """The same of the bare app."""
    port, begin = free_port(), time.perf_counter()
    with running(["-m", "bench.peers.bare_api", str(port)], port, folder) as server:
        return time.perf_counter() - begin, idle_bytes(server)


def idle_bytes(server: Server) -> int:
    """The memory of a server once it no longer changes; what it has after ``MOST_LOOKS`` at the latest."""
    before, held = -1, server.resident_bytes()
    for _ in range(MOST_LOOKS):
        if held == before:
            break
        time.sleep(BETWEEN_LOOKS_SECONDS)
        before, held = held, server.resident_bytes()
    return held


@contextlib.contextmanager
def compiled_modules(folder: Path) -> Iterator[None]:
    """Let the processes that are started keep compiled modules, whatever this one was told."""
    before = dict(os.environ)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def measure(
    report: Report, profile: str, settings: dict[str, str], rounds: int, folder: Path
) -> None:
    """Measure one profile and print its rows."""
    imports, index, app, ours = [], [], [], []
    for number in range(-1, rounds):
        # A folder for each server. The first round compiles, and does not count.
        (data := folder / f"{profile}-{number}").mkdir()
        (bare := folder / f"{profile}-{number}-bare").mkdir()
        imports.append(start(BARE))
        index.append(start(INDEX, settings))
        app.append(first_response_of_bare_app(bare))
        ours.append(first_response(data, settings))
    for title, measured, against in (
        ("bare imports", imports, None),
        ("all functions indexed", index, imports),
        ("first response of a bare app", app, None),
        ("first response", ours, app),
    ):
        seconds = statistics.median(took for took, _ in measured[1:])
        memory = statistics.median(held for _, held in measured[1:]) / MEBIBYTE
        times = "" if against is None else f"{ratio(measured, against):.2f}"
        report.row(f"{profile}: {title}", f"{seconds:.2f}", f"{memory:.0f}", times)
    report.at_most(
        f"{profile}: indexed, times the bare imports", ratio(index, imports), TIMES_BARE_IMPORTS
    )
    if profile == "embedded":
        report.at_most(
            f"{profile}: first response, times the bare app's", ratio(ours, app), TIMES_BARE_APP
        )


def ratio(measured: list[Took], against: list[Took]) -> float:
    """The median of the ratios of the rounds that count."""
    pairs = zip(measured[1:], against[1:], strict=True)
    return statistics.median(ours[0] / theirs[0] for ours, theirs in pairs)


def main() -> int:
    arguments = read_arguments("Cold starts on both profiles.", quick="fewer rounds")
    rounds = 5 if arguments.quick else 15
    report = Report()
    with profiles() as found, scratch_folder(arguments.scratch) as folder:
        report.head("seconds", "MiB", "ratio")
        with compiled_modules(folder / "compiled"):
            for profile, settings in found.items():
                chosen = {f"STRONGROOM_{name.upper()}": value for name, value in settings.items()}
                measure(report, profile, chosen, rounds, folder)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
