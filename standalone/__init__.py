"""The host that runs the function app on one machine: HTTP server, message pump, timers."""

import shared  # noqa: F401 - before anything imports pydantic
