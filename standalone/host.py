"""The host: runs a function app on one machine until it is told to stop."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import azure.functions as func
import uvicorn
from starlette.types import ASGIApp

from shared.base.activity import Activity
from shared.ports.bus import EventSource
from shared.ports.clock import Clock, SystemClock
from standalone.connections import Connections, connection_limit, raise_open_files
from standalone.errors import StartError
from standalone.frontend import Frontend, LimitedHttpProtocol
from standalone.pump import MessagePump
from standalone.reclaiming import reclaim_memory
from standalone.routes import RouteTable
from standalone.timers import Timers
from standalone.triggers import read_functions

_logger = logging.getLogger("standalone.host")

BACKLOG: Final = 4_096
"""A burst of one client's connections must not fill it: whoever comes then would wait for seconds."""

KEEP_ALIVE_SECONDS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What to run, and how.

    Attributes:
        app: The function app; its triggers say what runs.
        api: The ASGI app behind its HTTP functions.
        source: Where the messages for its Service Bus functions come from.
        startup: Opens the stores, before anything runs.
        shutdown: Closes them, after everything has ended.
        address: The address to listen at, such as ``127.0.0.1``.
        port: The port to listen at; 0: any free one.
        settings: App settings by name, for schedules given as ``%NAME%``.
        route_prefix: The ``routePrefix`` of host.json.
        on_ready: Called with the base URL once requests are taken.
        mounts: ASGI apps of the host's own by path prefix, such as ``/staged``.
        background: Runs messages and timers elsewhere until its event is set, which is when the last
            request has finished; None: they run here.
        behind_proxies: Whether clients come through proxies of ours, whose connections are not limited.
        concurrency: Messages of one subscription in work at once.
        grace_seconds: How long requests, messages and timer runs may go on after the stop.
        clock: The time of day.
        activity: Counts requests and messages.
    """

    app: func.FunctionApp
    api: ASGIApp
    source: EventSource
    startup: Callable[[], Awaitable[None]]
    shutdown: Callable[[], Awaitable[None]]
    address: str
    port: int
    settings: Mapping[str, str]
    route_prefix: str
    on_ready: Callable[[str], None]
    mounts: Mapping[str, ASGIApp] = field(default_factory=dict)
    background: Callable[[asyncio.Event], Coroutine[None, None, None]] | None = None
    behind_proxies: bool = False
    concurrency: int = 8
    grace_seconds: int = 30
    clock: Clock = field(default_factory=SystemClock)
    activity: Activity = field(default_factory=Activity)

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT, then finish what is in work; a second signal ends at once.

        Raises:
            StartError: The host cannot start: the port is taken, or a trigger is not one that it can
                run.
        """
        functions = read_functions(self.app)
        routes = RouteTable(self.api, functions.http, prefix=self.route_prefix, mounts=self.mounts)
        timers = Timers(
            functions.timers,
            settings=self.settings,
            clock=self.clock,
            grace_seconds=self.grace_seconds,
        )
        pump = MessagePump(
            self.source,
            functions.messages,
            clock=self.clock,
            concurrency=self.concurrency,
            grace_seconds=self.grace_seconds,
            activity=self.activity,
        )
        stopping, served = asyncio.Event(), asyncio.Event()
        most = connection_limit(raise_open_files())
        connections = Connections(most, shared=self.behind_proxies)
        with _listening(self.address, self.port) as listener:
            server = _Server(
                self._config(routes, connections), lambda: self.on_ready(_base_url(listener))
            )

            def stop() -> None:
                stopping.set()
                server.should_exit = True

            with _on_first_signal(stop):
                await self.startup()
                try:
                    async with asyncio.TaskGroup() as group:
                        if self.background is None:
                            group.create_task(pump.run(stopping))
                            group.create_task(timers.run(stopping))
                        else:
                            group.create_task(self.background(served))
                        group.create_task(reclaim_memory(stopping))
                        await server.serve(sockets=[listener])
                        served.set()
                finally:
                    await self._shut_down()

    async def _shut_down(self) -> None:
        """Close the stores; where one does not end, such as on a disk that hangs, go on to the end."""
        try:
            await asyncio.wait_for(self.shutdown(), self.grace_seconds)
        except TimeoutError:
            _logger.error("stores not closed in %d seconds", self.grace_seconds)

    def _config(self, routes: RouteTable, connections: Connections) -> uvicorn.Config:
        return uvicorn.Config(
            Frontend(routes, self.activity),
            # uvicorn takes what makes a protocol, and declares no more than its class.
            http=partial(  # type: ignore[arg-type]
                LimitedHttpProtocol, connections=connections, activity=self.activity
            ),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # The API decides for itself, by a setting, how many proxies to believe.
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=self.grace_seconds,
        )


class _Server(uvicorn.Server):
    """uvicorn's server, telling when it is ready and leaving signals to the host."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()


@contextmanager
def _on_first_signal(stop: Callable[[], None]) -> Iterator[None]:
    """Stop in good order at the first SIGTERM or SIGINT; a second one has its usual effect."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)

    def stop_once() -> None:
        for number in signals:
            loop.remove_signal_handler(number)
        stop()

    for number in signals:
        loop.add_signal_handler(number, stop_once)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


@contextmanager
def _listening(address: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listener = socket.create_server((address, port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = "it is in use" if error.errno == errno.EADDRINUSE else error.strerror
        raise StartError(
            f"Cannot listen at {address}, port {port}: {reason}. Choose another address or port."
        ) from None
    with listener:
        yield listener


def _base_url(listener: socket.socket) -> str:
    address, port, *_ = listener.getsockname()
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
