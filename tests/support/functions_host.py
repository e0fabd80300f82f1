"""The side of the Functions host, to Azure's Python worker in a process of its own.

What it sends is what the host sends (github.com/Azure/azure-functions-host): the bindings' raw values with
their trigger metadata, and for HTTP an empty message, while the request itself goes to the worker's own
server under the id of the invocation (``DefaultHttpProxyService``).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import uuid
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx

from shared.ports.bus import Delivery
from tests.support.process import ROOT, environment
from tests.support.required import require

PACKAGES: Final = ROOT / ".functions-worker"
"""Where ``make test`` installs what ``requirements-worker.txt`` pins."""

ROUTE_PREFIX: Final = json.loads((ROOT / "host.json").read_text())["extensions"]["http"][
    "routePrefix"
]
PEER: Final = "10.20.0.4"
"""Who spoke to the host: a gateway. Where the request came from before that, the host does not pass on."""

SUCCESS: Final = 1
SECONDS: Final = 60


def require_worker() -> None:
    """Azure's worker must be installed; see ``require``."""
    require(PACKAGES.exists(), "Azure's Python worker is not installed; make test installs it")


class FunctionsHost(httpx.BaseTransport):
    """A worker with the app indexed and loaded; a transport that forwards requests to it.

    Args:
        app: The folder with the function app.
        folder: Where the worker runs and logs.
        settings: App settings, without their prefix.
    """

    def __init__(self, app: Path, folder: Path, **settings: str) -> None:
        self._app = app
        self._folder = folder
        self._waiting: dict[str, Future[dict[str, Any]]] = {}
        self._sending = threading.Lock()
        with (folder / "worker.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(ROOT / "tests" / "support" / "functions_worker.py")],
                cwd=folder,
                env=environment(**settings)
                | {
                    "PYTHONPATH": os.pathsep.join((str(PACKAGES), str(app))),
                    "PYTHON_ENABLE_INIT_INDEXING": "1",
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()
        self.capabilities: dict[str, str] = {}
        self.functions: dict[str, dict[str, Any]] = {}
        self._http = httpx.HTTPTransport()

    def start(self) -> None:
        """Initialize the worker, ask for the functions of the app, and load each."""
        directory = str(self._app)
        init = self.ask("worker_init_request", function_app_directory=directory, capabilities={})
        self.capabilities = init["capabilities"]
        found = self.ask("functions_metadata_request", function_app_directory=directory)
        assert not found["use_default_metadata_indexing"]
        self.functions = {each["name"]: each for each in found["function_metadata_results"]}
        for function in self.functions.values():
            self.ask(
                "function_load_request", function_id=function["function_id"], metadata=function
            )

    def kill(self) -> None:
        """End the worker as a crash does; the host goes on."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End the worker, as the host ends it."""
        self._http.close()
        self.kill()
        self._listener.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    @property
    def pid(self) -> int:
        """The worker's process."""
        return self._process.pid

    def log(self) -> str:
        """Everything that the worker and the app wrote."""
        return (self._folder / "worker.log").read_text()

    def bindings(self, function: str) -> list[dict[str, Any]]:
        """The bindings of a function, as the host reads them from the worker."""
        return [json.loads(raw) for raw in self.functions[function]["raw_bindings"]]

    def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Send a message; its answer, which must tell of success."""
        return self._successful(self._send(kind, **fields))

    def deliver(self, function: str, delivery: Delivery) -> None:
        """Invoke a Service Bus function with a message."""
        text = {
            "ContentType": "application/cloudevents+json",
            "LockToken": delivery.lock_token,
            "MessageId": delivery.message_id,
            "SessionId": delivery.session_id,
        }
        data = {
            "ApplicationProperties": {},
            "DeliveryCount": delivery.delivery_count,
            "EnqueuedTimeUtc": delivery.enqueued_at.isoformat(),
            "LockedUntil": delivery.locked_until.isoformat(),
            "UserProperties": {},
        }
        metadata = {name: {"string": value} for name, value in text.items()}
        metadata |= {name: {"json": json.dumps(value)} for name, value in data.items()}
        self._successful(self._invoke(function, {"string": delivery.body.decode()}, metadata))

    def fire(self, function: str) -> None:
        """Invoke a timer function."""
        now = datetime.now(UTC).isoformat()
        status = {"Last": now, "LastUpdated": now, "Next": now}
        timer = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": False}
        self._successful(self._invoke(function, {"json": json.dumps(timer)}))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Forward a request to the worker's server, and invoke the function of its route."""
        found = [
            (name, match["path"])
            for name in self.functions
            for binding in self.bindings(name)
            if binding["type"] == "httpTrigger" and request.method in binding["methods"]
            if (match := _route(binding["route"]).fullmatch(request.url.path))
        ]
        if not found:
            return httpx.Response(404)
        [(function, path)] = found
        http = {"method": "", "url": "", "headers": {}, "query": {}, "params": {"path": path or ""}}
        invocation = str(uuid.uuid4())
        request.headers["x-ms-invocation-id"] = invocation
        # An absent body is a TypedData of which nothing is set.
        invoked = self._invoke(function, {"http": http | {"body": {}}}, invocation=invocation)
        server = httpx.URL(self.capabilities["HttpUri"])
        request.headers["Host"] = server.netloc.decode()
        request.headers["X-Forwarded-For"] = PEER
        request.url = server.join(request.url.raw_path.decode())
        try:
            return self._http.handle_request(request)
        finally:
            self._successful(invoked)  # a client that left does not keep the function running

    def _invoke(
        self,
        function: str,
        value: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        invocation: str | None = None,
    ) -> Future[dict[str, Any]]:
        [trigger] = [each for each in self.bindings(function) if "Trigger" in each["type"]]
        return self._send(
            "invocation_request",
            invocation_id=invocation or str(uuid.uuid4()),
            function_id=self.functions[function]["function_id"],
            input_data=[{"name": trigger["name"], "data": value}],
            trigger_metadata=metadata or {},
            trace_context={"trace_parent": "", "trace_state": "", "attributes": {}},
            retry_context={"retry_count": 0, "max_retry_count": 0, "exception": None},
        )

    def _send(self, kind: str, **fields: Any) -> Future[dict[str, Any]]:
        assert self._process.stdin is not None
        name = str(uuid.uuid4())
        answer = self._waiting[name] = Future()
        message = json.dumps({"id": name, kind: fields}) + "\n"
        with self._sending:
            self._process.stdin.write(message)
            self._process.stdin.flush()
        return answer

    def _successful(self, answer: Future[dict[str, Any]]) -> dict[str, Any]:
        message = answer.result(SECONDS)
        assert message["result"]["status"] == SUCCESS, message["result"]["exception"]
        return message

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            self._waiting.pop(message["id"]).set_result(message["answer"])
        for answer in self._waiting.values():
            answer.set_exception(EOFError(f"the worker ended:\n{self.log()[-3_000:]}"))


def _route(route: str) -> re.Pattern[str]:
    """The paths below the prefix that a route takes: ``{*path}`` is any rest, or none."""
    below = re.escape(f"/{ROUTE_PREFIX}/{route.removesuffix('/{*path}')}")
    return re.compile(f"{below}(?:/(?P<path>.*))?")
