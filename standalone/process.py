"""What the process of the requests and that of the background have in common."""

from __future__ import annotations

import asyncio
import os
from collections import ChainMap
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from shared.wiring.settings import Settings
from standalone.reclaiming import share_memory

SETTING_PREFIX: Final = "STRONGROOM_"

THREADS: Final = 32
"""They wait for the disk most of the time, and nobody's should queue behind those of one upload."""


def use_threads() -> None:
    """Give the running event loop its threads, before there is any other."""
    share_memory()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))


def app_settings(settings: Settings) -> Mapping[str, str]:
    """App settings by name, for schedules: of the environment, or the defaults."""
    defaults = {
        SETTING_PREFIX + name.upper(): str(value) for name, value in settings.model_dump().items()
    }
    return ChainMap(dict(os.environ), defaults)
