"""What the Functions host sees when it indexes the app, and its HTTP functions as the worker runs them."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
import typing
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import fastapi
import httpx
import pytest
from azure.functions.decorators.function_app import Function
from azurefunctions.extensions.http.fastapi import Request, StreamingResponse
from fastapi.routing import iter_route_contexts

import functions.http
from functions.api.app import create_api
from shared.ports.clock import SystemClock
from shared.wiring.settings import Settings
from standalone.timers import Timers
from standalone.triggers import read_functions
from tests.support.app import App, open_app
from tests.support.process import ROOT
from tests.support.serving import serving

CONTENT = bytes(range(256)) * 10_000
TOPOLOGY = json.loads((ROOT / "infra/topology.json").read_text())
HOST = json.loads((ROOT / "host.json").read_text())
SAMPLE: dict[str, str] = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]


@pytest.fixture
def indexed() -> list[Function]:
    """What the indexer gets from function_app.py, as it is loaded for it."""
    found: list[Function] = runpy.run_path(str(ROOT / "function_app.py"))["app"].get_functions()
    return found


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with open_app(tmp_path / "data") as app:
        yield app


def bindings(function: Function) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = function.get_bindings_dict()["bindings"]
    return found


def triggers(indexed: list[Function], kind: str) -> dict[str, dict[str, Any]]:
    """The trigger binding of each function that has one of this kind, by the function's name."""
    return {
        function.get_function_name(): binding  # type: ignore[misc]
        for function in indexed
        for binding in bindings(function)
        if binding["type"] == kind
    }


def route_pattern(trigger: dict[str, Any]) -> re.Pattern[str]:
    """The paths that the host routes to a function: ``{*rest}`` takes any rest, or none."""
    prefix = HOST["extensions"]["http"]["routePrefix"]
    assert trigger["route"].endswith("/{*path}")
    return re.compile(
        re.escape(f"/{prefix}/{trigger['route'].removesuffix('/{*path}')}") + "(/.*)?"
    )


def test_every_function_has_a_name_of_its_own_and_one_trigger(indexed: list[Function]) -> None:
    names = Counter(function.get_function_name() for function in indexed)
    assert set(names.values()) == {1}
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,126}", name) for name in names)  # type: ignore[arg-type]
    for function in indexed:
        kinds = [each["type"] for each in bindings(function) if each["type"].endswith("Trigger")]
        assert len(kinds) == 1, function.get_function_name()


def test_indexing_imports_no_sdk() -> None:
    """Each is imported by its adapter when first used, so a cold start does not pay for it."""
    code = (
        "import sys, function_app; function_app.app.get_functions(); "
        "print(*(name for name in sys.modules if name.startswith('azure.')))"
    )
    indexing = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    imported = {".".join(name.split(".")[:2]) for name in indexing.stdout.split()}
    assert imported == {"azure.functions"}


def test_the_worker_streams_into_every_http_function(indexed: list[Function]) -> None:
    """It does so where the trigger's argument has the extension's type, and then needs it everywhere."""
    http = triggers(indexed, "httpTrigger")
    handlers = {each.get_function_name(): each.get_user_function() for each in indexed}
    for name, trigger in http.items():
        hints = typing.get_type_hints(handlers[name])
        assert (hints[trigger["name"]], hints["return"]) == (Request, StreamingResponse), name
        assert trigger["authLevel"].value == "anonymous"
    assert SAMPLE["PYTHON_ENABLE_INIT_INDEXING"] == "1"


def test_service_bus_triggers_agree_with_the_topology(indexed: list[Function]) -> None:
    declared = {
        (trigger["topicName"], trigger["subscriptionName"], trigger.get("isSessionsEnabled", False))
        for trigger in triggers(indexed, "serviceBusTrigger").values()
    }
    assert declared == {
        (topic["name"], subscription["name"], subscription["sessions"])
        for topic in TOPOLOGY["topics"]
        for subscription in topic["subscriptions"]
    }
    for trigger in triggers(indexed, "serviceBusTrigger").values():
        assert f"{trigger['connection']}__fullyQualifiedNamespace" in SAMPLE


@pytest.mark.parametrize("source", ["the defaults", "the sample"])
def test_every_schedule_is_a_setting_that_holds_an_expression(source: str) -> None:
    settings = SAMPLE
    if source == "the defaults":
        settings = {
            f"STRONGROOM_{name.upper()}": str(field.default)
            for name, field in Settings.model_fields.items()
        }
    app = runpy.run_path(str(ROOT / "function_app.py"))["app"]
    timers = read_functions(app).timers
    assert sorted(timer.schedule for timer in timers) == sorted(
        f"%STRONGROOM_{name.upper()}%"
        for name in Settings.model_fields
        if name.endswith("_schedule")
    )
    # It refuses what is no NCRONTAB expression, or what never occurs.
    Timers(timers, settings=settings, clock=SystemClock(), grace_seconds=0)


@pytest.mark.anyio
async def test_every_route_of_the_api_has_exactly_one_function(
    indexed: list[Function], app: App
) -> None:
    http = triggers(indexed, "httpTrigger")
    used: set[tuple[str, str]] = set()
    routes = list(iter_route_contexts(create_api(app.services).routes))
    assert len(routes) > 20
    for route in routes:
        path = re.sub(r"\{\w+(:path)?\}", "value", str(route.path))
        for method in route.methods or ():
            taking = [
                name
                for name, trigger in http.items()
                if route_pattern(trigger).fullmatch(path)
                and method in {each.value for each in trigger["methods"]}
            ]
            assert len(taking) == 1, f"{method} {route.path} reaches {taking}"
            used.add((taking[0], method))
    idle = set(http) - {name for name, _ in used}
    assert not idle, f"no route of the API is behind {idle}"


@pytest.mark.anyio
async def test_contents_pass_through_the_functions_both_ways(
    indexed: list[Function], app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker serves with uvicorn and gives each function the request of its own route."""
    api = create_api(app.services)
    monkeypatch.setattr(functions.http, "get_api", lambda: api)
    handlers = {each.get_function_name(): each.get_user_function() for each in indexed}
    doors = [
        (route_pattern(trigger), {each.value for each in trigger["methods"]}, name, trigger["name"])
        for name, trigger in triggers(indexed, "httpTrigger").items()
    ]
    ran: list[str] = []
    worker = fastapi.FastAPI()

    @worker.api_route("/{path:path}", methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
    async def catch_all(request: fastapi.Request) -> Any:
        [(name, argument)] = [
            (name, argument)
            for pattern, methods, name, argument in doors
            if pattern.fullmatch(request.url.path) and request.method in methods
        ]
        ran.append(name)
        return await handlers[name](**{argument: request})

    auth = await app.auth(await app.tenant("acme"))
    async with (
        serving(worker) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/api/v1", headers=auth) as http,
    ):
        uploaded = await http.post(
            "documents",
            content=CONTENT,
            headers={"Content-Disposition": 'attachment; filename="paper.bin"'},
        )
        assert uploaded.status_code == 201
        document = uploaded.json()["id"]
        opened = await http.get(f"documents/{document}/content")
        assert (opened.status_code, opened.content) == (200, CONTENT)
        part = await http.get(f"documents/{document}/content", headers={"Range": "bytes=5-9"})
        assert (part.status_code, part.content) == (206, CONTENT[5:10])
        assert (await http.head(f"documents/{document}/content")).status_code == 200
        for path in ("health", "openapi.json", "docs", "docs/swagger-ui.css", "auth/account"):
            assert (await http.get(path)).status_code == 200, path
        of_a_tenant = (
            "users",
            "policy",
            "documents",
            "targets",
            "backups",
            "restores",
            "audit",
            "webhooks",
            "grants",
            "reviews",
        )
        for path in (*of_a_tenant, f"uploads/upl_{'0' * 26}"):
            assert (await http.get(path)).status_code in {200, 404}, path
        for path in ("tenants", "staff-grants", "dead-letters?subscription=audit"):
            assert (await http.get(path)).status_code == 403, path
    assert set(ran) == {name for _, _, name, _ in doors}
