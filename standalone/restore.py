"""Restore the whole service from its backups, into an empty environment and before it runs there.

``python -m standalone.restore [--data DIR] [--at TIME] [--plan] [--yes]``

The settings are the server's own. Nothing is written before the plan is confirmed, but for the key vault of
the embedded profile: if it is gone, its copy beside the backups takes its place. Ends with 0, with 3 if
something could not be restored, with 2 for wrong usage, and with 1 for any other error.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from shared.base.environment import WrongEnvironment
from shared.base.errors import StrongroomError
from shared.restore.whole import TenantOutcome, TenantPlan
from shared.wiring.embedded import key_vault_mirror
from shared.wiring.services import Services, get_services
from shared.wiring.settings import get_settings
from standalone.data_lock import exclusive_data_folder
from standalone.errors import StartError
from standalone.logs import configure_logging

PROBLEMS = 3


def main() -> int:
    """Read the command line and restore; the value is the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m standalone.restore",
        description="Restore the whole service from its backups, into an empty environment.",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(os.environ.get("STRONGROOM_DATA_DIR") or "data"),
        help="data folder (%(default)s)",
    )
    parser.add_argument("--at", type=_time, help="the latest moment to restore (ISO 8601)")
    parser.add_argument("--plan", action="store_true", help="show the plan, restore nothing")
    parser.add_argument("--yes", action="store_true", help="restore without asking")
    arguments = parser.parse_args()

    configure_logging()
    os.environ["STRONGROOM_DATA_DIR"] = str(arguments.data.absolute())
    try:
        with exclusive_data_folder(arguments.data.absolute()):
            if get_settings().profile == "embedded" and key_vault_mirror(get_settings()).recover():
                _say("The key vault was gone; its copy beside the backups took its place.")
            return uvloop.run(_restore(arguments.at, plan=arguments.plan, yes=arguments.yes))
    except (StartError, StrongroomError, WrongEnvironment, OSError, ValueError) as error:
        sys.stderr.write(f"strongroom: {error}\n")
        return 1


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("a time is written 2026-11-26T17:00:00Z") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


async def _restore(at: datetime | None, *, plan: bool, yes: bool) -> int:
    services = get_services()
    try:
        await services.start()
        plans = await services.backups.whole.plan(at)
        for each in plans:
            _say(_planned(each))
        versions = sum(each.versions for each in plans)
        size = sum(each.bytes for each in plans)
        _say(f"In all: {len(plans) - 1} tenants, {versions:,} versions, {size:,} bytes.")
        if plan:
            return 0
        if not yes and not await asyncio.to_thread(_confirmed):
            _say("Nothing was restored.")
            return 0
        return await _run(services, at, [each.tenant for each in plans])
    finally:
        await services.close()


async def _run(services: Services, at: datetime | None, tenants: Sequence[str]) -> int:
    outcomes = await services.backups.whole.restore(at, lambda each: _say(_done(each)))
    for tenant in tenants:
        await services.target_queue.look_again(tenant)
    problems = [(each, problem) for each in outcomes for problem in each.outcome.problems]
    for each, problem in problems:
        what = f" version {problem.version}" if problem.version else ""
        _say(f"not restored: {each.tenant} {problem.document}{what}: {problem.problem}")
    _say("Restored. Start the server; it makes replicas and new sets by itself.")
    return PROBLEMS if problems else 0


def _confirmed() -> bool:
    return input("Restore this? [y/N] ").strip().lower() in {"y", "yes"}


def _planned(plan: TenantPlan) -> str:
    if not plan.set:
        return f"{plan.tenant}: no set of that time can be read"
    made_at = plan.point_in_time.isoformat() if plan.point_in_time else ""
    return f"{plan.tenant}: as of {made_at}, {plan.versions:,} versions, {plan.bytes:,} bytes"


def _done(done: TenantOutcome) -> str:
    outcome = done.outcome
    return (
        f"{done.tenant}: {outcome.documents:,} documents, {outcome.versions:,} contents,"
        f" {outcome.records:,} other records, {outcome.problem_count:,} problems"
    )


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
