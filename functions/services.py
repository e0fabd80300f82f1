"""The services of this process, imported when a function first runs.

A process begins by telling the Functions host which functions there are; importing the services would
double the time that it takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.wiring.services import Services


async def ready_services() -> Services:
    """The services, once it is sure that they are in the right environment.

    Raises:
        WrongEnvironment: They are not.
        Unavailable: A store does not respond.
    """
    from shared.wiring.services import ready_services as ready

    return await ready()
