"""The entry points: each trigger reads its message, calls one service and responds."""

import shared  # noqa: F401 - before anything imports pydantic
