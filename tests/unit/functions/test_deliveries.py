"""A Service Bus function that fails pauses first, longer with each delivery."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from unittest.mock import AsyncMock

import azure.functions as func
import pytest
from azure.functions.servicebus import ServiceBusMessage

from functions.deliveries import backing_off
from shared.base.errors import InvalidEvent, InvalidInput, Unavailable
from shared.wiring.settings import get_settings

pytestmark = pytest.mark.anyio

LONGEST = "300"


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("STRONGROOM_LONGEST_DELIVERY_PAUSE_SECONDS", LONGEST)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def delivery(count: int | None) -> func.ServiceBusMessage:
    return ServiceBusMessage(
        body=b"",
        message_id="evt",
        delivery_count=count,
        application_properties={},
        user_properties={},
    )


async def pauses(message: func.ServiceBusMessage, error: BaseException | None) -> list[float]:
    """How long a function waits that ends like this."""
    sleep = AsyncMock()
    with nullcontext() if error is None else pytest.raises(type(error)):
        async with backing_off(message, sleep):
            if error is not None:
                raise error
    return [call.args[0] for call in sleep.await_args_list]


@pytest.mark.parametrize(
    ("count", "seconds"), [(None, 1), (1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (2_000, 300)]
)
async def test_the_pause_doubles_up_to_the_longest(count: int | None, seconds: float) -> None:
    assert await pauses(delivery(count), Unavailable("The bus is away.")) == [seconds]
    assert await pauses(delivery(count), ValueError()) == [seconds]
    assert await pauses(delivery(count), InvalidInput("A defect.")) == [seconds]


async def test_what_succeeds_or_never_can_does_not_wait() -> None:
    assert await pauses(delivery(3), None) == []
    assert await pauses(delivery(3), InvalidEvent("No event.")) == []
    assert await pauses(delivery(3), KeyboardInterrupt()) == []


async def test_standalone_backs_off_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRONGROOM_LONGEST_DELIVERY_PAUSE_SECONDS")
    get_settings.cache_clear()
    assert await pauses(delivery(3), Unavailable("The bus is away.")) == [0]


@pytest.mark.parametrize("name", ["audit", "encryption", "replication"])
async def test_every_function_pauses_where_a_store_is_away(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep = AsyncMock()
    module = importlib.import_module(f"functions.{name}")
    monkeypatch.setattr(module, "backing_off", partial(backing_off, sleep=sleep))
    monkeypatch.setattr(module, "ready_services", AsyncMock(side_effect=Unavailable("Away.")))
    with pytest.raises(Unavailable):
        await getattr(module, name)(delivery(4))
    assert [call.args for call in sleep.await_args_list] == [(8,)]
