"""The scripts of infra/ as modules; they are in no package."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from tests.support.infra.snapshots import INFRA


def script(name: str) -> ModuleType:
    """A script, which finds those beside it as it does when it is run."""
    sys.path.insert(0, str(INFRA))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(INFRA))
