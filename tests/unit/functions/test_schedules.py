"""Timers: each calls the one method that it is there for."""

from __future__ import annotations

from typing import Any

import pytest
from azure.functions.timer import TimerRequest

from functions import schedules

pytestmark = pytest.mark.anyio

CALLS = {
    "outbox_relay": "outbox.relay",
    "upload_sweep": "sweep.run",
    "trash": "trash.empty",
    "target_copies": "target_timer.run",
    "token_key_rotation": "tokens.rotate",
    "tenant_key_rotation": "key_rotation.run",
    "audit_checkpoint": "audit.checkpoints.run",
    "audit_key_rotation": "audit.keys.rotate",
    "audit_attestation": "attestations.run",
    "webhooks": "webhooks.timer.run",
    "audit_monitor": "audit.monitor.run",
    "grant_expiry": "grants.timer.run",
    "access_reviews": "reviews.timer.run",
    "backup": "backups.timer.run",
    "backup_verification": "backups.verifications.run",
    "restore": "backups.restore_timer.run",
    "restore_drill": "backups.drills.run",
}


class Called:
    """Services of which every method notes that it was called."""

    def __init__(self, calls: list[str], name: str = "") -> None:
        self._calls = calls
        self._name = name

    def __getattr__(self, name: str) -> Called:
        return Called(self._calls, f"{self._name}.{name}".removeprefix("."))

    async def __call__(self) -> None:
        self._calls.append(self._name)


def functions() -> dict[str, Any]:
    made = {str(builder._function.get_function_name()): builder for builder in BUILDERS}
    return {name: builder._function.get_user_function() for name, builder in made.items()}


BUILDERS = schedules.blueprint._function_builders


def test_every_timer_is_here() -> None:
    assert set(functions()) == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
async def test_a_timer_calls_its_service(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    async def ready_services() -> Called:
        return Called(calls)

    monkeypatch.setattr(schedules, "ready_services", ready_services)
    await functions()[name](TimerRequest())
    assert calls == [CALLS[name]]


@pytest.mark.parametrize("name", CALLS)
def test_every_timer_is_measured(name: str) -> None:
    assert functions()[name].__wrapped__.__name__ == name
