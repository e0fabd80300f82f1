"""The second process of a server: messages and timers, over the data folder of the first.

``python -m standalone.background PARENT PIPE`` is for the first one alone to start: the number of its
process, and the descriptor of a pipe. A byte in the pipe wakes the receivers of a subscription, or ends the
process in good order; the end of the pipe is the end of the first process. The stores exist, and belong to
this environment: the first process has made sure of both.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1
BEHIND_REQUESTS: Final = 10
"""How much nicer than the first process: somebody waits for a request, and nobody for its replica. Not
nicer still: requests wait, too, while this process commits, and under load that never ends replicas would
fall behind without end."""

CONCURRENCY: Final = 8
"""Messages of one subscription in work at once: a few MiB each where content is large."""

GATHER_SECONDS: Final = 0.1
"""Nobody waits for a replica, so messages come together for it; one that comes alone is handled at once."""

GRACE_SECONDS: Final = 30


def main() -> None:
    """Run until the first process says stop, or is gone."""
    parent, pipe = int(sys.argv[1]), int(sys.argv[2])
    die_with(parent)
    os.nice(BEHIND_REQUESTS)
    # Whoever stops a group of processes stops the first, which stops this one once its requests are done.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)

    # What takes a second to import comes after what must not wait.
    import uvloop

    from standalone.logs import configure_logging

    configure_logging()
    try:
        uvloop.run(_run(pipe))
    except Exception as error:
        # As a line of the log, which quotes nothing.
        logging.getLogger("standalone.background").error(
            "background process failed", exc_info=error
        )
        sys.exit(1)


def die_with(parent: int) -> None:
    """End this process when that of the number ends, which must be its parent; at once if it has ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


async def _run(pipe: int) -> None:
    from function_app import app
    from shared.adapters.embedded.bus import SqliteBus
    from shared.wiring.services import get_services
    from standalone.errors import StartError
    from standalone.process import app_settings, use_threads
    from standalone.pump import MessagePump
    from standalone.reclaiming import reclaim_memory
    from standalone.timers import Timers
    from standalone.triggers import read_functions

    use_threads()
    services = get_services()
    # Later, while this process had its turn to write, requests would wait for an import.
    services.build_all()
    source, clock = services.adapters.source, services.runtime.clock
    if not isinstance(source, SqliteBus):
        raise StartError("The background process needs the embedded profile.")
    functions = read_functions(app)
    pump = MessagePump(
        source,
        functions.messages,
        clock=clock,
        concurrency=CONCURRENCY,
        grace_seconds=GRACE_SECONDS,
        activity=services.adapters.activity,
        gather_seconds=GATHER_SECONDS,
    )
    timers = Timers(
        functions.timers,
        settings=app_settings(services.settings),
        clock=clock,
        grace_seconds=GRACE_SECONDS,
    )
    stopping = asyncio.Event()
    names = [part.name for part in services.topology.subscriptions]

    def hear() -> None:
        told = os.read(pipe, 65_536)
        if not told:
            os._exit(1)
        for byte in set(told):
            if byte < len(names):
                source.wake(names[byte])
            else:
                stopping.set()

    asyncio.get_running_loop().add_reader(pipe, hear)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(pump.run(stopping))
            group.create_task(timers.run(stopping))
            group.create_task(reclaim_memory(stopping))
    finally:
        await services.close()


if __name__ == "__main__":
    main()
