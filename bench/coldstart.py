"""How long a new process takes until it is of use, and what it holds when idle.

    python -m bench.coldstart [--quick] [--scratch FOLDER]

- Indexed: from the start of a process to a list of all functions, as the Functions host asks for
  it, against a process that imports only ``azure.functions``, FastAPI and pydantic. At most 1.5
  times as long. The two take turns; the ratio is the median of the ratios within each round.
- First request: from the start of ``python -m standalone`` to the first answer of the API.
- Memory: what the process holds then, with nothing to do.

Each on both profiles: embedded parts in an empty data folder; and Azure's services as the tests emulate
them on this machine, where Node is there to run them.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.profiles import profiles
from bench.servers import ROOT, read_arguments, resident_bytes, scratch_folder, strongroom

TIMES_BARE = 1.5
MEBIBYTE = 1_048_576
BARE = "import azure.functions, fastapi, pydantic"
INDEX = "import function_app; function_app.app.get_functions()"
WAIT = "; print(flush=True); input()"


def start(code: str, settings: dict[str, str] | None = None) -> tuple[float, int]:
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
        if process.stdout.readline() != "\n":
            raise RuntimeError("the process ended early")
        took = time.perf_counter() - begin
        held = resident_bytes(process.pid)
        process.communicate("\n")
    return took, held


def first_request(folder: Path, settings: dict[str, str]) -> tuple[float, int]:
    """Seconds until a new server has answered, and the memory that it holds when idle."""
    begin = time.perf_counter()
    with strongroom(folder, settings) as server:
        return time.perf_counter() - begin, server.resident_bytes()


def main() -> int:
    arguments = read_arguments(
        "Cold starts on both profiles.",
        quick="fewer rounds",
    )
    rounds = 5 if arguments.quick else 15
    good = True
    with profiles() as found, scratch_folder(arguments.scratch) as folder:
        print(f"{rounds} rounds, medians{'':22}{'seconds':>10}{'MiB':>8}")
        for profile, settings in found.items():
            chosen = {f"STRONGROOM_{name.upper()}": value for name, value in settings.items()}
            good &= measure(profile, chosen, rounds, folder)
    return 0 if good else 1


def measure(profile: str, settings: dict[str, str], rounds: int, folder: Path) -> bool:
    """Measure one profile and print its rows; whether it is indexed fast enough."""
    start(BARE)
    start(INDEX, settings)
    bare, index, answered = [], [], []
    for number in range(rounds):
        bare.append(start(BARE))
        index.append(start(INDEX, settings))
        (data := folder / f"{profile}-{number}").mkdir()
        answered.append(first_request(data, settings))
    for title, measured in (
        ("bare imports", bare),
        ("all functions indexed", index),
        ("first request answered", answered),
    ):
        seconds = statistics.median(took for took, _ in measured)
        memory = statistics.median(held for _, held in measured) / MEBIBYTE
        print(f"{profile:10}{title:29}{seconds:10.2f}{memory:8.0f}")
    ratio = statistics.median(i[0] / b[0] for i, b in zip(index, bare, strict=True))
    holds = ratio <= TIMES_BARE
    verdict = "holds" if holds else "FAILS"
    print(
        f"{profile:10}indexed in at most {TIMES_BARE} times the bare imports: {ratio:.2f} {verdict}"
    )
    return holds


if __name__ == "__main__":
    sys.exit(main())
