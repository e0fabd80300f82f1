"""The profiles that can run on this machine."""

import contextlib
import shutil
from collections.abc import Iterator

from tests.support.profiles import azure


@contextlib.contextmanager
def profiles() -> Iterator[dict[str, dict[str, str]]]:
    """The settings of each, by their names in lower case; Azure is emulated, for which it takes Node."""
    if shutil.which("node") is None:
        print("azure: left out, because its emulators need Node")
        yield {"embedded": {}}
        return
    with azure() as emulated:
        yield {"embedded": {}, "azure": emulated.settings}
