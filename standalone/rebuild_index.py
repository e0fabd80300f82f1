"""Rebuild the index of an audit log from its bundles, where the monitor found rows lost or changed.

``python -m standalone.rebuild_index TENANT [--data DIR] [--from POSITION] [--to POSITION]``

The settings are the server's own. Every bundle is proved to be what was signed before a row is made of it.
Ends with 0, with 2 for wrong usage, and with 1 for any other error.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import uvloop

from shared.base.environment import WrongEnvironment
from shared.base.errors import StrongroomError
from shared.wiring.services import get_services
from standalone.data_lock import exclusive_data_folder
from standalone.errors import StartError
from standalone.logs import configure_logging


def main() -> int:
    """Read the command line and rebuild; the value is the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m standalone.rebuild_index",
        description="Rebuild the index of an audit log from its bundles.",
    )
    parser.add_argument("tenant", help="the tenant whose log it is, or operator")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(os.environ.get("STRONGROOM_DATA_DIR") or "data"),
        help="data folder (%(default)s)",
    )
    parser.add_argument("--from", type=int, default=0, dest="start", help="first position (0)")
    parser.add_argument("--to", type=int, dest="end", help="position after the last one")
    arguments = parser.parse_args()

    configure_logging()
    os.environ["STRONGROOM_DATA_DIR"] = str(arguments.data.absolute())
    try:
        with exclusive_data_folder(arguments.data.absolute()):
            return uvloop.run(_rebuild(arguments.tenant, arguments.start, arguments.end))
    except (StartError, StrongroomError, WrongEnvironment, OSError, ValueError) as error:
        sys.stderr.write(f"strongroom: {error}\n")
        return 1


async def _rebuild(tenant: str, start: int, end: int | None) -> int:
    services = get_services()
    try:
        await services.start()
        rebuilt = await services.audit.rebuilder.rebuild(tenant, start, end)
    finally:
        await services.close()
    sys.stdout.write(
        f"{rebuilt.created:,} rows created, {rebuilt.replaced:,} replaced,"
        f" {rebuilt.removed:,} removed.\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
