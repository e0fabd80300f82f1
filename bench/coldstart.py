"""How long a new process takes until it is of use, and what it holds when idle.

    python -m bench.coldstart [--quick] [--scratch FOLDER]

- Indexed: from the start of a process to a list of all functions, as the Functions host asks for
  it, against a process that imports only ``azure.functions``, FastAPI and pydantic. At most 1.5
  times as long. The two take turns; the ratio is the median of the ratios within each round.
- First request: from the start of ``python -m standalone`` on embedded parts, with an empty data
  folder, to the first answer of the API.
- Memory: what the process holds then, with nothing to do.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.servers import ROOT, resident_bytes, scratch_folder, strongroom

TIMES_BARE = 1.5
MEBIBYTE = 1_048_576
BARE = "import azure.functions, fastapi, pydantic"
INDEX = "import function_app; function_app.app.get_functions()"
WAIT = "; print(flush=True); input()"


def start(code: str) -> tuple[float, int]:
    """Seconds until a new process has run the code, and the memory that it holds then."""
    begin = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", code + WAIT],
        cwd=ROOT,
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


def first_request(folder: Path) -> tuple[float, int]:
    """Seconds until a new server has answered, and the memory that it holds when idle."""
    begin = time.perf_counter()
    with strongroom(folder) as server:
        return time.perf_counter() - begin, server.resident_bytes()


def main() -> int:
    parser = argparse.ArgumentParser(description="Cold starts, embedded profile.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument(
        "--scratch", type=Path, default=Path("/var/tmp"), help="folder on a disk (%(default)s)"
    )
    arguments = parser.parse_args()
    rounds = 5 if arguments.quick else 15

    start(BARE)
    start(INDEX)
    bare, index, answered = [], [], []
    with scratch_folder(arguments.scratch) as folder:
        for number in range(rounds):
            bare.append(start(BARE))
            index.append(start(INDEX))
            (data := folder / str(number)).mkdir()
            answered.append(first_request(data))

    ratio = statistics.median(i[0] / b[0] for i, b in zip(index, bare, strict=True))
    print(f"{rounds} rounds, medians{'':12}{'seconds':>10}{'MiB':>8}")
    for title, measured in (
        ("bare imports", bare),
        ("all functions indexed", index),
        ("first request answered", answered),
    ):
        seconds = statistics.median(took for took, _ in measured)
        memory = statistics.median(held for _, held in measured) / MEBIBYTE
        print(f"{title:29}{seconds:10.2f}{memory:8.0f}")
    verdict = "holds" if ratio <= TIMES_BARE else "FAILS"
    print(f"indexed in at most {TIMES_BARE} times the bare imports: {ratio:.2f} {verdict}")
    return 0 if ratio <= TIMES_BARE else 1


if __name__ == "__main__":
    sys.exit(main())
