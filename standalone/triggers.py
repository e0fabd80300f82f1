"""What a function app declares, read from the trigger metadata of each of its functions."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import azure.functions as func
from azure.functions.decorators.http import HttpTrigger
from azure.functions.decorators.servicebus import ServiceBusTopicTrigger
from azure.functions.decorators.timer import TimerTrigger

from standalone.errors import StartError

Handler = Callable[..., Awaitable[object]]


@dataclass(frozen=True, slots=True)
class HttpFunction:
    """A function that a request triggers.

    Attributes:
        name: The function's name.
        route: The route pattern without the prefix of host.json, such as ``v1/documents/{*path}``.
        methods: The HTTP methods; empty: all of them.
    """

    name: str
    route: str
    methods: frozenset[str]


@dataclass(frozen=True, slots=True)
class MessageFunction:
    """A function that a message of a subscription triggers; ``argument`` takes the message."""

    name: str
    subscription: str
    argument: str
    handler: Handler


@dataclass(frozen=True, slots=True)
class TimerFunction:
    """A function that a schedule triggers; ``argument`` takes the ``TimerRequest``.

    ``schedule`` is an NCRONTAB expression, or ``%NAME%`` for an app setting that holds one.
    """

    name: str
    schedule: str
    argument: str
    handler: Handler


@dataclass(frozen=True, slots=True)
class Functions:
    """The functions of an app by their kind of trigger."""

    http: list[HttpFunction] = field(default_factory=list)
    messages: list[MessageFunction] = field(default_factory=list)
    timers: list[TimerFunction] = field(default_factory=list)


def read_functions(app: func.FunctionApp) -> Functions:
    """Read the functions that ``app`` declares.

    Raises:
        StartError: A function has a trigger that this host does not run, or is not ``async``.
    """
    functions = Functions()
    for function in app.get_functions():
        name = str(function.get_function_name())
        trigger = function.get_trigger()
        handler: Handler = function.get_user_function()
        if not inspect.iscoroutinefunction(handler):
            raise StartError(f"The function {name} is not async: declare it with async def.")
        if isinstance(trigger, HttpTrigger):
            functions.http.append(_http(name, trigger))
        elif isinstance(trigger, ServiceBusTopicTrigger):
            functions.messages.append(
                MessageFunction(name, trigger.subscription_name, trigger.name, handler)
            )
        elif isinstance(trigger, TimerTrigger):
            functions.timers.append(TimerFunction(name, trigger.schedule, trigger.name, handler))
        else:
            raise StartError(
                f"The function {name} has a {type(trigger).__name__}, which this host does not run;"
                " it runs HTTP, Service Bus topic and timer triggers."
            )
    return functions


def _http(name: str, trigger: HttpTrigger) -> HttpFunction:
    # As on Azure, a function without a route has its name as its route.
    route = name if trigger.route is None else trigger.route
    methods = frozenset(method.value for method in trigger.methods or ())
    return HttpFunction(name, route, methods)
