"""Run Strongroom on this machine.

``python -m standalone [--host ADDRESS] [--port PORT] [--data DIR]``
"""

from __future__ import annotations

import gc
import sys


def main() -> int:
    """Run the command; the value is the exit code."""
    # Imports make many objects and no garbage: looking for it would be a tenth of the start. The command
    # lets the collector work once everything is there.
    gc.disable()
    from standalone.command import main as run

    return run()


sys.exit(main())
