"""Run the demo: ``python -m standalone.demo [FILE]``.

It exits with 0, and its last line is ``demo: ok``, only if every promise held. However it ends, the
server is stopped and the scratch folder removed.
"""

from __future__ import annotations

import argparse
import errno
import pydoc_data.topics
import signal
import stat
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Final

import httpx

from standalone.demo.contents import Content
from standalone.demo.report import PromiseBroken, console, fail
from standalone.demo.server import server
from standalone.demo.stages import Demo

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Run the demo; the value is the exit code."""
    parser = argparse.ArgumentParser(
        prog="make demo", description="Send a file through everything that Strongroom promises."
    )
    parser.add_argument("file", nargs="?", type=Path, default=Path(pydoc_data.topics.__file__))
    path: Path = parser.parse_args().file
    try:
        size = _size(path)
    except OSError as error:
        sys.stderr.write(f"demo: cannot read {path}: {error.strerror}\n")
        return 2
    if not size:
        sys.stderr.write(f"demo: {path} is empty; choose a file with something in it\n")
        return 2
    for each in SIGNALS:
        signal.signal(each, _interrupt)
    try:
        with tempfile.TemporaryDirectory(prefix="strongroom-demo-") as scratch:
            data = Path(scratch) / "data"
            larger = Content.larger(path, size)
            with server(data, larger.size) as base_url:
                Demo(base_url, data, Content.of(path, size), larger).run()
    except (PromiseBroken, httpx.HTTPError) as error:
        fail(str(error) or type(error).__name__)
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("demo: interrupted; its server was stopped and its folder deleted\n")
        return 130
    console.print("demo: ok")
    return 0


def _size(path: Path) -> int:
    """The size of a file that can be read.

    Raises:
        OSError: It cannot, or it is no file.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a file")
    path.open("rb").close()
    return status.st_size


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # nothing may interrupt the clearing up
    raise KeyboardInterrupt


sys.exit(main())
