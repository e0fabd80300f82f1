import hashlib
import itertools
from collections.abc import Callable

import pytest


@pytest.fixture
def entropy() -> Callable[[int], bytes]:
    """Bytes that look random, differ from call to call, and are the same in every run."""
    calls = itertools.count()
    return lambda size: hashlib.shake_256(b"entropy %d" % next(calls)).digest(size)
