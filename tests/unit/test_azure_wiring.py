"""What the azure profile asks of its adapters."""

from __future__ import annotations

from typing import Any

import pytest

from shared import wiring
from shared.ports.clock import SystemClock
from shared.settings import Settings
from shared.topology import load_topology


def test_keys_of_tenants_are_made_in_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(
        "shared.adapters.azure.keys.AzureKeys", lambda *_, **options: asked.update(options)
    )
    settings = Settings(
        profile="azure",
        vault_account_url="https://vault.example",
        replica_account_url="https://replica.example",
        staging_account_url="https://staging.example",
        cosmos_endpoint="https://records.example",
        key_vault_url="https://keys.example",
        service_bus_namespace="bus.example",
    )
    wiring.azure_adapters(settings, load_topology(), SystemClock())
    assert asked == {"hsm": True}
