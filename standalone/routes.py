"""Which requests there is a function for, by the route templates of the HTTP triggers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from azure.functions.decorators.http import HttpMethod
from starlette.types import ASGIApp

from standalone.errors import StartError
from standalone.triggers import HttpFunction

_DECLARABLE: Final = frozenset(method.value for method in HttpMethod)

_PARAMETER: Final = re.compile(r"\{(?P<rest>\*)?\w+\}")


@dataclass(frozen=True, slots=True)
class Match:
    """Where a request goes: the route template that it matched, for the log, and the app."""

    template: str
    app: ASGIApp


@dataclass(frozen=True, slots=True)
class _Route:
    template: str
    pattern: re.Pattern[str]
    methods: frozenset[str]
    app: ASGIApp


class RouteTable:
    """Finds the app for a method and a path.

    Args:
        api: The app behind every HTTP function.
        functions: The HTTP functions, whose routes and methods alone are let through.
        prefix: The ``routePrefix`` of host.json.
        mounts: Apps of the host's own by path prefix, such as ``/staged``. They get every method
            and the whole path.

    Attributes:
        api: The same.

    Raises:
        StartError: A route template has a form that the host does not know.
    """

    def __init__(
        self,
        api: ASGIApp,
        functions: Sequence[HttpFunction],
        *,
        prefix: str,
        mounts: Mapping[str, ASGIApp],
    ) -> None:
        self.api = api
        self._routes = [
            _route("/".join(part for part in (prefix, function.route) if part), function, api)
            for function in functions
        ]
        self._routes += [
            _Route(template, _pattern(template), frozenset(), app)
            for template, app in ((f"{path}/{{*path}}", app) for path, app in mounts.items())
        ]

    def match(self, method: str, path: str) -> Match | None:
        """The route for a request; None where no function declares one."""
        for route in self._routes:
            # A method that no function can declare, such as TRACE, the API refuses with 405.
            taken = not route.methods or method in route.methods or method not in _DECLARABLE
            if taken and route.pattern.fullmatch(path):
                return Match(route.template, route.app)
        return None


def _route(path: str, function: HttpFunction, app: ASGIApp) -> _Route:
    template = "/" + path
    try:
        return _Route(template, _pattern(template), function.methods, app)
    except ValueError as error:
        raise StartError(f"The function {function.name}: {error}") from None


def _pattern(template: str) -> re.Pattern[str]:
    """The template as a regular expression; ``{*rest}`` at the end takes any rest, or none."""
    expression = ""
    segments = template.strip("/").split("/")
    for position, segment in enumerate(segments, start=1):
        parameter = _PARAMETER.fullmatch(segment)
        if parameter is None and not set("{}").isdisjoint(segment):
            raise ValueError(
                f"the route segment {segment} is neither a name nor {{name}}, {{*name}}"
            )
        if parameter is None:
            expression += "/" + re.escape(segment)
        elif not parameter["rest"]:
            expression += "/[^/]+"
        elif position == len(segments):
            expression += "(/.*)?"
        else:
            raise ValueError(f"the route segment {segment} can only be the last")
    return re.compile(expression, re.DOTALL)
