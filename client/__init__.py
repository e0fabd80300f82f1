"""The `strongroom` command: recovers from a target without a server, and talks to the API."""

import shared  # noqa: F401 - before anything imports pydantic
