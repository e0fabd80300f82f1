"""The HTTP-triggered functions and the API say the same, and only a request pays for the API."""

from __future__ import annotations

import subprocess
import sys

import function_app
from functions import http
from functions.api import app, pages
from standalone.triggers import read_functions


def below(path: str) -> str:
    """What a path names below that of the API."""
    prefix = f"{app.PREFIX}/"
    assert path.startswith(prefix)
    return path.removeprefix(prefix)


def paths(router_paths: list[str]) -> set[str]:
    return {path.split("/")[0] for path in router_paths}


def test_each_router_has_exactly_one_function() -> None:
    prefixes = [below(app.module_of(name).router.prefix) for name in app.CAPABILITIES]
    assert prefixes == list(app.CAPABILITIES), "by which the API knows whose a request is"
    assert sorted(http.CAPABILITIES) == sorted(prefixes)
    assert sorted(http.PAGES) == sorted(paths([below(route.path) for route in pages.router.routes]))  # type: ignore[attr-defined]


def test_every_route_is_let_through_by_its_function() -> None:
    methods = {
        method
        for module in (*map(app.module_of, app.CAPABILITIES), pages)
        for route in module.router.routes
        for method in route.methods
    }
    assert methods <= set(http.METHODS)
    declared = read_functions(function_app.app).http
    assert sorted(function.route for function in declared) == sorted(
        f"v1/{path}/{{*path}}" for path in (*http.CAPABILITIES, *http.PAGES)
    )
    assert all(function.methods == set(http.METHODS) for function in declared)


def test_indexing_does_not_import_what_only_requests_need() -> None:
    script = (
        "import sys, function_app; function_app.app.get_functions(); "
        "print(*(name for name in ('functions.api.app', 'joserfc.jwe', 'sqlite3', 'uvloop') "
        "if name in sys.modules))"
    )
    indexed = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert indexed.stdout.strip() == ""
