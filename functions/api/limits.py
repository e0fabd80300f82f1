"""The limits of one process: rates, floods of refusals, memory.

They keep one caller from crowding out the others here; limits over all processes are the gateway's.
"""

from __future__ import annotations

from typing import Final

from functions.api.floods import Floods
from functions.api.memory import MemoryBudget
from functions.api.rate_limits import AddressLimit, RateLimit
from shared.ports.clock import Clock
from shared.wiring.settings import Settings

PROBES_PER_MINUTE: Final = 10
"""So that nobody looks around in other networks through our connections."""


class Limits:
    """The limits of one process.

    Args:
        settings: The rates.
        clock: Time.

    Attributes:
        user: What one user may ask.
        address: What one address may ask without being signed in, refused tokens included.
        sign_in: How often one address may try to sign in.
        probe: How often the storage of one tenant may be probed.
        floods: Which refusals are audit entries of their own.
        memory: How much of it requests may hold at once.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.user = RateLimit(settings.requests_per_minute, clock)
        self.address = AddressLimit(settings.requests_per_minute, clock)
        self.sign_in = AddressLimit(settings.sign_ins_per_minute, clock)
        self.probe = RateLimit(PROBES_PER_MINUTE, clock)
        self.floods = Floods(clock)
        self.memory = MemoryBudget()
